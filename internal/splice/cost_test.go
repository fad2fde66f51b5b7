package splice

import (
	"io"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func openFiles(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestNothingIsLeftOfAConnection(t *testing.T) {
	w := newWorld(t)
	endings := []func(j *joined){
		func(j *joined) { j.container.CloseWrite(); j.host.CloseWrite() },
		func(j *joined) { j.resetContainer() },
		func(j *joined) { j.resetHost() },
		func(j *joined) { j.pair.Abort() },
	}
	round := func() {
		for _, end := range endings {
			j := w.join(t)
			j.host.Write([]byte("x"))
			if _, err := io.ReadFull(j.container, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			end(j)
			wait(t, j.ended, "the end")
			j.host.Close()
			j.container.Close()
		}
	}
	round() // netstack starts its workers
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 10 {
		round()
	}
	if n := openFiles(t); n > files {
		t.Errorf("%d open files, %d before", n, files)
	}
	eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// roundTrip sends n bytes up and as many down.
func roundTrip(t testing.TB, j *joined, b []byte) {
	if _, err := j.container.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(j.host, b); err != nil {
		t.Fatal(err)
	}
	if _, err := j.host.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(j.container, b); err != nil {
		t.Fatal(err)
	}
}

// outgoing is a Source that never ends.
type outgoing struct {
	bytes []byte
	iov   [1]unix.Iovec
	n     int // written with the last call
}

func (*outgoing) begin()       {}
func (*outgoing) end()         {}
func (o *outgoing) took(n int) { o.n = n }

func (o *outgoing) pieces() ([]unix.Iovec, int, error) {
	o.iov[0].Base = &o.bytes[0]
	o.iov[0].SetLen(len(o.bytes))
	return o.iov[:], len(o.bytes), nil
}

// What the relay itself calls for every piece of data allocates nothing.
func TestACallOfTheHostsSocketAllocatesNothing(t *testing.T) {
	j := newWorld(t).connect(t)
	c := j.pair.conn
	source := &outgoing{bytes: []byte("out")}
	b := make([]byte, 3)
	n := testing.AllocsPerRun(100, func() {
		if err := c.WriteFrom(source); source.n != 3 || err != nil {
			t.Fatal(source.n, err)
		}
		if _, err := io.ReadFull(j.host, b); err != nil {
			t.Fatal(err)
		}
		if _, err := j.host.Write(b); err != nil {
			t.Fatal(err)
		}
		if n, err := c.pendingNow(); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := c.read(b); n != 3 || err != nil {
			t.Fatal(n, err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for a write and a read, want 0", n)
	}
}

// roundTripAllocs bounds the allocations of a round trip through both
// netstacks; 9 were measured, of which none is the relay's.
const roundTripAllocs = 12

func BenchmarkRoundTrip(b *testing.B) {
	j := newWorld(b).join(b)
	buf := make([]byte, 100)
	if n := testing.AllocsPerRun(1000, func() { roundTrip(b, j, buf) }); n > roundTripAllocs {
		b.Fatalf("%v allocations for a round trip, want at most %d", n, roundTripAllocs)
	}
	b.ReportAllocs()
	for b.Loop() {
		roundTrip(b, j, buf)
	}
}

func BenchmarkToHost(b *testing.B) {
	j := newWorld(b).join(b)
	stream(b, j.container, j.host)
}

func BenchmarkToContainer(b *testing.B) {
	j := newWorld(b).join(b)
	stream(b, j.host, j.container)
}

// stream sends 64 KiB in each round, and reads them all.
func stream(b *testing.B, from io.Writer, to io.Reader) {
	const size = 64 << 10
	b.SetBytes(size)
	b.ReportAllocs()
	go func() {
		buf := make([]byte, size)
		for {
			if _, err := from.Write(buf); err != nil {
				return // the connection is closed when the benchmark ends
			}
		}
	}()
	buf := make([]byte, size)
	for b.Loop() {
		if _, err := io.ReadFull(to, buf); err != nil {
			b.Fatal(err)
		}
	}
}
