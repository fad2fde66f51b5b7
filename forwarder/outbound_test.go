package forwarder

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/footbridge-net/footbridge/internal/packet"
)

func TestFlowsLeaveFromTheAddressThatWasChosen(t *testing.T) {
	for _, o := range []Outbound{{Addr4: second4, Addr6: second6}, {Addr4: second4, Addr6: second6, Device: "lo"}} {
		for _, c := range families {
			f, g := newWorldOf(t, Options{Outbound: o})
			want := o.addr(c.ctr.Is4())
			s, at := serve(t, c.host)
			f.HandleDatagram(from(netip.AddrPortFrom(c.ctr, 4000), at, "hello"))
			_, peer := read(t, s)
			if peer.Addr() != want {
				t.Errorf("UDP came from %s, want %s", peer.Addr(), want)
			}
			s.WriteToUDPAddrPort([]byte("answer"), peer)
			if d := wait(t, g.udp, "an answer"); d.payload != "answer" {
				t.Errorf("the answer is %q", d.payload)
			}
			l, tcpAt := listen(t, c.host)
			if _, err := g.dial(t, tcpAt); err != nil {
				t.Fatal(err)
			}
			conn, err := l.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got := netip.MustParseAddrPort(conn.RemoteAddr().String()).Addr(); got != want {
				t.Errorf("TCP came from %s, want %s", got, want)
			}
			f.HandleEcho(packet.Echo{Src: c.ctr, Dst: c.host, ID: 1, Seq: 1, TTL: 64})
			wait(t, g.echo, "an echo reply")
		}
	}
}

// What the host does not have is refused, counted and told inside, for every kind of
// flow; what was chosen for one family is nothing to the other.
func TestAWayOutThatIsNotThereIsRefused(t *testing.T) {
	for name, o := range map[string]Outbound{
		"an address":    {Addr4: netip.MustParseAddr("203.0.113.99"), Addr6: netip.MustParseAddr("2001:db8:99::1")},
		"an interface":  {Device: "no-such"},
		"one of either": {Addr4: second4, Addr6: netip.MustParseAddr("2001:db8:99::1"), Device: "no-such"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range families {
				f, g := newWorldOf(t, Options{Outbound: o})
				_, at := serve(t, c.host)
				d := from(netip.AddrPortFrom(c.ctr, 4000), at, "hello")
				f.HandleDatagram(d)
				f.HandleEcho(packet.Echo{Src: c.ctr, Dst: c.host, ID: 1, Seq: 1, TTL: 64, IP: d.IP})
				done := make(chan struct{})
				go func() { defer close(done); g.dial(t, at) }()
				for range 3 {
					if e := wait(t, g.icmp, "an ICMP error"); e.e != packet.NetUnreachable(c.ctr.Is4()) {
						t.Errorf("%s: %+v, want net unreachable", c.name, e.e)
					}
				}
				eventually(t, "nothing is left", func() bool {
					s := f.Stats()
					return s.UDP+s.Echo+s.TCP+s.HalfOpen == 0 && s.Refused["outbound"] == 3 && s.Refused["socket"] == 0
				})
				g.container.Close()
				<-done
			}
		})
	}
	f, _ := newWorldOf(t, Options{Outbound: Outbound{Addr4: netip.MustParseAddr("203.0.113.99")}})
	s, at := serve(t, host6)
	f.HandleDatagram(from(netip.AddrPortFrom(ctr6, 4000), at, "hello"))
	read(t, s)
}

// A flow whose way out goes away while it lasts gets a new socket, so that it goes on when
// the way is there again.
func TestAFlowWhoseWayOutHasGoneEnds(t *testing.T) {
	f, _ := newWorldOf(t, Options{Outbound: Outbound{Addr4: second4}})
	s, at := serve(t, host4)
	f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4000), at, "hello"))
	read(t, s)
	m := f.mappings[mappingKey{src: netip.AddrPortFrom(ctr4, 4000)}]
	m.gone.Store(true)
	f.expire(f.now())
	if n := f.Stats().UDP; n != 0 {
		t.Fatalf("%d mappings", n)
	}
	f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4000), at, "hello"))
	read(t, s)
	for err, want := range map[error]bool{
		syscall.ENODEV: true, syscall.ENXIO: true, syscall.EADDRNOTAVAIL: true, syscall.EINVAL: true,
		syscall.ENETUNREACH: false, syscall.ECONNREFUSED: false, nil: false, errors.New("x"): false,
	} {
		if wayIsGone(err) != want {
			t.Errorf("%v: %v", err, !want)
		}
	}
}
