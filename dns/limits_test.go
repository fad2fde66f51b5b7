package dns

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/footbridge-net/footbridge/internal/share"
)

// oneClient says that client1 has the address c3v6 too.
func oneClient(a netip.Addr) netip.Addr {
	if a == c3v6 {
		return client1.Addr()
	}
	return a
}

func TestTheLimitsOfAContainerAreItsOwn(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	s := newServer(t, Options{
		Owner: oneClient, Upstream: asking(t, UpstreamOptions{}, netip.MustParseAddrPort(silent.LocalAddr().String())),
		Limits: Limits{Client: ClientLimits{Forwards: 3}},
	})
	s.SetLimits(client1.Addr(), ClientLimits{Forwards: 4, Connections: 1})
	refused := func(src netip.AddrPort) bool {
		b := inline(s, src, pack(t, question("example.com.", miekg.TypeA)))
		return b != nil && unpack(t, b).Rcode == miekg.RcodeRefused
	}
	count := func(want int, srcs ...netip.AddrPort) {
		t.Helper()
		n := 0
		for i := range 10 {
			if !refused(srcs[i%len(srcs)]) {
				n++
			}
		}
		if n != want {
			t.Errorf("%v had %d questions under way, want %d", srcs, n, want)
		}
	}
	count(4, client1, netip.AddrPortFrom(c3v6, 5))
	count(3, client2)
	if got, want := s.StatsOf(client1.Addr()), (ClientStats{Forwards: 4, Refused: 6}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	s.SetLimits(client1.Addr(), ClientLimits{Forwards: 5})
	count(1, client1)
	s.Release(client1.Addr())
	s.Close()
	if n := s.clients.all.Len(); n != 0 || s.clients.forwards.Used() != 0 {
		t.Errorf("%d containers and %d questions are counted after the end", n, s.clients.forwards.Used())
	}
}

// Sockets to resolvers are those of all networks: one container on each cannot have
// them all.
func TestSocketsAreShared(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	u := asking(t, UpstreamOptions{}, netip.MustParseAddrPort(silent.LocalAddr().String()))
	u.inFlight = share.New(8)
	servers := []*Server{newServer(t, Options{Upstream: u}), newServer(t, Options{Upstream: u}), newServer(t, Options{Upstream: u})}
	for i, want := range []int{4, 2, 1} {
		s := servers[i]
		before := u.inFlight.Used()
		for range 20 {
			inline(s, client1, pack(t, question("example.com.", miekg.TypeA)))
		}
		if n := u.inFlight.Used() - before; n != want {
			t.Errorf("network %d: %d exchanges, want %d", i, n, want)
		}
		if got := s.StatsOf(client1.Addr()); got != (ClientStats{Forwards: want, Refused: uint64(20 - want)}) {
			t.Errorf("%+v", got)
		}
	}
}

// 10,000 connections of one container, each with the beginning of a question:
// another's question is answered as ever, and what is held is what the limit says.
func TestSlowloris(t *testing.T) {
	s := newServer(t, Options{Zone: myBridge(), Limits: Limits{Idle: time.Hour}})
	addr := serve(t, s)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.1")}}
	var longest time.Duration
	for i := range 10_000 {
		if c, err := d.Dial("tcp", addr); err == nil {
			defer c.Close()
			c.Write([]byte{0, 40, 1})
		}
		if i%500 == 0 {
			start := time.Now()
			c := dial(t, "127.0.0.2", addr)
			c.Write(framed(pack(t, question("c3.", miekg.TypeA))))
			if m := readReply(t, c); len(m.Answer) != 1 {
				t.Fatalf("%v", m)
			}
			c.Close()
			longest = max(longest, time.Since(start))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := s.StatsOf(netip.MustParseAddr("127.0.0.1")); got.Connections != 16 || got.Refused < 9000 {
		t.Errorf("%+v, want 16 connections", got)
	}
	t.Logf("another container's longest question took %v", longest)
	if longest > patience/10 {
		t.Errorf("another container's question took %v", longest)
	}
}

func BenchmarkRefused(b *testing.B) {
	s := newServer(b, Options{Upstream: asking(b, UpstreamOptions{}), Limits: Limits{Client: ClientLimits{Forwards: 1}}})
	s.clients.takeForward(client1.Addr(), share.New(1))
	query := pack(b, question("example.com.", miekg.TypeA))
	n := 0
	reply := func([]byte) { n++ }
	for b.Loop() {
		s.HandleDatagram(client1, query, reply)
	}
	if n == 0 || s.Stats().Forwarded != 0 {
		b.Fatal("not refused")
	}
	b.ReportMetric(float64(s.Stats().Refused)/float64(b.N), "refused/op")
}
