package worker

import (
	"bytes"
	"fmt"
	"log/slog"
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
