package plane

import (
	"net/netip"
	"testing"

	"github.com/footbridge-net/footbridge/internal/packet"
)

func TestWhatIsPublishedEverywhereIsAtTheGateway(t *testing.T) {
	at := netip.MustParseAddrPort
	var p Published
	o := Options{Gateway4: netip.MustParsePrefix("10.1.0.1/24"), Gateway6: netip.MustParsePrefix("fd01::1/64"), Published: &p}
	open := o.hostPort()
	for _, c := range []struct{ proto, host string }{
		{"tcp", "0.0.0.0:8000"}, {"udp", "[::]:8001"}, {"tcp", "[::]:65535"},
		{"tcp", "127.0.0.1:8002"}, {"udp", "192.0.2.1:8002"}, {"tcp", "[::1]:8002"}, {"sctp", "0.0.0.0:8003"}, // not at all addresses, or not at all
	} {
		p.Add(c.proto, at(c.host))
	}
	check := func(want map[string]bool) {
		t.Helper()
		for _, gateway := range []netip.Addr{o.Gateway4.Addr(), o.Gateway6.Addr()} {
			for name, proto := range map[string]uint8{"tcp": packet.ProtoTCP, "udp": packet.ProtoUDP} {
				for port := range 1 << 16 {
					q := netip.AddrPortFrom(gateway, uint16(port))
					if is := open(proto, q); is != want[name+" "+q.String()] {
						t.Fatalf("%s %s: %v", name, q, is)
					}
				}
			}
		}
	}
	check(map[string]bool{"tcp 10.1.0.1:8000": true, "udp [fd01::1]:8001": true, "tcp [fd01::1]:65535": true})
	if open(packet.ProtoTCP, at("10.2.0.1:8000")) || open(packet.ProtoTCP, at("127.0.0.1:8000")) {
		t.Error("another address than the gateway's is open")
	}
	if n := testing.AllocsPerRun(100, func() { open(packet.ProtoTCP, at("10.1.0.1:8000")) }); n > 0 {
		t.Errorf("%v allocations a question", n)
	}
	p.Remove("tcp", at("127.0.0.1:8000"))
	p.Remove("udp", at("[::]:8001"))
	check(map[string]bool{"tcp 10.1.0.1:8000": true, "tcp [fd01::1]:65535": true})
	o.Internal = true
	if o.hostPort() != nil {
		t.Error("an internal network reaches what is published")
	}
	o.Rules.HostPorts = []PortRange{{"tcp", 9000, 9000}}
	if open := o.hostPort(); open(packet.ProtoTCP, at("10.1.0.1:8000")) || !open(packet.ProtoTCP, at("10.1.0.1:9000")) {
		t.Error("an internal network reaches what is published besides its own ports of the host, or not those")
	}
}
