package portfwd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/pipe"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/footbridge-net/footbridge/internal/errno"
	"github.com/footbridge-net/footbridge/internal/packet"
)

// The network under test: a gateway and one container, each a netstack.
var (
	gw4        = netip.MustParseAddr("10.0.0.1")
	gw6        = netip.MustParseAddr("fd00:10::1")
	container4 = netip.MustParseAddr("10.0.0.2")
	container6 = netip.MustParseAddr("fd00:10::2")
	subnets    = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fd00:10::/64")}
	nowhere    = netip.MustParseAddr("10.0.0.3") // answers nothing
)

const testTimeout = 10 * time.Second

type world struct {
	t         *testing.T
	gateway   *testGateway
	container *stack.Stack
	forwarder *Forwarder
}

// newWorld makes a network with a Forwarder. Of o, Gateway and Subnets are set
// here.
func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	a, b := pipe.New("\x02\x42\x0a\x00\x00\x01", "\x02\x42\x0a\x00\x00\x02", 65535)
	w := &world{t: t, gateway: &testGateway{stack: newStack(t, a, gw4, gw6)}, container: newStack(t, b, container4, container6)}
	o.Gateway, o.Subnets = w.gateway, subnets
	w.forwarder = New(o)
	w.gateway.take(w.forwarder)
	t.Cleanup(func() {
		w.forwarder.Close()
		w.gateway.stack.Destroy()
		w.container.Destroy()
	})
	return w
}

func newStack(t *testing.T, link stack.LinkEndpoint, addrs ...netip.Addr) *stack.Stack {
	t.Helper()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC, udp.NewProtocol},
	})
	if err := s.CreateNIC(1, link); err != nil {
		t.Fatal("NIC:", err)
	}
	for _, a := range addrs {
		err := s.AddProtocolAddress(1, tcpip.ProtocolAddress{
			Protocol:          protocolOf(a),
			AddressWithPrefix: tcpip.AddrFromSlice(a.AsSlice()).WithPrefix(),
		}, stack.AddressProperties{})
		if err != nil {
			t.Fatal("address:", err)
		}
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}, {Destination: header.IPv6EmptySubnet, NIC: 1}})
	return s
}

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: 1, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}
}

// testGateway is a Gateway that sends from any address.
type testGateway struct {
	stack *stack.Stack

	mu    sync.Mutex
	dials []netip.AddrPort // sources asked for
}

func (g *testGateway) take(f *Forwarder) {
	g.stack.SetSpoofing(1, true)
	g.stack.SetPromiscuousMode(1, true)
	g.stack.SetTransportProtocolHandler(udp.ProtocolNumber, func(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
		src, _ := netip.AddrFromSlice(id.RemoteAddress.AsSlice())
		dst, _ := netip.AddrFromSlice(id.LocalAddress.AsSlice())
		f.HandleDatagram(packet.Datagram{
			Src:     netip.AddrPortFrom(src, id.RemotePort),
			Dst:     netip.AddrPortFrom(dst, id.LocalPort),
			Payload: pkt.Data().AsRange().ToSlice(),
		})
		return true
	})
}

func (g *testGateway) Addrs() []netip.Addr { return []netip.Addr{gw4, gw6} }

func (g *testGateway) DialTCP(ctx context.Context, src, dst netip.AddrPort) (tcpip.Endpoint, *waiter.Queue, error) {
	g.mu.Lock()
	g.dials = append(g.dials, src)
	g.mu.Unlock()
	wq := new(waiter.Queue)
	ep, terr := g.stack.NewEndpoint(tcp.ProtocolNumber, protocolOf(dst.Addr()), wq)
	if terr != nil {
		return nil, nil, errno.From(terr)
	}
	entry, ch := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	terr = ep.Bind(full(src))
	if terr == nil {
		terr = ep.Connect(full(dst))
	}
	if _, ok := terr.(*tcpip.ErrConnectStarted); ok {
		select {
		case <-ch:
			terr = ep.LastError()
		case <-ctx.Done():
			terr = &tcpip.ErrTimeout{}
		}
	}
	if terr != nil {
		ep.Abort()
		return nil, nil, errno.From(terr)
	}
	return ep, wq, nil
}

func (g *testGateway) SendDatagrams(src, dst netip.AddrPort, payload []byte, size int) error {
	for size > 0 && len(payload) > size { // the wire of this world takes one at a time
		if err := g.send(src, dst, payload[:size]); err != nil {
			return err
		}
		payload = payload[size:]
	}
	return g.send(src, dst, payload)
}

func (g *testGateway) send(src, dst netip.AddrPort, payload []byte) error {
	r, terr := g.stack.FindRoute(1, tcpip.AddrFromSlice(src.Addr().AsSlice()), tcpip.AddrFromSlice(dst.Addr().AsSlice()), protocolOf(dst.Addr()), false)
	if terr != nil {
		return errno.From(terr)
	}
	defer r.Release()
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: header.UDPMinimumSize + int(r.MaxHeaderLength()),
		Payload:            buffer.MakeWithData(payload),
	})
	defer pkt.DecRef()
	pkt.TransportProtocolNumber = udp.ProtocolNumber
	h := header.UDP(pkt.TransportHeader().Push(header.UDPMinimumSize))
	n := uint16(header.UDPMinimumSize + len(payload))
	h.Encode(&header.UDPFields{SrcPort: src.Port(), DstPort: dst.Port(), Length: n})
	h.SetChecksum(^h.CalculateChecksum(checksum.Checksum(payload, r.PseudoHeaderChecksum(udp.ProtocolNumber, n))))
	if terr := r.WritePacket(stack.NetworkHeaderParams{Protocol: udp.ProtocolNumber, TTL: 64}, pkt); terr != nil {
		return errno.From(terr)
	}
	return nil
}

// listen makes the container serve TCP.
func (w *world) listen(at netip.AddrPort) net.Listener {
	w.t.Helper()
	l, err := gonet.ListenTCP(w.container, full(at), protocolOf(at.Addr()))
	if err != nil {
		w.t.Fatalf("container listens at %v: %v", at, err)
	}
	w.t.Cleanup(func() { l.Close() })
	return l
}

// echo makes the container answer each connection or datagram with "from ",
// the address it sees and what was sent. TCP is read up to its end first.
func (w *world) echo(proto string, at netip.AddrPort) io.Closer {
	w.t.Helper()
	if proto == "udp" {
		laddr := full(at)
		c, err := gonet.DialUDP(w.container, &laddr, nil, protocolOf(at.Addr()))
		if err != nil {
			w.t.Fatalf("container binds %v: %v", at, err)
		}
		w.t.Cleanup(func() { c.Close() })
		go func() {
			b := make([]byte, 65536)
			for {
				n, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				c.WriteTo(fmt.Appendf(nil, "from %v: %s", from, b[:n]), from)
			}
		}()
		return c
	}
	l := w.listen(at)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b, _ := io.ReadAll(c)
				fmt.Fprintf(c, "from %v: %s", c.RemoteAddr(), b)
			}()
		}
	}()
	return l
}

func (w *world) publish(proto, host string, to netip.AddrPort) *Listener {
	w.t.Helper()
	return publish(w.t, w.forwarder, Mapping{Proto: proto, Host: netip.MustParseAddrPort(host), Container: to, Owner: "web"})
}

// publish binds a port and has it served, with no more than that socket left.
func publish(t testing.TB, f *Forwarder, m Mapping) *Listener {
	t.Helper()
	b, err := NewRegistry().Bind(m)
	if err != nil {
		t.Fatal(err)
	}
	l, err := f.Serve(b.Mapping(), b.Handle())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// dial connects from a client's address ("" for any, with port 0 if none is
// given) to one of the host's.
func dial(t *testing.T, from string, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := tryDial(from, to)
	if err != nil {
		t.Fatalf("client %s: %v", from, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func tryDial(from string, to netip.AddrPort) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: testTimeout, Control: reuse}
	if from != "" {
		d.LocalAddr = net.TCPAddrFromAddrPort(clientAddr(from))
	}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(testTimeout))
	return c.(*net.TCPConn), nil
}

// reuse lets a client use one port for several connections.
func reuse(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	})
}

func clientAddr(s string) netip.AddrPort {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 0)
	}
	return netip.MustParseAddrPort(s)
}

// askTCP sends s, ends its direction and returns the answer.
func askTCP(t *testing.T, c *net.TCPConn, s string) string {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal("client writes:", err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal("client ends:", err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal("client reads:", err)
	}
	return string(b)
}

// udpClient is an unconnected socket, so that the source of answers is seen.
func udpClient(t *testing.T, from string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(clientAddr(from)))
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(testTimeout))
	t.Cleanup(func() { c.Close() })
	return c
}

// askUDP sends s to a host's address, checks that the answer comes from there
// and returns it.
func askUDP(t *testing.T, c *net.UDPConn, to netip.AddrPort, s string) string {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(s), to); err != nil {
		t.Fatal("client writes:", err)
	}
	b := make([]byte, 65536)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatalf("client %v waits for an answer from %v: %v", c.LocalAddr(), to, err)
	}
	if unmap(from) != to {
		t.Fatalf("asked %v, answered by %v", to, from)
	}
	return string(b[:n])
}

func local(c interface{ LocalAddr() net.Addr }) netip.AddrPort {
	return unmap(netip.MustParseAddrPort(c.LocalAddr().String()))
}

func at(a string, l netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(a), l.Port())
}

// until waits for something that only counters show.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(testTimeout)
	for !cond() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("waited in vain: ", what)
		}
	}
}
