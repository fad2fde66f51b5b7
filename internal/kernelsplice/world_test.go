package kernelsplice

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/turn"
)

// The world is this machine's loopback:
//
//	client --- host --Relay-- inner --- server
//
// where host was accepted and inner has connected.

const patience = time.Minute

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

type world struct {
	t              *testing.T
	client, server *net.TCPConn
	inner          *Socket
	pipes          *Pipes
	holder         *Holder
	cancel         context.CancelFunc
	over           chan struct{} // closed when Relay has returned
	moved          int64
	err            error // Relay's
}

// newInner makes a socket as they are made inside containers.
func newInner(t testing.TB) *Socket {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	for {
		err := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback.As4(), Port: 32768 + rand.IntN(28000)})
		if err == nil {
			break
		}
		if err != unix.EADDRINUSE {
			t.Fatal(err)
		}
	}
	s, err := NewInner(fd)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func listen(t testing.TB) (*net.TCPListener, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener), netip.MustParseAddrPort(l.Addr().String())
}

// connected gives both ends of a connection; the second as a descriptor's Socket.
func connected(t testing.TB) (*net.TCPConn, *Socket) {
	t.Helper()
	l, at := listen(t)
	c, err := net.Dial("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	var s *Socket
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for {
			n, _, aerr := unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if aerr == unix.EAGAIN {
				runtime.Gosched()
				continue
			}
			if aerr == nil {
				s, aerr = NewSocket(n)
			}
			err = aerr
			return
		}
	})
	if err != nil || s == nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn), s
}

func newWorld(t *testing.T, pipes int) *world {
	t.Helper()
	w := &world{t: t, inner: newInner(t), pipes: NewPipes(pipes), holder: new(Holder), over: make(chan struct{})}
	l, at := listen(t)
	aturn := turn.New(runtime.Gosched)
	if err := w.inner.Connect(t.Context(), at, aturn); err != nil {
		t.Fatal(err)
	}
	server, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	w.server = server
	_ = server.SetDeadline(time.Now().Add(patience))
	var host *Socket
	w.client, host = connected(t)
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() {
		defer close(w.over)
		w.moved, w.err = Relay(ctx, host, w.inner, Options{Pipes: w.pipes, Holder: w.holder, Turn: aturn})
		if w.err != nil {
			host.Reset()
			return
		}
		host.Close()
	}()
	t.Cleanup(func() {
		cancel()
		w.wait()
		w.inner.Reset()
		if w.holder.held != 0 {
			t.Errorf("%d pipes are held", w.holder.held)
		}
	})
	return w
}

func (w *world) wait() {
	w.t.Helper()
	select {
	case <-w.over:
	case <-time.After(patience):
		w.t.Fatal("the relay goes on")
	}
}

// held is how many pipes the connection has.
func (w *world) held() int {
	w.pipes.mu.Lock()
	defer w.pipes.mu.Unlock()
	return w.holder.held
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("waited in vain: ", what)
		}
	}
}

// isReset reports whether an error is that of a connection that was reset.
func isReset(err error) bool { return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) }

func readEnd(c *net.TCPConn) error {
	n, err := c.Read(make([]byte, 1))
	if n > 0 {
		return errors.New("bytes instead of the end")
	}
	if err == io.EOF {
		return nil
	}
	return err
}
