package plane

import (
	"net/netip"
	"testing"

	"github.com/footbridge-net/footbridge/internal/packet"
)

func TestHostPortsOpenExactlyWhatTheySay(t *testing.T) {
	o := Options{
		Gateway4: netip.MustParsePrefix("10.1.0.1/24"), Gateway6: netip.MustParsePrefix("fd01::1/64"),
		Rules: Rules{HostPorts: []PortRange{{"tcp", 8080, 8080}, {"tcp", 9000, 9010}, {"udp", 1, 1}, {"udp", 65535, 65535}, {"udp", 50, 60}}},
	}
	open := o.hostPort()
	for _, gateway := range []netip.Addr{o.Gateway4.Addr(), o.Gateway6.Addr()} {
		got := map[uint8]int{}
		for port := range 1 << 16 {
			for _, proto := range []uint8{packet.ProtoTCP, packet.ProtoUDP} {
				want := proto == packet.ProtoTCP && (port == 8080 || 9000 <= port && port <= 9010) ||
					proto == packet.ProtoUDP && (port == 1 || port == 65535 || 50 <= port && port <= 60 && port != dnsPort)
				if is := open(proto, netip.AddrPortFrom(gateway, uint16(port))); is != want {
					t.Fatalf("%s port %d of protocol %d: %v", gateway, port, proto, is)
				} else if is {
					got[proto]++
				}
			}
		}
		if got[packet.ProtoTCP] != 12 || got[packet.ProtoUDP] != 12 {
			t.Errorf("%s: open are %v", gateway, got)
		}
	}
	for _, a := range []string{"10.1.0.2", "127.0.0.1", "10.2.0.1", "::1", "fd01::2", "::ffff:10.1.0.1", "fe80::1"} {
		if open(packet.ProtoTCP, netip.AddrPortFrom(netip.MustParseAddr(a), 8080)) {
			t.Errorf("%s is open", a)
		}
	}
	at := netip.AddrPortFrom(o.Gateway4.Addr(), 8080)
	if n := testing.AllocsPerRun(100, func() { open(packet.ProtoTCP, at) }); n > 0 {
		t.Errorf("%v allocations a question", n)
	}
	o.Rules.Mode4 = ModeIsolated
	if open := o.hostPort(); open(packet.ProtoTCP, at) || !open(packet.ProtoTCP, netip.AddrPortFrom(o.Gateway6.Addr(), 8080)) {
		t.Error("an isolated family has host ports, or the other one none")
	}
	if (&Options{Gateway4: o.Gateway4}).hostPort() != nil {
		t.Error("a network without host ports has some")
	}
}
