package portfwd

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/testserver"
)

// The container of these tests is a kernel, not a netstack: this namespace has inside4 and
// inside6 as addresses, and sockets that are bound to them are those inside the container.
//
//	client 127.0.0.1 --> published port --> Stock --> inside4 --> service

// supplier does for a Stock what a keeper does.
type supplier struct {
	t     *testing.T
	stock *Stock
	rung  chan struct{}
	made  atomic.Int64
	off   atomic.Bool // nothing is supplied
	done  chan struct{}
}

func (w *world) stock(a string) *supplier {
	w.t.Helper()
	return w.newStock(a, false)
}

// emptyStock is one that supplies nothing before on.
func (w *world) emptyStock(a string) *supplier {
	w.t.Helper()
	return w.newStock(a, true)
}

func (w *world) newStock(a string, off bool) *supplier {
	w.t.Helper()
	s := &supplier{t: w.t, rung: make(chan struct{}, 1), done: make(chan struct{})}
	s.off.Store(off)
	var err error
	s.stock, err = w.forwarder.AddStock(netip.MustParseAddr(a), func() {
		select {
		case s.rung <- struct{}{}:
		default:
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(s.done)
		for {
			select {
			case <-s.rung:
				if !s.off.Load() {
					s.supply()
				}
			case <-over:
				return
			}
		}
	}()
	w.t.Cleanup(func() {
		close(over)
		<-s.done
	})
	return s
}

// on supplies what was held back.
func (s *supplier) on() {
	s.off.Store(false)
	select {
	case s.rung <- struct{}{}:
	default:
	}
}

func (s *supplier) supply() {
	n := s.stock.Wanted()
	var hs []*fdpass.Handle
	for range n {
		hs = append(hs, insideSocket(s.t, s.stock.addr))
	}
	s.made.Add(int64(n))
	if err := s.stock.Supply(hs, n); err != nil {
		s.t.Error(err)
	}
}

func insideSocket(t *testing.T, a netip.Addr) *fdpass.Handle {
	fd, err := unix.Socket(domain(a), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return fdpass.NewHandle(-1)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	for {
		sa, _ := sockaddr(netip.AddrPortFrom(a, uint16(32768+rand.IntN(28000))))
		if err := unix.Bind(fd, sa); err == nil {
			return fdpass.NewHandle(fd)
		} else if err != unix.EADDRINUSE {
			t.Error(err)
			return fdpass.NewHandle(fd)
		}
	}
}

// kernelService is one of the container's: it answers each connection with "from ", the address that
// it sees and what was sent up to the end.
func kernelService(t *testing.T, a string) (netip.AddrPort, net.Listener) {
	t.Helper()
	l := testserver.TCP(t, netip.AddrPortFrom(netip.MustParseAddr(a), 0).String(), func(c *net.TCPConn) {
		b, _ := io.ReadAll(c)
		from := netip.MustParseAddrPort(c.RemoteAddr().String())
		_, _ = io.WriteString(c, "from "+from.Addr().String()+": "+string(b))
	})
	return netip.MustParseAddrPort(l.Addr().String()), l
}

func (w *world) stockStats() StockStats { return w.forwarder.StockStats() }

func TestLoopbackClientsAreJoinedInsideTheContainer(t *testing.T) {
	w := newWorld(t, Options{})
	for _, c := range []struct{ inside, bind, host string }{
		{inside4, "0.0.0.0:0", "127.0.0.1"},
		{inside4, "127.0.0.3:0", "127.0.0.3"},
		{inside6, "[::]:0", "::1"},
		{inside6, "127.0.0.1:0", "127.0.0.1"}, // by the other family
		{inside4, "[::1]:0", "::1"},
	} {
		t.Run(c.bind+" to "+c.inside, func(t *testing.T) {
			s := w.stock(c.inside)
			defer s.stock.Close()
			to, _ := kernelService(t, c.inside)
			l := w.publish("tcp", c.bind, to)
			defer l.Close()
			for range 3 * stockBase {
				if got, want := askTCP(t, dial(t, "", at(c.host, l.Addr())), "hello"), "from "+c.inside+": hello"; got != want {
					t.Fatalf("got %q, want %q", got, want)
				}
			}
			until(t, "the connections end", func() bool { return l.Stats().Active == 0 && w.stockStats().Used == 0 })
			if st := l.Stats(); st.Spliced != 3*stockBase || st.Connections != 3*stockBase || st.HalfOpen != 0 {
				t.Errorf("%+v", st)
			}
			if n := s.made.Load(); n > 3*stockBase {
				t.Errorf("%d sockets were made: they are not used again", n)
			}
		})
	}
	w.gateway.mu.Lock()
	defer w.gateway.mu.Unlock()
	if len(w.gateway.dials) != 0 {
		t.Errorf("dials of the gateway: %v", w.gateway.dials)
	}
}

// Whoever has an address keeps it, and neighbours that come by a gateway are shown as that.
func TestOthersGoByTheGateway(t *testing.T) {
	var neighbour atomic.Bool
	w := newWorld(t, Options{Hairpin: func(netip.AddrPort) bool { return neighbour.Load() }})
	to := netip.AddrPortFrom(container4, 80)
	w.echo("tcp", to)
	s := w.stock(container4.String())
	s.off.Store(true) // nothing of it is needed
	l := w.publish("tcp", "0.0.0.0:0", to)
	conn := dial(t, client4, at(host4, l.Addr()))
	if got, want := askTCP(t, conn, "hello"), "from "+local(conn).String()+": hello"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	neighbour.Store(true)
	if got, want := askTCP(t, dial(t, "127.0.0.1", at("127.0.0.1", l.Addr())), "hello"), "from "+gw4.String(); !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// Where there is no Stock any more, so do clients on loopback.
	neighbour.Store(false)
	s.stock.Close()
	if got, want := askTCP(t, dial(t, "127.0.0.1", at("127.0.0.1", l.Addr())), "hello"), "from "+gw4.String(); !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := l.Stats().Spliced; n != 0 {
		t.Errorf("%d connections were joined", n)
	}
}

// A client that finds no socket waits for one, and never sees the gateway instead. When it is
// clear that there will be none, it goes by the gateway.
func TestClientsWaitForSockets(t *testing.T) {
	w := newWorld(t, Options{})
	to, _ := kernelService(t, inside4)
	s := w.emptyStock(inside4)
	l := w.publish("tcp", "127.0.0.1:0", to)
	const clients = 300 // more than may wait for a container
	var all sync.WaitGroup
	for range clients {
		c := dial(t, "", l.Addr())
		all.Go(func() {
			if got, want := askTCP(t, c, "hello"), "from "+inside4+": hello"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	until(t, "all wait", func() bool { return w.stockStats().Waiting == clients })
	if n := l.Stats().HalfOpen; n != clients {
		t.Errorf("%d wait for the container", n)
	}
	s.on()
	all.Wait()
	if n := s.made.Load(); n < stockBase || n > 2*clients { // batches grow
		t.Errorf("%d sockets were made for %d clients", n, clients)
	}
}

func TestAWaitingClientGoesByTheGatewayWhenItsStockEnds(t *testing.T) {
	w := newWorld(t, Options{})
	to := netip.AddrPortFrom(container4, 80)
	w.echo("tcp", to)
	s := w.emptyStock(container4.String())
	l := w.publish("tcp", "127.0.0.1:0", to)
	c := dial(t, "", l.Addr())
	until(t, "it waits", func() bool { return w.stockStats().Waiting == 1 })
	s.stock.Close()
	if got, want := askTCP(t, c, "hello"), "from "+gw4.String(); !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWaitingForSocketsIsBounded(t *testing.T) {
	w := newWorld(t, Options{Limits: Limits{DialTimeout: 50 * time.Millisecond}})
	w.emptyStock(inside4)
	l := w.publish("tcp", "127.0.0.1:0", netip.AddrPortFrom(netip.MustParseAddr(inside4), 80))
	if err := tryRead(l.Addr()); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v", err)
	}
	until(t, "it is counted", func() bool { return l.Stats().TimedOut == 1 && l.Stats().HalfOpen == 0 })
	if st := w.stockStats(); st.Waiting != 0 {
		t.Errorf("%+v", st)
	}
}

// tryRead connects and reads; the reset of a refusal may come before either.
func tryRead(a netip.AddrPort) error {
	c, err := tryDial("", a)
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	return err
}

func TestRefusalsInsideAreResets(t *testing.T) {
	w := newWorld(t, Options{})
	s4, s6 := w.stock(inside4), w.stock(inside6)
	to, service := kernelService(t, inside4)
	service.Close()
	l := w.publish("tcp", "127.0.0.1:0", to)
	for range 3 * stockBase {
		if err := tryRead(l.Addr()); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("nobody listens: %v", err)
		}
	}
	if n := l.Stats().Refused; n != 3*stockBase {
		t.Errorf("%d were refused", n)
	}
	l.Close()
	// The other family may serve them.
	six, _ := kernelService(t, inside6)
	l = publish(t, w.forwarder, Mapping{
		Proto: "tcp", Host: netip.MustParseAddrPort("127.0.0.1:0"), Owner: "web", Container: netip.AddrPortFrom(to.Addr(), six.Port()), Other: six,
	})
	if got, want := askTCP(t, dial(t, "", l.Addr()), "hello"), "from "+inside6+": hello"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := s4.made.Load() + s6.made.Load(); n > 6*stockBase {
		t.Errorf("%d sockets were made", n)
	}
}

// What ends resets connections, and those that wait.
func TestEndsResetJoinedConnections(t *testing.T) {
	for name, end := range map[string]func(*world, *Listener){
		"listener":  func(_ *world, l *Listener) { l.Close() },
		"forwarder": func(w *world, _ *Listener) { w.forwarder.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			to, service := kernelService(t, inside4)
			service.Close()
			held, err := net.Listen("tcp", to.String())
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			s := w.stock(inside4)
			l := w.publish("tcp", "127.0.0.1:0", to)
			client := dial(t, "", l.Addr())
			server, err := held.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			_ = server.SetDeadline(time.Now().Add(testTimeout))
			end(w, l)
			for who, c := range map[string]net.Conn{"client": client, "server": server} {
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("%s: %v", who, err)
				}
			}
			s.stock.Close()
			if st := w.stockStats(); st != (StockStats{}) {
				t.Errorf("%+v is left", st)
			}
			if n := w.forwarder.budget.idle.Used() + w.forwarder.budget.pool.Used(); n != 0 {
				t.Errorf("%d descriptors are counted", n)
			}
		})
	}
}

// A connection is two descriptors, and both count.
func TestJoinedConnectionsAreBounded(t *testing.T) {
	w := newWorld(t, Options{Budget: NewBudget(17)}) // 16 for others, as package share has it
	w.forwarder.SetLimits(netip.MustParseAddr(inside4), ContainerLimits{Connections: 3})
	to, _ := kernelService(t, inside4)
	w.stock(inside4)
	l := w.publish("tcp", "127.0.0.1:0", to)
	var open []*net.TCPConn
	for range 3 {
		open = append(open, dial(t, "", l.Addr()))
	}
	until(t, "three are there", func() bool { return l.Stats().Active == 3 })
	if err := tryRead(l.Addr()); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the fourth: %v", err)
	}
	if n := w.forwarder.budget.pool.Used(); n != 6 {
		t.Errorf("%d descriptors are counted", n)
	}
	for _, c := range open {
		if got, want := askTCP(t, c, "hello"), "from "+inside4+": hello"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	until(t, "they are given back", func() bool { return w.forwarder.budget.pool.Used() == 0 })
}

// After a burst what is not needed is closed, in steps, and no clock runs then.
func TestIdleSocketsBeyondTheBaseAreClosed(t *testing.T) {
	c := &handClock{}
	w := newWorld(t, Options{clock: c})
	to, _ := kernelService(t, inside4)
	w.stock(inside4)
	l := w.publish("tcp", "127.0.0.1:0", to)
	var open []*net.TCPConn
	for range 40 {
		open = append(open, dial(t, "", l.Addr()))
	}
	until(t, "all are there", func() bool { return l.Stats().Active == 40 })
	for _, o := range open {
		askTCP(t, o, "")
	}
	until(t, "all are back", func() bool { st := w.stockStats(); return st.Used == 0 && st.Idle >= 40-stockBase })
	until(t, "they are closed", func() bool {
		c.turn(stockIdle)
		return w.stockStats().Idle == stockBase
	})
	if n := c.pending(); n != 0 {
		t.Errorf("%d timers are set", n)
	}
	if n := w.forwarder.budget.idle.Used(); n != stockBase {
		t.Errorf("%d idle sockets are counted", n)
	}
}

// Where descriptors are short nothing waits idle, and clients are served all the same.
func TestWithoutRoomForIdleSocketsClientsAreServed(t *testing.T) {
	w := newWorld(t, Options{Budget: NewBudget(7)})
	to, _ := kernelService(t, inside4)
	s := w.stock(inside4)
	l := w.publish("tcp", "127.0.0.1:0", to)
	for range 5 {
		if got, want := askTCP(t, dial(t, "", l.Addr()), "hello"), "from "+inside4+": hello"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	until(t, "the last is closed", func() bool { return w.stockStats() == StockStats{} })
	if n := s.made.Load(); n > 5*2*stockBase {
		t.Errorf("%d sockets were made", n)
	}
}

func TestSupplyTakesOnlySocketsOfItsAddress(t *testing.T) {
	w := newWorld(t, Options{})
	s := w.stock(inside4)
	until(t, "the base is there", func() bool { return w.stockStats().Idle == stockBase })
	if err := s.stock.Supply([]*fdpass.Handle{insideSocket(t, netip.MustParseAddr(host4))}, 1); !errors.Is(err, ErrSocket) {
		t.Errorf("another address: %v", err)
	}
	if st := w.stockStats(); st.Idle != stockBase || st.Used != 0 {
		t.Errorf("%+v", st)
	}
}
