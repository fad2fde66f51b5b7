package portfwd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/footbridge-net/footbridge/internal/turn"
)

// What the kernel does to the sockets of a worker that was killed is a plain close.

func TestAClientOfADeadWorkerIsReset(t *testing.T) {
	connected := make(chan struct{})
	w := newWorld(t, Options{relay: func(_ context.Context, ep tcpip.Endpoint, _ *waiter.Queue, fd int, _ *turn.Turn) error {
		ep.Abort()
		<-connected
		_, err := unix.Write(fd, []byte("half"))
		return errors.Join(err, unix.Close(fd))
	}})
	to := netip.AddrPortFrom(container4, 80)
	w.listen(to)
	for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
		l := w.publish("tcp", host, to)
		client := dial(t, "", l.Addr())
		connected <- struct{}{}
		b, err := io.ReadAll(client)
		if string(b) != "half" || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the client got %q and then %v, want a reset", host, b, err)
		}
	}
}

// Also at the second connection of a socket that was used already.
func TestAContainerOfADeadWorkerIsReset(t *testing.T) {
	w := newWorld(t, Options{})
	s := w.stock(inside4)
	l := listenInside(t)
	at := netip.MustParseAddrPort(l.Addr().String())
	inner, err := s.stock.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	connect := func() net.Conn {
		t.Helper()
		if err := inner.Connect(t.Context(), at, turn.New(func() {})); err != nil {
			t.Fatal(err)
		}
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	connect()
	if err := inner.Disconnect(0); err != nil {
		t.Fatal(err)
	}
	until(t, "it can be connected again", func() bool { return inner.Ready(time.Now()) })
	c := connect()
	inner.Close()
	s.stock.lost()
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the container got %v, want a reset", err)
	}
}

// A client that reads late gets all that its container has sent: also where both directions have ended, so that
// nobody but the kernel has it any more.
func TestWhatWasSentBeforeAnEndArrives(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // fits into the kernel's buffers
	for name, container := range map[string]func(w *world) (net.Listener, netip.AddrPort){
		"by the gateway": func(w *world) (net.Listener, netip.AddrPort) {
			to := netip.AddrPortFrom(container4, 80)
			return w.listen(to), to
		},
		"inside the container": func(w *world) (net.Listener, netip.AddrPort) {
			w.stock(inside4)
			l := listenInside(t)
			return l, netip.MustParseAddrPort(l.Addr().String())
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			service, to := container(w)
			l := w.publish("tcp", "127.0.0.1:0", to)
			client := dial(t, "", l.Addr())
			if err := client.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			c, err := service.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(testTimeout))
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Fatal("the container reads:", err)
			}
			if _, err := c.Write(data); err != nil {
				t.Fatal("the container writes:", err)
			}
			c.Close()
			until(t, "the connection is forgotten", func() bool { return l.Stats().Active == 0 })
			if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, data) {
				t.Errorf("the client got %d of %d bytes, %v", len(got), len(data), err)
			}
		})
	}
}

// listenInside is a service of the container that is this kernel.
func listenInside(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(inside4, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
