package splice

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// The tests' world: the container is a netstack, joined with the gateway's
// netstack by a wire in memory that carries 64 KiB segments, as a TAP with
// offloads does; the host is this host's loopback.

// cable is one end of the wire.
type cable struct {
	stack.LinkEndpoint // nil: what is not below is not used
	other              *cable
	dispatcher         atomic.Pointer[stack.NetworkDispatcher]
	segments           atomic.Int64 // written, with data
}

func newCable() (a, b *cable) {
	a, b = &cable{}, &cable{}
	a.other, b.other = b, a
	return a, b
}

func (c *cable) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	if d := c.other.dispatcher.Load(); d != nil {
		for _, pkt := range list.AsSlice() {
			if pkt.Data().Size() > 0 {
				c.segments.Add(1)
			}
			in := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: pkt.ToBuffer()})
			(*d).DeliverNetworkPacket(pkt.NetworkProtocolNumber, in)
			in.DecRef()
		}
	}
	return list.Len(), nil
}

func (c *cable) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		c.dispatcher.Store(nil)
		return
	}
	c.dispatcher.Store(&d)
}

func (c *cable) IsAttached() bool                           { return c.dispatcher.Load() != nil }
func (*cable) MTU() uint32                                  { return 1500 }
func (*cable) MaxHeaderLength() uint16                      { return 0 }
func (*cable) LinkAddress() tcpip.LinkAddress               { return "" }
func (*cable) Capabilities() stack.LinkEndpointCapabilities { return stack.CapabilityRXChecksumOffload }
func (*cable) ARPHardwareType() header.ARPHardwareType      { return header.ARPHardwareNone }
func (*cable) AddHeader(*stack.PacketBuffer)                {}
func (*cable) ParseHeader(*stack.PacketBuffer) bool         { return true }
func (*cable) Wait()                                        {}
func (*cable) Close()                                       {}
func (*cable) SetOnCloseAction(func())                      {}
func (*cable) GSOMaxSize() uint32                           { return 65535 }
func (*cable) SupportedGSO() stack.SupportedGSO             { return stack.HostGSOSupported }

var (
	gatewayAddr   = tcpip.AddrFrom4([4]byte{172, 18, 0, 1})
	containerAddr = tcpip.AddrFrom4([4]byte{172, 18, 0, 2})
)

// world is a network with a listener on the gateway, where connections of the
// container arrive.
type world struct {
	gateway, container *stack.Stack
	wire               *cable // the gateway's end
	listener           tcpip.Endpoint
	arrived            chan struct{}
}

func newStack(t testing.TB, link stack.LinkEndpoint, a tcpip.Address) *stack.Stack {
	t.Helper()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC},
	})
	if err := s.CreateNIC(1, link); err != nil {
		t.Fatal(err)
	}
	if err := s.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: a, PrefixLen: 16}}, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}})
	t.Cleanup(s.Destroy)
	return s
}

func newWorld(t testing.TB) *world {
	t.Helper()
	a, b := newCable()
	w := &world{wire: a, gateway: newStack(t, a, gatewayAddr), container: newStack(t, b, containerAddr)}
	var wq waiter.Queue
	ep, terr := w.gateway.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, &wq)
	if terr != nil {
		t.Fatal(terr)
	}
	if terr := ep.Bind(tcpip.FullAddress{NIC: 1, Port: 80}); terr != nil {
		t.Fatal(terr)
	}
	if terr := ep.Listen(16); terr != nil {
		t.Fatal(terr)
	}
	var entry waiter.Entry
	entry, w.arrived = waiter.NewChannelEntry(waiter.ReadableEvents)
	wq.EventRegister(&entry)
	w.listener = ep
	t.Cleanup(ep.Close)
	return w
}

// joined is a container's connection, joined with one of the host.
type joined struct {
	t         testing.TB
	pair      *Pair
	container *gonet.TCPConn
	ep        tcpip.Endpoint // the container's
	host      *net.TCPConn   // the server that the container talks to
	ended     chan error     // what Run returned
}

// join connects the container with a server of the host, and runs the Pair.
func (w *world) join(t testing.TB) *joined {
	t.Helper()
	j := w.connect(t)
	go func() { j.ended <- j.pair.Run() }()
	return j
}

// connect is join without Run.
func (w *world) connect(t testing.TB) *joined {
	t.Helper()
	wq := new(waiter.Queue)
	ep, terr := w.container.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, wq)
	if terr != nil {
		t.Fatal(terr)
	}
	entry, ch := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp)
	wq.EventRegister(&entry)
	terr = ep.Connect(tcpip.FullAddress{NIC: 1, Addr: gatewayAddr, Port: 80})
	if _, started := terr.(*tcpip.ErrConnectStarted); !started {
		t.Fatalf("connect: %v", terr)
	}
	wait(t, ch, "the handshake")
	wq.EventUnregister(&entry)
	gep, gwq := w.accept(t)

	conn, host := dialed(t)
	j := &joined{t: t, pair: New(gep, gwq, conn), container: gonet.NewTCPConn(wq, ep), ep: ep, host: host, ended: make(chan error, 1)}
	j.container.SetDeadline(time.Now().Add(time.Minute))
	t.Cleanup(func() { j.container.Close() })
	return j
}

// dialed is a connection of Dial, whose owner closes it, and its server.
func dialed(t testing.TB) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(context.Background(), l.Addr().(*net.TCPAddr).AddrPort(), 10*time.Second, alone, Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	host, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	host.SetDeadline(time.Now().Add(time.Minute))
	return c, host
}

func (w *world) accept(t testing.TB) (tcpip.Endpoint, *waiter.Queue) {
	t.Helper()
	for {
		ep, wq, terr := w.listener.Accept(nil)
		if terr == nil {
			return ep, wq
		}
		if _, later := terr.(*tcpip.ErrWouldBlock); !later {
			t.Fatalf("accept: %v", terr)
		}
		wait(t, w.arrived, "a connection at the gateway")
	}
}

// resetContainer lets the container reset its connection.
func (j *joined) resetContainer() { j.ep.Abort() }

// resetHost lets the server reset its connection.
func (j *joined) resetHost() {
	j.host.SetLinger(0)
	j.host.Close()
}

// What one side sends while the other does not read.
func (j *joined) fillToHost() int      { return fill(j.t, j.container) }
func (j *joined) fillToContainer() int { return fill(j.t, j.host) }

// fill writes until the connection has taken nothing for a while: until every
// buffer on the way is full.
func fill(t testing.TB, c net.Conn) int {
	t.Helper()
	b := make([]byte, 256<<10)
	total := 0
	for {
		c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := c.Write(b)
		total += n
		if err == nil {
			continue
		}
		if !isTimeout(err) {
			t.Errorf("filling: %v", err)
			return total
		}
		if n == 0 {
			return total
		}
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// isReset reports whether err is a reset: gonet gives netstack's texts.
func isReset(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "reset") || strings.Contains(err.Error(), "abort"))
}

// wait receives from ch, or fails saying what it waited for.
func wait[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(20 * time.Second):
		buf := make([]byte, 1<<20)
		t.Fatalf("waited 20 s for %s\n%s", what, buf[:runtime.Stack(buf, true)])
		panic("unreachable")
	}
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited 20 s until %s", what)
		}
	}
}

func loopback(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}
