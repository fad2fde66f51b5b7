package portfwd

import (
	"net/netip"
	"testing"

	"github.com/footbridge-net/footbridge/internal/dgram"
	"github.com/footbridge-net/footbridge/internal/packet"
)

// sink is a gateway that takes datagrams and does nothing with them.
type sink struct{ testGateway }

func (*sink) SendDatagrams(_, _ netip.AddrPort, _ []byte, _ int) error { return nil }

// udpBench is a server with one flow, whose client is the listener itself: what
// is sent to it overflows its receive buffer, as to a client that does not
// read.
func udpBench(t testing.TB) (s *udpServer, in func(), out func(size int)) {
	f := New(Options{Gateway: &sink{}, Subnets: subnets})
	t.Cleanup(func() { f.Close() })
	l := publish(t, f, Mapping{Proto: "udp", Host: netip.MustParseAddrPort(host4 + ":0"), Container: netip.AddrPortFrom(container4, 53)})
	client := publish(t, f, Mapping{Proto: "udp", Host: netip.MustParseAddrPort(client4 + ":0"), Container: netip.AddrPortFrom(container4, 53)})
	s = l.server.(*udpServer)
	payload := make([]byte, 1400)
	m := dgram.Message{From: client.Addr(), Payload: payload, Info: dgram.Info{Local: l.Addr().Addr(), Direct: true, Interface: 1}}
	in = func() { s.received(m) }
	in()
	frame := make([]byte, 40*1400)
	out = func(size int) {
		d := packet.Datagram{Src: netip.AddrPortFrom(container4, 53), Dst: client.Addr(), Payload: payload, SegmentSize: size}
		if size != 0 {
			d.Payload = frame
		}
		if !f.HandleDatagram(d) {
			t.Fatal("not taken")
		}
	}
	return s, in, out
}

func TestUDPAllocations(t *testing.T) {
	s, in, out := udpBench(t)
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"from a client", in},
		{"from the container", func() { out(0) }},
		{"from the container, 40 at once", func() { out(1400) }},
		{"from the container, 40 one by one", func() {
			s.out.Apart.Store(true)
			out(1400)
		}},
	} {
		if n := testing.AllocsPerRun(100, c.f); n != 0 {
			t.Errorf("%s: %v allocations, want none", c.name, n)
		}
	}
	if s := s.l.Stats(); s.DropOut != 0 || s.DropSource != 0 || s.Flows != 1 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkUDPFromClient(b *testing.B) {
	_, in, _ := udpBench(b)
	b.ReportAllocs()
	for b.Loop() {
		in()
	}
}

func BenchmarkUDPFromContainer(b *testing.B) {
	_, _, out := udpBench(b)
	b.ReportAllocs()
	b.SetBytes(1400)
	for b.Loop() {
		out(0)
	}
}

func BenchmarkUDPFromContainer40AtOnce(b *testing.B) {
	_, _, out := udpBench(b)
	b.ReportAllocs()
	b.SetBytes(40 * 1400)
	for b.Loop() {
		out(1400)
	}
}

func BenchmarkUDPNotOurs(b *testing.B) {
	f := New(Options{Gateway: &sink{}})
	d := packet.Datagram{Src: netip.AddrPortFrom(container4, 53), Dst: netip.MustParseAddrPort("198.51.100.1:53")}
	b.ReportAllocs()
	for b.Loop() {
		f.HandleDatagram(d)
	}
}
