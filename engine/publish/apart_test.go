package publish

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"
)

func TestOneHostPortHasOneContainerPort(t *testing.T) {
	p := network.MustParsePort
	lo, any4, lo6 := netip.MustParseAddr("127.0.0.1"), netip.IPv4Unspecified(), netip.IPv6Loopback()
	at := func(a netip.Addr, port string) []network.PortBinding {
		return []network.PortBinding{{HostIP: a, HostPort: port}}
	}
	for _, tt := range []struct {
		what string
		m    network.PortMap
		ok   bool
	}{
		{"nothing", nil, true},
		{"the same port", network.PortMap{p("80/tcp"): at(netip.Addr{}, "8101"), p("81/tcp"): at(netip.Addr{}, "8101")}, false},
		{"at the same address", network.PortMap{p("80/tcp"): at(lo, "8101"), p("81/tcp"): at(lo, "8101-8101")}, false},
		{"at all and at one", network.PortMap{p("80/tcp"): at(any4, "8101"), p("81/tcp"): at(lo, "8101")}, false},
		{"at other addresses", network.PortMap{p("80/tcp"): at(lo, "8101"), p("81/tcp"): at(netip.MustParseAddr("127.0.0.2"), "8101")}, true},
		{"in other families", network.PortMap{p("80/tcp"): at(any4, "8101"), p("81/tcp"): at(lo6, "8101")}, true},
		{"of other protocols", network.PortMap{p("53/tcp"): at(any4, "53"), p("53/udp"): at(any4, "53")}, true},
		{"in a range", network.PortMap{p("80/tcp"): at(any4, "8101-8102"), p("81/tcp"): at(any4, "8101-8102")}, true},
		{"any", network.PortMap{p("80/tcp"): at(any4, ""), p("81/tcp"): nil}, true},
	} {
		err := Apart(tt.m)
		if (err == nil) != tt.ok || err != nil && (!errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), "host port 8101 is asked for twice, for the container ports 80/tcp and 81/tcp")) {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
	if err := Apart(network.PortMap{p("80/sctp"): nil}); !errors.Is(err, ErrSpec) {
		t.Errorf("SCTP: %v", err)
	}
}
