package splice

import (
	"io"
	"math"
	"testing"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"

	"github.com/footbridge-net/footbridge/internal/nowait"
)

// Each segment costs as much as the copy of what it carries. What is read at once therefore
// fills segments: a few bytes more than one holds would be a second.
func TestMuchGoesToTheContainerInFullSegments(t *testing.T) {
	fewest := int64(math.MaxInt64)
	for range 20 { // the window may split one now and then
		fewest = min(fewest, segmentsOfMuch(t))
	}
	if fewest != 4 { // the first read, and three full ones
		t.Errorf("%d segments for what fills 4", fewest)
	}
}

// segmentsOfMuch is how many segments a container gets for what fills four.
func segmentsOfMuch(t *testing.T) int64 {
	t.Helper()
	w := newWorld(t)
	j := w.connect(t)
	const size = firstRead + 3*fullSegment
	if err := j.pair.conn.raw.Control(func(fd uintptr) {
		nowait.SetOption(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20) // at least 200 KB hold everywhere
	}); err != nil {
		t.Fatal(err)
	}
	sent := send(j.host, make([]byte, size))
	// All of it is there before the first read, or the sender's speed would decide.
	eventually(t, "all of it is there", func() bool {
		n, err := j.pair.conn.pendingNow()
		return err != nil || n == size
	})
	// Nor may slow start: the container's answer acknowledges what came before.
	j.ep.SocketOptions().SetReceiveBufferSize(1<<20, true)
	warm := make([]byte, 1<<20)
	gateway := gonet.NewTCPConn(j.pair.wq, j.pair.ep)
	go func() { _, _ = gateway.Write(warm) }()
	if _, err := io.ReadFull(j.container, warm); err != nil {
		t.Fatal(err)
	}
	if _, err := j.container.Write(warm[:1]); err != nil {
		t.Fatal(err)
	}
	if _, err := gateway.Read(warm[:1]); err != nil {
		t.Fatal(err)
	}
	before := w.wire.segments.Load()
	go func() { j.ended <- j.pair.Run() }()
	if n, err := io.Copy(io.Discard, j.container); n != size || err != nil {
		t.Fatal(n, err)
	}
	if err := wait(t, sent, "all to be sent"); err != nil {
		t.Fatal(err)
	}
	return w.wire.segments.Load() - before
}

// Netstack is told how much it can read, and reads until it has that. The kernel stops at an
// urgent byte.
func TestAnUrgentByteAmongMuchStaysInItsPlace(t *testing.T) {
	j := newWorld(t).connect(t)
	want := pattern(50_000, 9)
	const mark = 20_000 // behind what is read first
	if _, err := j.host.Write(want[:mark]); err != nil {
		t.Fatal(err)
	}
	raw, err := j.host.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), want[mark:mark+1], unix.MSG_OOB, nil) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	if _, err := j.host.Write(want[mark+1:]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all of it is there", func() bool {
		n, err := j.pair.conn.pendingNow()
		return err != nil || n == len(want)
	})
	go func() { j.ended <- j.pair.Run() }()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(j.container, got); err != nil {
		t.Fatal(err)
	}
	same(t, "at the container", got, want)
}
