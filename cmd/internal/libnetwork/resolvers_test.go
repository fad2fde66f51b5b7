package libnetwork

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/footbridge-net/footbridge/dns"
)

// routeLine is a line of /proc/net/route.
func routeLine(to, gateway, mask string) string {
	number := func(text string) string {
		a := netip.MustParseAddr(text).As4()
		return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(a[:]))
	}
	return fmt.Sprintf("tap0\t%s\t%s\t0003\t0\t0\t0\t%s\t0\t0\t0\n", number(to), number(gateway), number(mask))
}

func TestResolversOfRootlessKitsOwnNetwork(t *testing.T) {
	table := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		routeLine("0.0.0.0", "10.0.2.2", "0.0.0.0") + routeLine("10.0.2.0", "0.0.0.0", "255.255.255.0") +
		routeLine("0.0.0.0", "0.0.0.0", "0.0.0.0") + routeLine("192.0.2.0", "10.0.2.2", "255.255.255.0") + "nonsense\ntap0 1 2 3 4 5 6 7\n"
	links := parseRoutes([]byte(table))
	if want := []netip.Prefix{netip.MustParsePrefix("10.0.2.0/24")}; !slices.Equal(links, want) {
		t.Errorf("on links: %v, want %v", links, want)
	}
	got := onLinks(dns.ParseConfig([]byte("nameserver 10.0.2.3\nnameserver 192.0.2.53\nnameserver fd00::53\n")), links)
	if want := []netip.Addr{netip.MustParseAddr("10.0.2.3")}; !slices.Equal(got, want) {
		t.Errorf("resolvers: %v, want %v", got, want)
	}
}

func TestNetworksAnswerWhereDockerdsContainersAsk(t *testing.T) {
	for _, tt := range []struct{ name, request, want string }{
		{"as slirp4netns has it", createRequest, "10.0.2.3"},
		{"the user says it", strings.Replace(createRequest, `"1400"`, `"1400","com.footbridge.dns.addresses":"192.0.2.1"`, 1), "192.0.2.1"},
		{"an internal network", strings.Replace(createRequest, `"Options":{`, `"Options":{"com.docker.network.internal":true,`, 1), ""},
		{"its own subnet", strings.NewReplacer("10.60.0.0/24", "10.0.2.0/24", "10.60.0.", "10.0.2.").Replace(createRequest), ""},
	} {
		d, s, _ := newDriver(t)
		s.driver.resolvers = func() []netip.Addr {
			return []netip.Addr{netip.MustParseAddr("10.0.2.3")}
		}
		s.must(t, "CreateNetwork", tt.request)
		if got := d.networks["docker-111111111111"].Options[optDNSAddresses]; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
