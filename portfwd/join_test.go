package portfwd

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// dialer is the host's program that was joined, or not.
type dialer struct {
	*net.UnixConn
	reader *bufio.Reader
}

// join joins a new socket to the container's addresses.
func (w *world) join(to ...netip.AddrPort) *dialer {
	w.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "client")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(testTimeout))
	if err := w.forwarder.Join(fdpass.NewHandle(fds[1]), "web", to); err != nil {
		w.t.Fatal(err)
	}
	return &dialer{c.(*net.UnixConn), bufio.NewReader(c)}
}

// outcome is the first line.
func (d *dialer) outcome(t *testing.T) string {
	t.Helper()
	line, err := d.reader.ReadString('\n')
	if err != nil {
		t.Fatal("outcome:", err)
	}
	return strings.TrimSuffix(line, "\n")
}

func TestJoinedSocketsReachTheContainerFromItsGateway(t *testing.T) {
	w := newWorld(t, Options{})
	for _, to := range []netip.AddrPort{netip.AddrPortFrom(container4, 80), netip.AddrPortFrom(container6, 80)} {
		w.echo("tcp", to)
		d := w.join(to)
		if got := d.outcome(t); got != "0" {
			t.Fatalf("%v: %s", to, got)
		}
		if _, err := io.WriteString(d, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := d.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(d.reader)
		gateway := gw4.String() + ":"
		if to.Addr().Is6() {
			gateway = "[" + gw6.String() + "]:"
		}
		if got := string(b); err != nil || !strings.HasPrefix(got, "from "+gateway) || !strings.HasSuffix(got, ": hello") {
			t.Errorf("%v: %q, %v", to, got, err)
		}
	}
}

func TestJoinTellsWhyNot(t *testing.T) {
	w := newWorld(t, Options{Limits: Limits{DialTimeout: 100 * time.Millisecond}})
	refused := netip.AddrPortFrom(container4, 81)
	for _, test := range []struct {
		to   []netip.AddrPort
		want syscall.Errno
	}{
		{[]netip.AddrPort{refused}, syscall.ECONNREFUSED},
		{[]netip.AddrPort{netip.AddrPortFrom(nowhere, 80)}, syscall.ETIMEDOUT},
		{nil, syscall.EADDRNOTAVAIL},
	} {
		d := w.join(test.to...)
		if got := d.outcome(t); got != syscallNumber(test.want) {
			t.Errorf("%v: %s, want %d (%v)", test.to, got, int(test.want), test.want)
		}
		if _, err := d.reader.ReadByte(); err != io.EOF {
			t.Errorf("%v: not over: %v", test.to, err)
		}
	}
	// The first that accepts.
	six := netip.AddrPortFrom(container6, 80)
	w.echo("tcp", six)
	if got := w.join(refused, six).outcome(t); got != "0" {
		t.Errorf("refused by IPv4, served by IPv6: %s", got)
	}
}

func syscallNumber(e syscall.Errno) string { return strconv.Itoa(int(e)) }

func TestReleaseAndCloseEndWhatWasJoined(t *testing.T) {
	for name, end := range map[string]func(*world){
		"release": func(w *world) { w.forwarder.Release(container4) },
		"close":   func(w *world) { w.forwarder.Close() },
	} {
		w := newWorld(t, Options{})
		to := netip.AddrPortFrom(container4, 80)
		w.echo("tcp", to)
		d := w.join(to)
		if got := d.outcome(t); got != "0" {
			t.Fatal(got)
		}
		end(w)
		if _, err := d.reader.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: not over: %v", name, err)
		}
	}
}

// A container that holds its end open does not keep connections whose client is gone.
// What the client has sent before it went arrives.
func TestJoinedConnectionsEndWithTheirClient(t *testing.T) {
	for _, halfFirst := range []bool{false, true} {
		w := newWorld(t, Options{})
		to := netip.AddrPortFrom(container4, 80)
		l := w.listen(to)
		d := w.join(to)
		if got := d.outcome(t); got != "0" {
			t.Fatal(got)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		sent := bytes.Repeat([]byte("x"), 300_000) // more than the container's window
		wrote := make(chan error, 1)
		go func() {
			_, err := d.Write(sent)
			if halfFirst {
				err = errors.Join(err, d.CloseWrite())
			}
			wrote <- err
		}()
		_ = server.SetDeadline(time.Now().Add(testTimeout))
		got, b := 0, make([]byte, 65536)
		for got < len(sent)/2 { // the rest is under way when the client goes
			n, err := server.Read(b)
			if got += n; err != nil {
				t.Fatal(err)
			}
		}
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
		d.Close()
		for err = nil; err == nil; {
			var n int
			n, err = server.Read(b)
			got += n
		}
		if got != len(sent) || err != io.EOF {
			t.Errorf("half-closed first %v: %d bytes and %v, want %d and the end", halfFirst, got, err, len(sent))
		}
		w.forwarder.joins.Wait()
		for err = nil; err == nil; {
			_, err = server.Write(b)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("half-closed first %v: the container still has a connection", halfFirst)
		}
	}
}

func TestJoinedConnectionsAreCounted(t *testing.T) {
	w := newWorld(t, Options{Limits: Limits{Container: ContainerLimits{Connections: 1}}})
	to := netip.AddrPortFrom(container4, 80)
	w.echo("tcp", to)
	first := w.join(to)
	if got := first.outcome(t); got != "0" {
		t.Fatal(got)
	}
	if got := w.join(to).outcome(t); got != syscallNumber(syscall.ENOBUFS) {
		t.Errorf("over the limit: %s", got)
	}
	if err := w.forwarder.Close(); err != nil {
		t.Fatal(err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	h := fdpass.NewHandle(fds[1])
	if err := w.forwarder.Join(h, "web", nil); !errors.Is(err, ErrClosed) || h.FD() >= 0 {
		t.Errorf("after Close: %v", err)
	}
}
