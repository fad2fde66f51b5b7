package engine

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/engine/plane"
)

func TestAWayOutMustBeTheHosts(t *testing.T) {
	w := newWorld(t)
	w.interfaces = []HostInterface{
		{Name: "lo", Addrs: addrs("127.0.0.1", "::1")},
		{Name: "eth0", Addrs: addrs("192.0.2.7", "2001:db8::7", "fe80::7")},
		{Name: "wg0", Addrs: addrs("10.99.0.7")},
	}
	e := w.engine()
	for _, c := range []struct {
		options map[string]string
		no4     bool
		no6     bool
		refused string // "" = taken
	}{
		{options: map[string]string{optOutbound4: "192.0.2.7"}},
		{options: map[string]string{optOutbound4: "10.99.0.7", optOutbound6: "2001:db8::7", optOutboundDevice: "wg0"}},
		{options: map[string]string{optOutbound4: "192.0.2.8"}, refused: "invalid network option com.docker.network.host_ipv4=192.0.2.8: this host has no such address that leads out: it has 192.0.2.7, 10.99.0.7"},
		{options: map[string]string{optOutbound6: "2001:db8::8"}, refused: "host_ipv6=2001:db8::8: this host has no such address that leads out: it has 2001:db8::7"},
		{options: map[string]string{optOutbound4: "127.0.0.1"}, refused: "no such address that leads out"},
		{options: map[string]string{optOutbound6: "::1"}, refused: "no such address that leads out"},
		{options: map[string]string{optOutbound6: "fe80::7"}, refused: "no such address that leads out"},
		{options: map[string]string{optOutbound4: "0.0.0.0"}, refused: "no such address that leads out"},
		{options: map[string]string{optOutboundDevice: "eth7"}, refused: "com.footbridge.outbound.interface=eth7: this host has no such interface that leads out: it has eth0, wg0"},
		{options: map[string]string{optOutboundDevice: "lo"}, refused: "it is the name of an interface of this host"},
		{options: map[string]string{optOutbound6: "2001:db8::7"}, no6: true, refused: "the network has no IPv6"},
		{options: map[string]string{optOutbound4: "192.0.2.7"}, no4: true, refused: "the network has no IPv4"},
	} {
		_, err := e.NetworkCreate(t.Context(), network.CreateRequest{
			Name: "n", EnableIPv4: ptr(!c.no4), EnableIPv6: ptr(!c.no6), Options: c.options,
		})
		switch {
		case c.refused == "" && err != nil:
			t.Errorf("%v: %v", c.options, err)
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%v: %v, want %q", c.options, err, c.refused)
		}
		if err != nil {
			if e.networkByName("n") != nil {
				t.Errorf("%v: refused, and there is the network", c.options)
			}
			continue
		}
		got := e.networkByName("n").def.options().rules.Outbound
		if got.Device != c.options[optOutboundDevice] || got.Addr4 != addrOrNone(c.options[optOutbound4]) || got.Addr6 != addrOrNone(c.options[optOutbound6]) {
			t.Errorf("%v became %+v", c.options, got)
		}
		if err := e.NetworkRemove(t.Context(), "n"); err != nil {
			t.Fatal(err)
		}
	}
}

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func addrOrNone(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}

func TestHostPortsAreRead(t *testing.T) {
	got, err := readPorts("8080;9000-9010/tcp, 514/udp")
	want := []plane.PortRange{{Proto: "tcp", First: 8080, Last: 8080}, {Proto: "tcp", First: 9000, Last: 9010}, {Proto: "udp", First: 514, Last: 514}}
	if err != nil || len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("%v, %v", got, err)
	}
	for v, why := range map[string]string{
		"": "it is a list of ports", ";": "it is a list of ports", "0": "is not PORT", "65536": "is not PORT", "9-8": "is not PORT",
		"80/sctp": "is not PORT", "80/": "is not PORT", "-80": "is not PORT", "80-": "is not PORT", "http": "is not PORT", "127.0.0.1:80": "is not PORT",
		"53": "containers' name server", "53/udp": "containers' name server", "1-1024": "containers' name server", "8080;50-60/udp": "containers' name server",
	} {
		if got, err := readPorts(v); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, %v, want %q", v, got, err, why)
		}
	}
	e := newWorld(t).engine()
	for options, why := range map[string]string{
		optHostPorts + "=67/udp":   "",
		optHostPorts + "=500-600":  "DHCP servers'", // and 547
		optHostPorts + "=60-70":    "DHCP servers'",
		optHostPorts + "=8067/udp": "",
	} {
		key, v, _ := strings.Cut(options, "=")
		request := network.CreateRequest{Name: "n", Options: map[string]string{key: v}}
		if why != "" {
			request.Options[key] += "/udp"
			request.Options[optDHCP] = "true"
		}
		_, err := e.NetworkCreate(t.Context(), request)
		if (why == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("%v: %v, want %q", request.Options, err, why)
		}
		if err == nil {
			if err := e.NetworkRemove(t.Context(), "n"); err != nil {
				t.Fatal(err)
			}
		}
	}
}
