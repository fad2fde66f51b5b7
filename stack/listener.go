package stack

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/footbridge-net/footbridge/internal/errno"
)

// serviceBuffer bounds what netstack holds for a connection to one of the
// gateway's own services in each direction, in bytes: room for the longest DNS
// message. Containers may have sent, or not yet taken, that much and no more.
const serviceBuffer = 64 << 10

// listener accepts connections to one of the gateway's own services.
type listener struct {
	ep   tcpip.Endpoint
	wq   *waiter.Queue
	addr net.Addr

	closing sync.Once
	closed  chan struct{}
}

func newListener(ep tcpip.Endpoint, wq *waiter.Queue, at netip.AddrPort) *listener {
	return &listener{ep: ep, wq: wq, addr: net.TCPAddrFromAddrPort(at), closed: make(chan struct{})}
}

func (l *listener) Addr() net.Addr { return l.addr }

// Close ends waiting Accepts.
func (l *listener) Close() error {
	l.closing.Do(func() {
		close(l.closed)
		l.ep.Close()
	})
	return nil
}

// Accept gives the next connection, a *serviceConn.
func (l *listener) Accept() (net.Conn, error) {
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents)
	l.wq.EventRegister(&entry)
	defer l.wq.EventUnregister(&entry)
	for {
		var from tcpip.FullAddress
		ep, wq, terr := l.ep.Accept(&from)
		if terr == nil {
			ep.SocketOptions().SetReceiveBufferSize(serviceBuffer, true)
			ep.SocketOptions().SetSendBufferSize(serviceBuffer, true)
			remote := net.TCPAddrFromAddrPort(netip.AddrPortFrom(addrOf(from.Addr), from.Port))
			return &serviceConn{gonet.NewTCPConn(wq, ep), ep, wq, remote}, nil
		}
		if _, wait := terr.(*tcpip.ErrWouldBlock); !wait {
			select {
			case <-l.closed:
				return nil, net.ErrClosed
			default:
				return nil, fmt.Errorf("accept: %w", errno.From(terr))
			}
		}
		select {
		case <-ready:
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
}

// serviceConn is a connection whose end is certain: whoever counts connections
// counts what netstack holds.
type serviceConn struct {
	*gonet.TCPConn
	ep     tcpip.Endpoint
	wq     *waiter.Queue
	remote net.Addr
}

// RemoteAddr is who has connected, also when the connection has ended since.
func (c *serviceConn) RemoteAddr() net.Addr { return c.remote }

// closeTimeout is when a closed connection is reset whose container has not
// taken what it was sent, or not agreed to the end. It may keep its window shut
// for ever, and netstack gives up by itself only one that does not answer at all.
const closeTimeout = 2 * time.Second

// SetLinger with 0 makes Close reset the connection and return at once. Other
// values are no use.
func (c *serviceConn) SetLinger(sec int) error {
	c.ep.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: sec >= 0, Timeout: time.Duration(max(sec, 0)) * time.Second})
	return nil
}

// Close ends the connection in order, or by a reset after closeTimeout, and
// returns when netstack holds nothing of it any more.
func (c *serviceConn) Close() error {
	entry, changed := waiter.NewChannelEntry(waiter.EventHUp | waiter.EventErr)
	c.wq.EventRegister(&entry)
	defer c.wq.EventUnregister(&entry)
	err := c.TCPConn.Close()
	deadline := time.NewTimer(closeTimeout)
	defer deadline.Stop()
	for {
		switch tcp.EndpointState(c.ep.State()) {
		case tcp.StateClose, tcp.StateError, tcp.StateTimeWait:
			return err
		}
		select {
		case <-changed:
		case <-deadline.C:
			c.ep.Abort()
			return err
		}
	}
}
