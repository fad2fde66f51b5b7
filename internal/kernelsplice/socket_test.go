package kernelsplice

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/turn"
)

// What a host or a container has chosen for networks does not slow down what crosses none, also not
// after a connection.
func TestCongestionControlIsNeitherTheHostsNorTheContainers(t *testing.T) {
	l, at := listen(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4()})
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewInner(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		if err := s.Connect(t.Context(), at, turn.New(runtime.Gosched)); err != nil {
			t.Fatal(err)
		}
		c, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		if name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION); name != congestion || err != nil {
			t.Errorf("it is %q, %v", name, err)
		}
		c.Close()
		if err := s.Disconnect(0); err != nil {
			t.Fatal(err)
		}
	}
}

// One socket makes connection after connection, from one port, without a pause that a client
// would notice, whoever ends first. Were its port the kernel's to choose, the 28,232
// that there are would be used up.
func TestASocketIsUsedAgain(t *testing.T) {
	mine := turn.New(runtime.Gosched)
	for _, serverFirst := range []bool{false, true} {
		s := newInner(t)
		l, at := listen(t)
		port := s.local.Port()
		var slowest time.Duration
		for range 3000 {
			until(t, "it is ready", func() bool { return s.Ready(time.Now()) })
			start := time.Now()
			if err := s.Connect(t.Context(), at, mine); err != nil {
				t.Fatal(err)
			}
			c, err := l.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			slowest = max(slowest, time.Since(start))
			if got := netip.MustParseAddrPort(c.RemoteAddr().String()).Port(); got != port {
				t.Fatalf("it came from port %d, not %d", got, port)
			}
			if serverFirst {
				c.Close()
			}
			if err := unix.Shutdown(s.fd, unix.SHUT_WR); err != nil {
				t.Fatal(err)
			}
			if !serverFirst {
				if _, err := io.Copy(io.Discard, c); err != nil {
					t.Fatal(err)
				}
				c.Close()
			}
			if err := s.Closed(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.Disconnect(0); err != nil {
				t.Fatal(err)
			}
		}
		// A SYN that is not taken is repeated after a second.
		if slowest > 900*time.Millisecond {
			t.Errorf("server first %v: one connection took %v", serverFirst, slowest)
		}
		s.Close()
	}
}

// After a server that has ended first had much, its port waits for a higher number, or for
// the next millisecond.
func TestReady(t *testing.T) {
	s := newInner(t)
	defer s.Close()
	for _, test := range []struct {
		moved    int64
		ago      time.Duration // the connection began
		min, max time.Duration
	}{
		{0, time.Second, -time.Second, 0},
		{100, 0, 0, 100 * time.Microsecond},
		{10_000, 0, 600 * time.Microsecond, 800 * time.Microsecond},
		{1 << 30, 0, 2 * time.Millisecond, 3 * time.Millisecond},
		{1 << 30, time.Hour, 2 * time.Millisecond, 3 * time.Millisecond},
	} {
		s.began = time.Now().Add(-test.ago)
		now := time.Now()
		if err := s.Disconnect(test.moved); err != nil {
			t.Fatal(err)
		}
		late := time.Since(now) // on a machine that is busy
		if wait := s.ready.Sub(now); wait < test.min && wait < test.min-test.ago || wait > test.max+late {
			t.Errorf("%+v: ready in %v", test, wait)
		}
		if s.Ready(s.ready.Add(-1)) || !s.Ready(s.ready) {
			t.Error("not ready when it is said")
		}
	}
}

func TestConnectErrors(t *testing.T) {
	mine := turn.New(runtime.Gosched)
	s := newInner(t)
	defer s.Close()
	l, closed := listen(t)
	l.Close()
	for range 3 {
		if err := s.Connect(t.Context(), closed, mine); err != syscall.ECONNREFUSED {
			t.Fatalf("nobody listens: %v", err)
		}
		if err := s.Disconnect(0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Connect(t.Context(), s.local, mine); !errors.Is(err, ErrOwnPort) {
		t.Errorf("to itself: %v", err)
	}
	if err := s.Connect(t.Context(), netip.MustParseAddrPort("127.0.0.2:80"), mine); err != syscall.EADDRNOTAVAIL {
		t.Errorf("to another address: %v", err)
	}
	_, at := listen(t)
	if err := s.Connect(t.Context(), at, mine); err != nil {
		t.Errorf("a socket that was refused before: %v", err)
	}
}

// A server whose queue is full is waited for, as long as the context holds.
func TestConnectWaits(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback.As4()}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(loopback, uint16(sa.(*unix.SockaddrInet4).Port))
	// A queue of 0 takes one.
	first, err := net.Dial("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s := newInner(t)
	defer s.Close()
	if err := s.Connect(ctx, at, turn.New(runtime.Gosched)); err != syscall.ETIMEDOUT {
		t.Errorf("a full queue: %v", err)
	}
	other := newInner(t)
	defer other.Close()
	done := make(chan error, 1)
	go func() { done <- other.Connect(t.Context(), at, turn.New(runtime.Gosched)) }()
	n, _, err := unix.Accept(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(n)
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("it waits for ever")
	}
}

func TestASocketInsideHasAPort(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := NewInner(fd); err == nil {
		s.Close()
		t.Error("one without was taken")
	}
}
