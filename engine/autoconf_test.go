package engine

import (
	"context"
	"net/netip"
	"testing"

	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// advertised is a network that advertises its gateway.
func advertised(name string, subnets ...network.IPAMConfig) network.CreateRequest {
	return network.CreateRequest{
		Name: name, EnableIPv6: ptr(true), Options: map[string]string{optRA: "true", optDHCP: "true"},
		IPAM: &network.IPAM{Config: subnets},
	}
}

func prefix(s string) network.IPAMConfig {
	return network.IPAMConfig{Subnet: netip.MustParsePrefix(s)}
}

func TestAddressesFollowFromMACsWhereTheGatewayIsAdvertised(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, advertised("n", prefix("10.50.0.0/24"), prefix("fd50::/64")))
	six := advertised("six", prefix("fd51::/64"))
	six.EnableIPv4 = ptr(false)
	e.testNetwork(t, six)
	ranged := prefix("fd52::/64")
	ranged.IPRange = netip.MustParsePrefix("fd52::10/124")
	e.testNetwork(t, advertised("ranged", prefix("10.52.0.0/24"), ranged))
	e.testNetwork(t, advertised("short", prefix("10.53.0.0/24"), prefix("fd53::/80")))

	settings := func(name, mode string, s network.EndpointSettings) *network.EndpointSettings {
		t.Helper()
		e.testRun(t, spec{name: name, mode: mode, nets: map[string]*network.EndpointSettings{mode: &s}})
		return e.testInspect(t, name).NetworkSettings.Networks[mode]
	}
	follows := func(s *network.EndpointSettings, subnet string) bool {
		a, ok := packet.MAC(s.MacAddress).SLAAC(netip.MustParsePrefix(subnet))
		return ok && s.GlobalIPv6Address == a
	}
	for i := range 3 {
		s := settings("n"+string(rune('a'+i)), "n", network.EndpointSettings{})
		if !follows(s, "fd50::/64") || packet.MAC(s.MacAddress) != packet.MACFromIPv4(s.IPAddress) {
			t.Errorf("container %d: %v %v", i, s.MacAddress, s.GlobalIPv6Address)
		}
		s = settings("six"+string(rune('a'+i)), "six", network.EndpointSettings{})
		if !follows(s, "fd51::/64") || s.MacAddress[0] != 0x02 || s.MacAddress[1] != 0x42 {
			t.Errorf("container %d: %v %v", i, s.MacAddress, s.GlobalIPv6Address)
		}
	}
	own := network.HardwareAddr{0x52, 0x54, 0, 0, 0, 7}
	if s := settings("mac", "n", network.EndpointSettings{MacAddress: own}); !follows(s, "fd50::/64") || string(s.MacAddress) != string(own) {
		t.Errorf("with a MAC: %v %v", s.MacAddress, s.GlobalIPv6Address)
	}
	asked := netip.MustParseAddr("fd50::77")
	if s := settings("static", "n", network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv6Address: asked}}); s.GlobalIPv6Address != asked {
		t.Errorf("with an address: %v", s.GlobalIPv6Address)
	}
	// Who takes the address that would follow from a later one's MAC keeps it.
	thief, _ := packet.MAC{0x02, 0x42, 10, 50, 0, 70}.SLAAC(netip.MustParsePrefix("fd50::/64"))
	settings("thief", "n", network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv6Address: thief}})
	if s := settings("late", "n", network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("10.50.0.70")}}); s.GlobalIPv6Address == thief || !s.GlobalIPv6Address.IsValid() {
		t.Errorf("two have %v", s.GlobalIPv6Address)
	}
	if s := settings("ranged", "ranged", network.EndpointSettings{}); !ranged.IPRange.Contains(s.GlobalIPv6Address) {
		t.Errorf("with a range: %v", s.GlobalIPv6Address)
	}
	if s := settings("short", "short", network.EndpointSettings{}); s.GlobalIPv6Address != netip.MustParseAddr("fd53::2") {
		t.Errorf("without 64 bits for it: %v", s.GlobalIPv6Address)
	}
	// The container is told its name and domains by DHCP.
	for _, l := range w.links() {
		if l.Hostname == "" {
			t.Errorf("%s has no name", l.Container)
		}
	}
	// A new start gives all back.
	before := e.testInspect(t, "na").NetworkSettings.Networks["n"].GlobalIPv6Address
	e.testStop(t, "na")
	if err := e.ContainerStart(context.Background(), "na"); err != nil {
		t.Fatal(err)
	}
	if s := e.testInspect(t, "na").NetworkSettings.Networks["n"]; !follows(s, "fd50::/64") {
		t.Errorf("it had %v, and now %v %v", before, s.MacAddress, s.GlobalIPv6Address)
	}
	for _, c := range e.snapshotNames() {
		e.testStop(t, c)
	}
	w.checkClean(e)
}

// snapshotNames are the names of all containers.
func (e *Engine) snapshotNames() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, c := range e.containers {
		out = append(out, c.def.Name)
	}
	return out
}
