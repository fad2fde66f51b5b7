package forwarder

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// from makes a datagram of the container to dst.
func from(src, dst netip.AddrPort, payload string) packet.Datagram {
	return packet.Datagram{Src: src, Dst: dst, Payload: []byte(payload), TTL: 64, IP: quoteUDP(src, dst, []byte(payload))}
}

func serve(t testing.TB, a netip.Addr) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	return c, c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func read(t testing.TB, c *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 1<<16)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatalf("waited for a datagram: %v", err)
	}
	return string(b[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func TestUDPRepliesComeFromTheRightSource(t *testing.T) {
	for _, c := range []struct{ ctr, host netip.Addr }{{ctr4, host4}, {ctr6, host6}} {
		f, g := newWorld(t, Limits{})
		src := netip.AddrPortFrom(c.ctr, 4000)
		s1, at1 := serve(t, c.host)
		s2, at2 := serve(t, c.host)
		f.HandleDatagram(from(src, at1, "one"))
		f.HandleDatagram(from(src, at2, "two"))
		got1, peer1 := read(t, s1)
		got2, peer2 := read(t, s2)
		if got1 != "one" || got2 != "two" {
			t.Errorf("servers got %q and %q", got1, got2)
		}
		if peer1 != peer2 {
			t.Errorf("one source became %s and %s: the mapping depends on the destination", peer1, peer2)
		}
		for _, s := range []struct {
			conn *net.UDPConn
			at   netip.AddrPort
		}{{s2, at2}, {s1, at1}} {
			s.conn.WriteToUDPAddrPort([]byte("reply"), peer1)
			if d := wait(t, g.udp, "a reply"); d.src != s.at || d.dst != src || d.payload != "reply" {
				t.Errorf("reply %+v, want from %s to %s", d, s.at, src)
			}
		}
	}
}

func TestUDPFromAStrangerIsNotLetIn(t *testing.T) {
	f, g := newWorld(t, Limits{})
	s, at := serve(t, host4)
	f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4000), at, "hello"))
	_, peer := read(t, s)
	// 127.0.0.1 has not been sent to.
	stranger, _ := serve(t, netip.MustParseAddr("127.0.0.1"))
	if _, err := stranger.WriteToUDPAddrPort([]byte("knock"), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), peer.Port())); err != nil {
		t.Fatal(err)
	}
	s.WriteToUDPAddrPort([]byte("reply"), netip.AddrPortFrom(host4, peer.Port()))
	if d := wait(t, g.udp, "the reply"); d.payload != "reply" {
		t.Errorf("the container got %q from %s", d.payload, d.src)
	}
}

func TestSeveralDatagramsInOneAreSentApart(t *testing.T) {
	f, _ := newWorld(t, Limits{})
	s, at := serve(t, host4)
	d := from(netip.AddrPortFrom(ctr4, 4000), at, strings.Repeat("a", 100)+strings.Repeat("b", 100)+"c")
	d.SegmentSize = 100
	f.HandleDatagram(d)
	for _, want := range []string{strings.Repeat("a", 100), strings.Repeat("b", 100), "c"} {
		if got, _ := read(t, s); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAnEmptyDatagramIsSent(t *testing.T) {
	f, _ := newWorld(t, Limits{})
	s, at := serve(t, host4)
	f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4000), at, ""))
	if got, _ := read(t, s); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestAClosedUDPPortIsToldByICMP(t *testing.T) {
	for _, c := range []struct{ ctr, host netip.Addr }{{ctr4, host4}, {ctr6, host6}} {
		f, g := newWorld(t, Limits{})
		s, at := serve(t, c.host)
		s.Close()
		src := netip.AddrPortFrom(c.ctr, 4000)
		f.HandleDatagram(from(src, at, "hello"))
		e := wait(t, g.icmp, "port unreachable")
		if e.e != packet.PortUnreachable(c.host.Is4()) {
			t.Errorf("%s: %+v", c.host, e.e)
		}
		ip, err := packet.ParseIP(e.quoted)
		if err != nil || ip.Src != c.ctr || ip.Dst != c.host {
			t.Fatalf("quoted %+v, %v", ip, err)
		}
		qsrc, qdst, _, err := packet.ParseUDP(e.quoted[ip.HeaderLen:ip.Len], &ip)
		if err != nil || qsrc != src || qdst != at {
			t.Errorf("quoted %s -> %s, %v; want %s -> %s", qsrc, qdst, err, src, at)
		}
	}
}

func TestAnUnreachableUDPDestinationIsToldByICMP(t *testing.T) {
	f, g := newWorld(t, Limits{})
	f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4000), netip.AddrPortFrom(nowhere4, 9), "hello"))
	if e := wait(t, g.icmp, "host unreachable"); e.e != packet.HostUnreachable(true) {
		t.Errorf("%+v", e.e)
	}
}

// Containers do not reach all stations of the host's networks at once.
func TestUDPToABroadcastAddressOfTheHostIsProhibited(t *testing.T) {
	f, g := newWorld(t, Limits{})
	f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4000), netip.AddrPortFrom(all4, 9), "hello"))
	if e := wait(t, g.icmp, "an ICMP error"); e.e != packet.Prohibited(true) {
		t.Errorf("%+v, want prohibited", e.e)
	}
}

func TestUDPToTheGatewayItselfIsUnreachable(t *testing.T) {
	f, g := newWorld(t, Limits{})
	f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4000), netip.AddrPortFrom(gw4, 9), "hello"))
	if e := wait(t, g.icmp, "port unreachable"); e.e != packet.PortUnreachable(true) {
		t.Errorf("%+v", e.e)
	}
	if n := f.Stats().UDP; n != 0 {
		t.Errorf("%d mappings", n)
	}
}

func TestForbiddenUDPMakesNoMapping(t *testing.T) {
	f, _ := newWorld(t, Limits{})
	f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4000), netip.AddrPortFrom(closed4, 9), "hello"))
	if s := f.Stats(); s.UDP != 0 || s.Refused["policy"] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestUDPMappingsEndBySilence(t *testing.T) {
	f, g := newWorld(t, Limits{})
	clock := &fakeClock{}
	f.now = clock.now
	s, at := serve(t, host4)
	dns := netip.AddrPortFrom(silent.Addr().Next(), 53)
	// ask sends from port, and answers as often.
	ask := func(port uint16, answers int) {
		t.Helper()
		f.HandleDatagram(from(netip.AddrPortFrom(ctr4, port), at, "hello"))
		_, peer := read(t, s)
		for range answers {
			s.WriteToUDPAddrPort([]byte("reply"), peer)
			wait(t, g.udp, "a reply")
		}
	}
	ask(4000, 0)
	ask(4001, 1)
	ask(4002, 2)
	f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4003), dns, "question"))
	f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4004), dns, "question"))
	ask(4004, 0) // and so it is no resolver
	left := func(at time.Duration) (ports []uint16) {
		clock.set(at)
		f.expire(f.now())
		for k := range f.mappings {
			ports = append(ports, k.src.Port())
		}
		slices.Sort(ports)
		return ports
	}
	for _, c := range []struct {
		at   time.Duration
		want []uint16
	}{
		{dnsTimeout, []uint16{4000, 4001, 4002, 4003, 4004}},
		{dnsTimeout + time.Second, []uint16{4000, 4001, 4002, 4004}},
		{udpTimeout, []uint16{4000, 4001, 4002, 4004}},
		{udpTimeout + time.Second, []uint16{4002}},
		{udpStreamTimeout, []uint16{4002}},
	} {
		if got := left(c.at); !slices.Equal(got, c.want) {
			t.Errorf("after %v of silence mappings of ports %v are left, want %v", c.at, got, c.want)
		}
	}
	ask(4002, 0) // which counts from now on
	if got := left(2 * udpStreamTimeout); len(got) != 1 {
		t.Errorf("a mapping that was used at %v is gone at %v", udpStreamTimeout, 2*udpStreamTimeout)
	}
	if got := left(2*udpStreamTimeout + time.Second); len(got) != 0 {
		t.Errorf("ports %v are left, want none", got)
	}
}

// fakeClock stands still until it is set.
type fakeClock struct{ after atomic.Int64 }

var clockStart = time.Unix(1_700_000_000, 0)

func (c *fakeClock) now() time.Time      { return clockStart.Add(time.Duration(c.after.Load())) }
func (c *fakeClock) set(d time.Duration) { c.after.Store(int64(d)) }

func TestOneContainerCannotHaveMoreThanItsLimitOfMappings(t *testing.T) {
	f, _ := newWorld(t, Limits{UDP: 2})
	_, at := serve(t, host4)
	for port := range uint16(5) {
		f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4000+port), at, "hello"))
	}
	f.HandleDatagram(from(netip.AddrPortFrom(netip.MustParseAddr("172.18.0.3"), 4000), at, "hello"))
	if s := f.Stats(); s.UDP != 3 || s.Refused["udp_limit"] != 3 {
		t.Errorf("%+v, want 3 mappings and 3 refused", s)
	}
	f.ReleaseAddr(ctr4)
	if s := f.Stats(); s.UDP != 1 {
		t.Errorf("%d mappings after the release, want the other container's", s.UDP)
	}
}

func BenchmarkHandleDatagram(b *testing.B) {
	f, _ := newWorld(b, Limits{})
	_, at := serve(b, host4)
	d := from(netip.AddrPortFrom(ctr4, 4000), at, strings.Repeat("x", 512))
	f.HandleDatagram(d)
	if n := testing.AllocsPerRun(100, func() { f.HandleDatagram(d) }); n != 0 {
		b.Fatalf("%v allocations for a datagram of a known flow, want 0", n)
	}
	b.ReportAllocs()
	for b.Loop() {
		f.HandleDatagram(d)
	}
}

// A frame as a container's kernel makes it of an upload, 44 datagrams of 1448 bytes: to a
// socket of this host that takes one at a time, so that the call has them cut, and to
// nobody.
func BenchmarkHandleDatagramOf44(b *testing.B) {
	f, _ := newWorld(b, Limits{})
	_, at := serve(b, host4)
	for _, c := range []struct {
		name string
		dst  netip.AddrPort
	}{{"server", at}, {"nobody", netip.AddrPortFrom(silent.Addr().Next(), 9)}} {
		b.Run(c.name, func(b *testing.B) {
			d := several(netip.AddrPortFrom(ctr4, 4000), c.dst, 44, 1448)
			f.HandleDatagram(d)
			b.ReportAllocs()
			b.SetBytes(44 * 1448)
			for b.Loop() {
				f.HandleDatagram(d)
			}
		})
	}
}

func FuzzSocketError(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 64))
	f.Add([]byte{48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 111, 0, 0, 0, 2, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 198, 51, 100, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, oob []byte) {
		if e, ok := parseSocketError(oob); ok && e.offender.IsValid() && !e.offender.Is4() && !e.offender.Is6() {
			t.Errorf("%+v", e)
		}
	})
}

func TestAnErrorThatASendWasToldOfReachesTheContainerToo(t *testing.T) {
	f, g := newWorld(t, Limits{})
	s, at := serve(t, host4)
	s.Close()
	src := netip.AddrPortFrom(ctr4, 4000)
	// Each send finds the error of the one before; every error must be told.
	const n = 5
	for range n {
		f.HandleDatagram(from(src, at, "hello"))
	}
	for range n {
		if e := wait(t, g.icmp, "port unreachable"); e.e != packet.PortUnreachable(true) {
			t.Errorf("%+v", e.e)
		}
	}
}

func TestAFlowCanBeReleasedWhileItsErrorsAreRead(t *testing.T) {
	f, g := newWorld(t, Limits{})
	stop := make(chan struct{})
	defer close(stop)
	go func() { // the container takes what it is told
		for {
			select {
			case <-g.icmp:
			case <-stop:
				return
			}
		}
	}()
	s, at := serve(t, host4)
	s.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2000 {
			for range 3 {
				f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4000), at, "hello"))
			}
			f.ReleaseAddr(ctr4)
		}
	}()
	wait(t, done, "the releases")
}

// FuzzQuote holds what an ICMP error quotes, which is made of a container's own
// bytes, against what a container's kernel makes of it.
func FuzzQuote(f *testing.F) {
	f.Add([]byte{}, true)
	f.Add([]byte("eight by"), false)
	f.Fuzz(func(t *testing.T, data []byte, v4 bool) {
		a, b := ctr6, host6
		if v4 {
			a, b = ctr4, host4
		}
		src, dst := netip.AddrPortFrom(a, 4000), netip.AddrPortFrom(b, 53)
		q := quoteUDP(src, dst, data)
		ip, err := packet.ParseIP(q)
		if err != nil || ip.Src != a || ip.Dst != b || len(q) > packet.IPv6Len+packet.UDPLen+maxQuoted {
			t.Fatalf("%x: %+v, %v", q, ip, err)
		}
		if qsrc, qdst, _, err := packet.ParseUDP(q[ip.HeaderLen:ip.Len], &ip); err != nil || qsrc != src || qdst != dst {
			t.Errorf("%x: %v -> %v, %v", q, qsrc, qdst, err)
		}
		if len(data) < packet.ICMPLen {
			return
		}
		p := &ping{key: pingKey{a, 77}, path: path{hops: 3}}
		q = p.quote(b, append([]byte(nil), data[:min(len(data), maxQuoted)]...))
		if ip, err := packet.ParseIP(q); err != nil || ip.Src != a || ip.Dst != b || q[ip.HeaderLen+5] != 77 {
			t.Errorf("%x: %+v, %v", q, ip, err)
		}
	})
}
