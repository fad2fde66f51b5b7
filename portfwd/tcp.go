package portfwd

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/footbridge-net/footbridge/internal/splice"
	"github.com/footbridge-net/footbridge/internal/turn"
)

// relay moves bytes both ways until both ends are done or ctx ends. It takes
// over the endpoint and the host's connected socket and closes both.
type relay func(ctx context.Context, ep tcpip.Endpoint, wq *waiter.Queue, fd int, t *turn.Turn) error

func spliceRelay(ctx context.Context, ep tcpip.Endpoint, wq *waiter.Queue, fd int, t *turn.Turn) error {
	conn, err := splice.NewConn(fd)
	if err != nil {
		ep.Abort()
		return err
	}
	return splice.Relay(ctx, ep, wq, conn, t)
}

// tcpServer accepts clients and connects each to the container. The client's
// handshake is over before we know whether the container wants it (the kernel
// accepts for us), so a refusal reaches the client as a reset.
type tcpServer struct {
	l      *Listener
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	stopped bool           // under mu: no Add to running after stop
	running sync.WaitGroup // the accept loop and connections

	// Of the accept loop; accept4 runs inside a poller callback.
	acceptFunc func(fd uintptr) bool
	client     netip.AddrPort
	fd         int
	err        error
	warned     time.Time // of an error of accepting, last
}

func newTCPServer(l *Listener) *tcpServer {
	s := &tcpServer{l: l}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.acceptFunc = s.tryAccept
	return s
}

func (s *tcpServer) run() { s.start(s.acceptLoop) }

// start runs f on a goroutine of its own, unless the server has been stopped.
func (s *tcpServer) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.running.Go(f)
	return true
}

func (s *tcpServer) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel()
}

func (s *tcpServer) wait() { s.running.Wait() }

// The pauses after an accept that failed for want of something. Others free
// file descriptors at their own pace, so asking more often only burns time.
const (
	// warnAgain is how often a listener says that it cannot accept.
	warnAgain      = 10 * time.Second
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

func (s *tcpServer) acceptLoop() {
	pause := time.Duration(0)
	for {
		if err := s.l.socket.raw.Read(s.acceptFunc); err != nil {
			return // the listener was closed
		}
		switch s.err {
		case nil:
			pause = 0
			s.l.turn.Begin()
			s.accepted(s.fd, s.client)
			// What it takes to connect to the container, ten times of what it
			// takes to accept, is done before the next: behind it may wait as
			// many as the backlog holds.
			s.l.turn.Pass()
			continue
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.ENETDOWN, unix.ENOPROTOOPT,
			unix.EHOSTDOWN, unix.ENONET, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH:
			continue // accept(2): errors of the one connection
		}
		if now := time.Now(); now.Sub(s.warned) > warnAgain {
			s.warned = now
			s.l.forwarder.log.Warn("published port cannot accept", "port", s.l.Addr(), "owner", s.l.mapping.Owner, "err", s.err)
		}
		pause = min(max(2*pause, acceptPauseMin), acceptPauseMax)
		s.l.counters.acceptErrors.Add(1)
		if !s.sleep(pause) {
			return
		}
	}
}

// sleep says whether the server is still wanted after d.
func (s *tcpServer) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

func (s *tcpServer) tryAccept(fd uintptr) bool {
	n, sa, err := unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err == unix.EAGAIN {
		return false
	}
	s.fd, s.err = n, err
	if err == nil {
		s.client = addrPort(sa)
	}
	return true
}

// accepted takes a new client in, or resets it if there is no room.
func (s *tcpServer) accepted(fd int, client netip.AddrPort) {
	l, f := s.l, s.l.forwarder
	l.counters.connections.Add(1)
	inside := s.joins(client)
	enter, connected := f.containers.enter, f.containers.connected
	if inside {
		enter, connected = f.containers.enterInside, func(*container) {}
	}
	c, why := enter(l.mapping.Container.Addr())
	switch why {
	case overHalfOpen:
		l.counters.dropHalfOpen.Add(1)
		reset(fd)
		return
	case overConnections:
		l.counters.dropConnections.Add(1)
		reset(fd)
		return
	}
	n, ok := f.budget.enter(l.mapping.Owner)
	if !ok {
		l.counters.dropConnections.Add(1)
		f.containers.refuse(c, overShare)
		connected(c)
		f.containers.leave(c)
		reset(fd)
		return
	}
	serve := s.serve
	if inside {
		serve = s.serveInside
	}
	l.counters.halfOpen.Add(1)
	if !s.start(func() {
		defer f.budget.leave(l.mapping.Owner)
		defer f.containers.leave(c)
		serve(fd, client, c, n)
	}) {
		l.counters.halfOpen.Add(-1)
		connected(c)
		f.containers.leave(c)
		f.budget.leave(l.mapping.Owner)
		reset(fd)
	}
}

// serve serves a client of c, whose n-th connection it is.
func (s *tcpServer) serve(fd int, client netip.AddrPort, c *container, n int) {
	l, f := s.l, s.l.forwarder
	ep, wq, err := s.dial(client, l.mapping.Container)
	if other := l.mapping.Other; errors.Is(err, syscall.ECONNREFUSED) && other.IsValid() {
		ep, wq, err = s.dial(client, other)
	}
	l.counters.halfOpen.Add(-1)
	f.containers.connected(c)
	if err != nil {
		s.failed(client, err)
		reset(fd)
		return
	}
	l.counters.active.Add(1)
	defer l.counters.active.Add(-1)
	splice.Confine(ep, n)
	// How it ended is for the two ends to know; both have been told.
	_ = f.relay(s.ctx, ep, wq, fd, l.turn)
}

// dial connects to the container's address to as the client. If the client's port is taken
// for this container (it came by another of the host's ports a moment ago) the
// container sees the client's address with another port: the address is what
// logs and access rules go by. It never sees the gateway instead because of an
// error.
func (s *tcpServer) dial(client, to netip.AddrPort) (tcpip.Endpoint, *waiter.Queue, error) {
	f := s.l.forwarder
	src, own, ok := f.choose(client, to.Addr())
	if !ok {
		return nil, nil, syscall.EADDRNOTAVAIL
	}
	ctx, cancel := context.WithTimeout(s.ctx, f.limits.DialTimeout)
	defer cancel()
	ep, wq, err := f.gateway.DialTCP(ctx, src, to)
	if own && errors.Is(err, syscall.EADDRINUSE) {
		ep, wq, err = f.gateway.DialTCP(ctx, netip.AddrPortFrom(src.Addr(), 0), to)
	}
	return ep, wq, err
}

func (s *tcpServer) failed(client netip.AddrPort, err error) {
	c := &s.l.counters
	switch {
	case s.ctx.Err() != nil:
		return // ours: the listener closes
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		c.refused.Add(1)
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, context.DeadlineExceeded):
		c.timedOut.Add(1)
	default:
		c.unreachable.Add(1)
	}
	s.l.forwarder.log.Debug("published connection failed", "port", s.l.Addr(), "client", client,
		"container", s.l.mapping.Container, "err", err)
}
