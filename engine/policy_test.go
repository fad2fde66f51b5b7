package engine

import (
	"net/netip"
	"testing"

	"github.com/moby/moby/api/types/network"
)

func TestPolicy(t *testing.T) {
	e := newWorld(t).engine()
	e.testNetwork(t, network.CreateRequest{Name: "net", IPAM: subnet("10.7.0.0/16")})
	e.testNetwork(t, network.CreateRequest{Name: "six", EnableIPv4: ptr(false), IPAM: subnet("fd00:7::/64")})
	for a, want := range map[string]bool{
		"1.1.1.1": true, "240.0.0.1": true, "255.255.255.254": true, "10.8.0.1": true, "192.168.1.1": true, "2001:db8::1": true, "fd00:8::1": true,
		"127.0.0.1": false, "127.255.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "169.254.169.254": false,
		"224.0.0.1": false, "255.255.255.255": false, "::": false, "::1": false, "fe80::1": false, "ff02::1": false,
		"::ffff:127.0.0.1": false, "::ffff:1.1.1.1": true, "fd00:ec2::254": false,
		// Networks of ours, the default one included, and their gateways.
		"172.17.0.1": false, "172.17.9.9": false, "10.7.0.1": false, "10.7.255.255": false, "fd00:7::1": false, "fd00:7::99": false,
		// IPv4 inside of IPv6.
		"64:ff9b::7f00:1": false, "64:ff9b::101:101": true, "2002:7f00:1::1": false, "2002:101:101::1": true,
		"2002:a07:1::": false, "::7f00:1": false, "fe80::1%eth0": false,
	} {
		if got := e.policy.Allow(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
	if e.policy.Allow(netip.Addr{}) {
		t.Error("no address is allowed")
	}
	if n := testing.AllocsPerRun(100, func() { e.policy.Allow(netip.MustParseAddr("1.1.1.1")) }); n > 0 {
		t.Errorf("%v allocations a question", n)
	}
	// A network that is gone is no longer closed.
	if err := e.NetworkRemove(t.Context(), "net"); err != nil {
		t.Fatal(err)
	}
	if !e.policy.Allow(netip.MustParseAddr("10.7.0.1")) {
		t.Error("a removed network's addresses stay closed")
	}
}
