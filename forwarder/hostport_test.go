package forwarder

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// openPorts opens single ports of both gateways' addresses.
type openPorts map[string]bool

func (o openPorts) open(proto uint8, port uint16) { o[fmt.Sprint(proto, " ", port)] = true }

func (o openPorts) is(proto uint8, at netip.AddrPort) bool {
	return o[fmt.Sprint(proto, " ", at.Port())]
}

func TestAnOpenedPortOfTheHostIsReachedAtTheGateway(t *testing.T) {
	for _, c := range families {
		t.Run(c.name, func(t *testing.T) {
			open := openPorts{}
			// Where flows leave the host is nothing to its loopback.
			f, g := newWorldOf(t, Options{HostPort: open.is, Outbound: Outbound{Addr4: second4, Addr6: second6, Device: "no-such"}})
			s, at := serve(t, loopback(c.ctr.Is4()))
			open.open(packet.ProtoUDP, at.Port())
			src, gateway := netip.AddrPortFrom(c.ctr, 4000), netip.AddrPortFrom(c.gw, at.Port())
			f.HandleDatagram(from(src, gateway, "hello"))
			got, peer := read(t, s)
			if got != "hello" || !peer.Addr().IsLoopback() {
				t.Errorf("the server got %q from %s", got, peer)
			}
			s.WriteToUDPAddrPort([]byte("answer"), peer)
			if d := wait(t, g.udp, "an answer"); d.src != gateway || d.dst != src || d.payload != "answer" {
				t.Errorf("got %+v, want an answer of %s", d, gateway)
			}
			// Others of the host cannot answer instead, though they know the port.
			stranger, _ := serve(t, loopback(c.ctr.Is4()))
			stranger.WriteToUDPAddrPort([]byte("knock"), peer)
			s.WriteToUDPAddrPort([]byte("second"), peer)
			if d := wait(t, g.udp, "the second answer"); d.payload != "second" {
				t.Errorf("a stranger got in: %+v", d)
			}
			s.Close()
			f.HandleDatagram(from(src, gateway, "hello?"))
			e := wait(t, g.icmp, "port unreachable")
			ip, err := packet.ParseIP(e.quoted)
			if e.e != packet.PortUnreachable(c.ctr.Is4()) || e.from.IsValid() || err != nil || ip.Dst != c.gw {
				t.Errorf("%+v from %v about %+v, %v; want port unreachable of the gateway", e.e, e.from, ip, err)
			}

			l, tcpAt := listen(t, loopback(c.ctr.Is4()))
			gateway = netip.AddrPortFrom(c.gw, tcpAt.Port())
			if _, err := g.dial(t, gateway); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("a port that is not open: %v, want refused", err)
			}
			open.open(packet.ProtoTCP, tcpAt.Port())
			closed := at.Port()
			if closed == tcpAt.Port() { // the kernel may have chosen one twice
				closed++
			}
			if !f.TakesTCP(gateway) || f.TakesTCP(netip.AddrPortFrom(c.gw, closed)) || f.TakesTCP(netip.AddrPortFrom(c.host, tcpAt.Port())) {
				t.Error("TCP is taken for other ports or addresses than the open one of the gateway")
			}
			go echoOnce(l)
			conn, err := g.dial(t, gateway)
			if err != nil {
				t.Fatal(err)
			}
			conn.Write([]byte("hello"))
			conn.CloseWrite()
			if b, err := io.ReadAll(conn); string(b) != "hello" || err != nil {
				t.Errorf("%q came back, %v", b, err)
			}
			l.Close()
			if _, err := g.dial(t, gateway); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("nobody listens: %v, want refused", err)
			}
		})
	}
}

func echoOnce(l *net.TCPListener) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	io.Copy(c, c)
}

// Open ports are the gateway's, and of one protocol: they open nothing else.
func TestOpenPortsOpenNothingElse(t *testing.T) {
	open := openPorts{}
	f, g := newWorldOf(t, Options{HostPort: open.is})
	s, at := serve(t, loopback(true))
	open.open(packet.ProtoTCP, at.Port())
	f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4000), netip.AddrPortFrom(gw4, at.Port()), "hello"))
	if e := wait(t, g.icmp, "port unreachable"); e.e != packet.PortUnreachable(true) {
		t.Errorf("%+v", e.e)
	}
	open.open(packet.ProtoUDP, at.Port())
	// What policy closes stays closed, at whatever port.
	f.allow = func(a netip.Addr) bool { return !a.IsLoopback() }
	f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4000), at, "hello"))
	if st := f.Stats(); st.UDP != 0 || st.Refused["policy"] != 1 {
		t.Errorf("%+v, want the loopback's own address refused", st)
	}
	// It is a flow like any other to limits and to the container's end.
	f.HandleDatagram(from(netip.AddrPortFrom(ctr4, 4000), netip.AddrPortFrom(gw4, at.Port()), "hello"))
	read(t, s)
	if st := f.StatsOf(ctr4); st.UDP != 1 {
		t.Errorf("%+v, want one flow", st)
	}
	f.ReleaseAddr(ctr4)
	if st := f.Stats(); st.UDP != 0 {
		t.Errorf("%+v after the container's end", st)
	}
}

// Where the host is shut, what is for the gateway itself meets no refusal, which a server
// of the host could have sent, but a network without a way.
func TestAShutHostIsUnreachable(t *testing.T) {
	for _, c := range families {
		t.Run(c.name, func(t *testing.T) {
			open := openPorts{}
			f, g := newWorldOf(t, Options{HostPort: open.is, NoHost: true})
			closed := netip.AddrPortFrom(c.gw, 9)
			f.HandleDatagram(from(netip.AddrPortFrom(c.ctr, 4000), closed, "hello"))
			if e := wait(t, g.icmp, "net unreachable for UDP"); e.e != packet.NetUnreachable(c.ctr.Is4()) {
				t.Errorf("UDP: %+v", e.e)
			}
			if !f.TakesTCP(closed) || f.TakesTCP(netip.AddrPortFrom(c.host, 9)) {
				t.Error("TCP is taken for others than the gateway")
			}
			done := make(chan struct{})
			go func() { defer close(done); g.dial(t, closed) }()
			if e := wait(t, g.icmp, "net unreachable for TCP"); e.e != packet.NetUnreachable(c.ctr.Is4()) {
				t.Errorf("TCP: %+v", e.e)
			}
			g.container.Close()
			<-done
			if st := f.Stats(); st.TCP+st.HalfOpen+st.UDP != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}
