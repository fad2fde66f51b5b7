package forwarder

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/share"
)

var other4 = netip.MustParseAddr("172.18.0.3") // another container

// oneContainer says that ctr4 and ctr6 are one.
func oneContainer(a netip.Addr) netip.Addr {
	if a == ctr6 {
		return ctr4
	}
	return a
}

// synPacket is a SYN as the gateway hands it over.
func synPacket(src, dst netip.AddrPort) (stack.TransportEndpointID, *stack.PacketBuffer) {
	b := make([]byte, packet.IPv4Len+header.TCPMinimumSize)
	packet.PutIPv4(b, src.Addr(), dst.Addr(), packet.ProtoTCP, 64, len(b))
	header.TCP(b[packet.IPv4Len:]).Encode(&header.TCPFields{SrcPort: src.Port(), DstPort: dst.Port(), SeqNum: 1,
		DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn, WindowSize: 65535})
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
	pkt.RXChecksumValidated = true
	pkt.NetworkProtocolNumber = header.IPv4ProtocolNumber
	pkt.NetworkHeader().Consume(packet.IPv4Len)
	pkt.TransportHeader().Consume(header.TCPMinimumSize)
	return stack.TransportEndpointID{
		LocalAddress: tcpip.AddrFrom4(dst.Addr().As4()), LocalPort: dst.Port(),
		RemoteAddress: tcpip.AddrFrom4(src.Addr().As4()), RemotePort: src.Port(),
	}, pkt
}

// syn is a SYN of a container, whatever becomes of it.
func (f *Forwarder) syn(src, dst netip.AddrPort) {
	id, pkt := synPacket(src, dst)
	defer pkt.DecRef()
	f.HandleTCP(id, pkt)
}

func TestTheLimitsOfAContainerAreItsOwn(t *testing.T) {
	f, g := newWorldOf(t, Options{Owner: oneContainer, Limits: Limits{HalfOpen: 10, UDP: 10, Echo: 10}})
	g.drain(t)
	f.SetLimits(ctr4, Limits{HalfOpen: 3, UDP: 4, Echo: 2})
	nobody := netip.AddrPortFrom(silent.Addr().Next(), 80)
	flood := func() {
		for port := range uint16(20) {
			for _, src := range []netip.Addr{ctr4, other4} {
				f.syn(netip.AddrPortFrom(src, 1000+port), nobody)
			}
			for src, dst := range map[netip.Addr]netip.Addr{ctr4: host4, ctr6: host6, other4: host4} {
				f.HandleDatagram(packet.Datagram{Src: netip.AddrPortFrom(src, 1000+port), Dst: netip.AddrPortFrom(dst, 9), TTL: 64})
				f.HandleEcho(packet.Echo{Src: src, Dst: dst, ID: port, TTL: 64})
			}
		}
	}
	flood()
	expect := func(a netip.Addr, want Stats) {
		t.Helper()
		if got := f.StatsOf(a); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("container %v: %+v, want %+v", a, got, want)
		}
	}
	expect(ctr4, Stats{HalfOpen: 3, UDP: 4, Echo: 2, Refused: map[string]uint64{"half_open_limit": 17, "udp_limit": 36, "echo_limit": 38}})
	expect(other4, Stats{HalfOpen: 10, UDP: 10, Echo: 10, Refused: map[string]uint64{"half_open_limit": 10, "udp_limit": 10, "echo_limit": 10}})
	f.SetLimits(ctr4, Limits{UDP: 5}) // and the defaults for the others
	flood()
	if s := f.StatsOf(ctr4); s.UDP != 5 || s.HalfOpen != 10 || s.Echo != 10 {
		t.Errorf("after higher limits: %+v", s)
	}
	f.HandleDatagram(packet.Datagram{Src: netip.AddrPortFrom(ctr4, 1), Dst: netip.AddrPortFrom(closed4, 9), TTL: 64})
	if n := f.StatsOf(ctr4).Refused["policy"]; n != 1 {
		t.Errorf("%d refusals by policy are counted for the container, want 1", n)
	}
	f.ReleaseAddr(ctr4)
	f.ReleaseAddr(ctr6)
	expect(ctr4, Stats{Refused: map[string]uint64{}})
	eventually(t, "only the other's flows are left", func() bool {
		s := f.Stats()
		return s.HalfOpen == 10 && s.UDP == 10 && s.Echo == 10
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clients.Len() != 1 {
		t.Errorf("%d containers are remembered, want 1", f.clients.Len())
	}
}

// Asked for all at once, connections are no more than one after the other.
func TestConnectionsUnderWayCountAsConnections(t *testing.T) {
	f, g := newWorldOf(t, Options{Owner: oneContainer})
	g.drain(t)
	f.SetLimits(ctr4, Limits{TCP: 3})
	for port := range uint16(20) {
		f.syn(netip.AddrPortFrom(ctr4, 1000+port), netip.AddrPortFrom(silent.Addr().Next(), 80))
	}
	if s := f.StatsOf(ctr4); s.HalfOpen+s.TCP != 3 || s.Refused["tcp_limit"] != 17 {
		t.Errorf("20 connections at once, of which 3 are allowed: %+v", s)
	}
	f.ReleaseAddr(ctr4)
}

func TestAContainerLeavesPortsOfTheHostToOthers(t *testing.T) {
	f, g := newWorldOf(t, Options{Owner: oneContainer})
	g.drain(t)
	f.ports = share.New(12)
	for port := range uint16(20) {
		f.HandleDatagram(packet.Datagram{Src: netip.AddrPortFrom(ctr4, 1000+port), Dst: netip.AddrPortFrom(host4, 9), TTL: 64})
	}
	for port := range uint16(20) {
		f.HandleDatagram(packet.Datagram{Src: netip.AddrPortFrom(other4, 1000+port), Dst: netip.AddrPortFrom(host4, 9), TTL: 64})
	}
	if a, b := f.StatsOf(ctr4).UDP, f.StatsOf(other4).UDP; a != 6 || b != 3 {
		t.Errorf("the containers have %d and %d of 12 ports, want 6 and 3", a, b)
	}
	if n := f.Stats().Refused["port_share"]; n != 31 {
		t.Errorf("%d refused, want 31", n)
	}
	f.ReleaseAddr(ctr4)
	f.ReleaseAddr(other4)
	if n := f.ports.Used(); n != 0 {
		t.Errorf("%d ports are counted after the end of all flows", n)
	}
}

func TestPortsOfTheHost(t *testing.T) {
	for text, want := range map[string]int{"32768\t60999\n": 28232, "40000 40000": 1, "": 7, "1": 7, "5 4": 7, "0 65536": 7, "a b": 7} {
		if got := portsIn(text, 7); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// One container with all its mappings talks to everybody.
func TestRememberedAddressesAreBounded(t *testing.T) {
	f, _ := newWorld(t, Limits{})
	const mappings = 100
	a := silent.Addr()
	for range 2 * maxRemembered / mappings {
		a = a.Next()
		for port := range uint16(mappings) {
			f.HandleDatagram(packet.Datagram{Src: netip.AddrPortFrom(ctr4, 1000+port), Dst: netip.AddrPortFrom(a, 9), TTL: 64})
		}
	}
	f.mu.Lock()
	c, sum := f.clients.Find(ctr4), 0
	for _, m := range f.mappings {
		m.mu.Lock()
		sum += len(m.peers[0]) + len(m.peers[1])
		m.mu.Unlock()
	}
	f.mu.Unlock()
	if n := int(c.remembered.Load()); n != sum {
		t.Errorf("%d are counted, %d are remembered", n, sum)
	}
	if most := maxRemembered + mappings*2*minPeers; sum > most {
		t.Errorf("%d addresses are remembered, want %d at most", sum, most)
	}
	f.ReleaseAddr(ctr4)
	if n := c.remembered.Load(); n != 0 {
		t.Errorf("%d are counted after the end", n)
	}
	// The last one sent to is welcome.
	m, _ := f.mappingOf(mappingKey{src: netip.AddrPortFrom(other4, 1)}, netip.AddrPortFrom(a, 9))
	m.mu.Lock()
	m.client.remembered.Store(maxRemembered)
	now := time.Now()
	for range 3 * minPeers {
		a = a.Next()
		m.remember(a, now)
		m.remember(a, now)
	}
	m.mu.Unlock()
	if !m.welcome(a) || len(m.peers[0]) > minPeers || len(m.peers[1]) > minPeers {
		t.Errorf("%d and %d remembered, last one: %v", len(m.peers[0]), len(m.peers[1]), m.welcome(a))
	}
}

// refusals are packets that begin a flow over each kind of limit.
func refusals(tb testing.TB) map[string]func() {
	f, _ := newWorld(tb, Limits{HalfOpen: 1, UDP: 1, Echo: 1})
	nobody := netip.AddrPortFrom(silent.Addr().Next(), 80)
	f.syn(netip.AddrPortFrom(ctr4, 1), nobody)
	f.HandleDatagram(packet.Datagram{Src: netip.AddrPortFrom(ctr4, 1), Dst: nobody, TTL: 64})
	f.HandleEcho(packet.Echo{Src: ctr4, Dst: nobody.Addr(), ID: 1, TTL: 64})
	id, pkt := synPacket(netip.AddrPortFrom(ctr4, 2), nobody)
	forbidden := packet.Datagram{Src: netip.AddrPortFrom(ctr4, 2), Dst: netip.AddrPortFrom(closed4, 9), TTL: 64}
	d := packet.Datagram{Src: netip.AddrPortFrom(ctr4, 2), Dst: nobody, TTL: 64}
	e := packet.Echo{Src: ctr4, Dst: nobody.Addr(), ID: 2, TTL: 64}
	return map[string]func(){
		"tcp":    func() { f.HandleTCP(id, pkt) },
		"udp":    func() { f.HandleDatagram(d) },
		"echo":   func() { f.HandleEcho(e) },
		"policy": func() { f.HandleDatagram(forbidden) },
	}
}

func TestRefusalsAllocateNothing(t *testing.T) {
	for name, refuse := range refusals(t) {
		if n := testing.AllocsPerRun(100, refuse); n != 0 {
			t.Errorf("%s: %v allocations for a packet that is refused, want 0", name, n)
		}
	}
}

func BenchmarkRefusal(b *testing.B) {
	for name, refuse := range refusals(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				refuse()
			}
		})
	}
}

// A container that begins flows as fast as it can holds what its limits say and
// no more, in sockets, goroutines and memory.
func TestAFloodHoldsNoMoreThanTheLimits(t *testing.T) {
	f, _ := newWorld(t, Limits{HalfOpen: 64, UDP: 256, Echo: 64})
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()
	a := silent.Addr()
	for i := range 200_000 {
		if a = a.Next(); !silent.Contains(a) {
			a = silent.Addr()
		}
		port := uint16(i%60000) + 1
		f.HandleDatagram(packet.Datagram{Src: netip.AddrPortFrom(ctr4, port), Dst: netip.AddrPortFrom(a, 9), TTL: 64})
		f.HandleEcho(packet.Echo{Src: ctr4, Dst: a, ID: port, TTL: 64})
		if i%10 == 0 {
			f.syn(netip.AddrPortFrom(ctr4, port), netip.AddrPortFrom(a, 80))
		}
	}
	s := f.Stats()
	if s.HalfOpen != 64 || s.UDP != 256 || s.Echo != 64 {
		t.Errorf("%+v", s)
	}
	if n := runtime.NumGoroutine() - goroutines; n > 64+256+64 {
		t.Errorf("%d goroutines, want one for each flow", n)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)
	t.Logf("%d bytes for %d flows", held, 64+256+64)
	if most := int64(16 << 20); held > most {
		t.Errorf("%d bytes are held, want %d at most", held, most)
	}
}
