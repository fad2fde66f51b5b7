package stack

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/pipe"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// service is a listener on one netstack and its container, which is another.
type service struct {
	l                  *listener
	gateway, container *stack.Stack
	at                 netip.AddrPort
}

func newService(t *testing.T) *service {
	t.Helper()
	a, b := pipe.New("\x02\x00\x00\x00\x00\x01", "\x02\x00\x00\x00\x00\x02", 1500)
	s := &service{at: netip.MustParseAddrPort("10.0.0.1:53")}
	for _, side := range []struct {
		s    **stack.Stack
		link stack.LinkEndpoint
		addr string
	}{{&s.gateway, a, "10.0.0.1"}, {&s.container, b, "10.0.0.2"}} {
		st := stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC},
		})
		t.Cleanup(st.Destroy)
		if err := st.CreateNIC(1, side.link); err != nil {
			t.Fatal(err)
		}
		addr := tcpip.AddrFrom4(netip.MustParseAddr(side.addr).As4())
		if err := st.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: addr.WithPrefix()}, stack.AddressProperties{}); err != nil {
			t.Fatal(err)
		}
		st.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}})
		*side.s = st
	}
	wait := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	s.gateway.SetTransportProtocolOption(tcp.ProtocolNumber, &wait)
	wq := new(waiter.Queue)
	ep, terr := s.gateway.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, wq)
	if terr == nil {
		terr = ep.Bind(fullAddress(s.at))
	}
	if terr == nil {
		terr = ep.Listen(backlog)
	}
	if terr != nil {
		t.Fatal(terr)
	}
	s.l = newListener(ep, wq, s.at)
	t.Cleanup(func() { s.l.Close() })
	return s
}

// connect gives both ends of a new connection.
func (s *service) connect(t *testing.T) (client *gonet.TCPConn, server net.Conn) {
	t.Helper()
	client, err := gonet.DialTCP(s.container, fullAddress(s.at), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	client.SetDeadline(time.Now().Add(10 * time.Second))
	if server, err = s.l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// left is what the gateway still has of connections.
func (s *service) left() int {
	n := 0
	for _, ep := range s.gateway.RegisteredEndpoints() {
		switch tcp.EndpointState(ep.(tcpip.Endpoint).State()) {
		case tcp.StateListen, tcp.StateTimeWait:
		default:
			n++
		}
	}
	return n
}

func TestAConnectionToTheGatewayEndsInOrder(t *testing.T) {
	s := newService(t)
	client, server := s.connect(t)
	go func() {
		b, _ := io.ReadAll(server)
		server.Write(b)
		server.Close()
	}()
	client.Write([]byte("question"))
	client.CloseWrite()
	if b, err := io.ReadAll(client); string(b) != "question" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if a := server.RemoteAddr().String(); !strings.HasPrefix(a, "10.0.0.2:") {
		t.Errorf("from %s", a)
	}
}

func TestARefusedConnectionLeavesNothing(t *testing.T) {
	s := newService(t)
	client, server := s.connect(t)
	server.(*serviceConn).SetLinger(0)
	start := time.Now()
	server.Close()
	if d := time.Since(start); d > closeTimeout/2 {
		t.Errorf("closing took %v", d)
	}
	if n := s.left(); n != 0 {
		t.Errorf("%d endpoints are left", n)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "reset") {
		t.Errorf("the client got %v, want a reset", err)
	}
}

// A container that does not read, and does not end, holds no more than a buffer,
// and that not for long once the connection is closed.
func TestAContainerThatDoesNotReadIsReset(t *testing.T) {
	s := newService(t)
	client, server := s.connect(t)
	sent := 0
	for {
		server.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := server.Write(make([]byte, 16<<10))
		sent += n
		if err != nil {
			break
		}
	}
	start := time.Now()
	server.Close()
	if d := time.Since(start); d < closeTimeout || d > 4*closeTimeout {
		t.Errorf("closing took %v, want %v", d, closeTimeout)
	}
	if n := s.left(); n != 0 {
		t.Errorf("%d endpoints are left", n)
	}
	// What the client's own buffer has is its own matter.
	if got, err := io.Copy(io.Discard, client); err == nil || int(got) >= sent {
		t.Errorf("the client got %d of %d bytes and %v, want a part and a reset", got, sent, err)
	}
}

func TestAClosedListenerAcceptsNothing(t *testing.T) {
	s := newService(t)
	ended := make(chan error)
	go func() {
		_, err := s.l.Accept()
		ended <- err
	}()
	s.l.Close()
	s.l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := s.l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}
