package worker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/internal/nstest"
	"github.com/footbridge-net/footbridge/tap"
)

func TestMain(m *testing.M) { nstest.Main(m, tap.Dispatch, dispatchFake, Dispatch) }

func init() {
	nstest.Register("echo", echo)
	nstest.Register("dial", dial)
	nstest.Register("lookup", lookup)
	nstest.Register("ask", ask)
}

// echo serves an address over TCP and UDP until the container ends.
func echo(args []string) (string, error) {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return "", err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	u, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return "", err
	}
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = u.WriteTo(b[:n], from)
		}
	}()
	return "", nil
}

var held net.Conn

// dial opens a connection and keeps it.
func dial(args []string) (_ string, err error) {
	held, err = net.DialTimeout("tcp", args[0], 5*time.Second)
	return "", err
}

// ask sends a word on the connection and reads it back.
func ask(args []string) (string, error) {
	_ = held.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := held.Write([]byte(args[0])); err != nil {
		return "", err
	}
	b := make([]byte, len(args[0]))
	_, err := io.ReadFull(held, b)
	return string(b), err
}

func lookup(args []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", args[0])
	}}
	addrs, err := r.LookupNetIP(ctx, "ip4", args[1])
	return fmt.Sprint(addrs), err
}

// logBuffer is a log that tests may look into.
type logBuffer struct {
	t *testing.T
	b bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.b.Write(b)
	return len(b), nil
}

func newSupervisor(t *testing.T, o Options) *Supervisor {
	t.Helper()
	if o.RuntimeDir == "" {
		o.RuntimeDir = t.TempDir()
	}
	l := &logBuffer{t: t}
	o.Logger = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(l.b.String())
		}
	})
	return s
}

func netSpec() Spec {
	return Spec{ID: "net1", Name: "net", MTU: 1500, Gateway4: netip.MustParsePrefix("10.99.0.1/24"), Resolves: true}
}

// ctr is a container on a network.
type ctr struct {
	*nstest.World
	ns   tap.Namespaces
	link Link
}

func newCtr(t *testing.T, n byte) *ctr {
	t.Helper()
	c := &ctr{World: nstest.New(t, 0)}
	var err error
	if c.ns, err = tap.OpenNamespaces(c.Pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.ns.Close() })
	c.link = Link{
		Link: plane.Link{
			Container: fmt.Sprint("c", n), Interface: "eth0", MAC: [6]byte{2, 0x42, 10, 99, 0, n},
			Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 99, 0, n}), 24)},
		},
		Endpoint: strings.Repeat(fmt.Sprint(n), 16), Default4: true,
	}
	return c
}

// eventually waits for something that no event tells of.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}
