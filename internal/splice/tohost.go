package splice

import (
	"io"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/footbridge-net/footbridge/internal/errno"
)

// maxPieces bounds one writev. 64 pieces of up to 64 KiB are more than a send
// buffer takes.
const maxPieces = 64

// gather notes the slices it is given, without copying.
type gather struct {
	pieces [maxPieces]unix.Iovec
	n      int
	size   int
}

func (g *gather) Write(b []byte) (int, error) {
	if g.n == maxPieces {
		return 0, io.ErrShortWrite
	}
	g.pieces[g.n].Base = unsafe.SliceData(b)
	g.pieces[g.n].SetLen(len(b))
	g.n++
	g.size += len(b)
	return len(b), nil
}

// discard takes n bytes and no more.
type discard struct{ n int }

func (d *discard) Write(b []byte) (int, error) {
	if d.n == 0 {
		return 0, io.ErrShortWrite
	}
	n := min(d.n, len(b))
	d.n -= n
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// fromContainer is the Source of what the container sends.
type fromContainer struct {
	p       *Pair
	start   time.Time // of the turn
	gather  gather
	discard discard
}

func (f *fromContainer) begin() { f.start = f.p.turn.Begin() }
func (f *fromContainer) end()   { f.p.turn.End(f.start) }

// toHost carries what the container sends.
func (p *Pair) toHost() error {
	entry, ch := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	p.wq.EventRegister(&entry)
	defer p.wq.EventUnregister(&entry)
	source := fromContainer{p: p}
	for {
		switch err := p.conn.WriteFrom(&source); err {
		case nil:
		case syscall.EAGAIN:
			if err := p.wait(ch); err != nil {
				return err
			}
		case io.EOF:
			p.endToHost.Store(true)
			return p.conn.CloseWrite()
		default:
			return err
		}
	}
}

func (f *fromContainer) took(n int) {
	f.discard.n = n
	f.p.ep.Read(&f.discard, tcpip.ReadOptions{})
	f.p.ep.ModerateRecvBuf(n)
}

// pieces gives what the container has sent and nobody has taken, EAGAIN if
// that is nothing, or io.EOF at its end.
func (f *fromContainer) pieces() ([]unix.Iovec, int, error) {
	g := &f.gather
	g.n, g.size = 0, 0
	_, terr := f.p.ep.Read(g, tcpip.ReadOptions{Peek: true})
	if g.n > 0 {
		return g.pieces[:g.n], g.size, nil
	}
	switch terr.(type) {
	case nil, *tcpip.ErrWouldBlock:
		return nil, 0, syscall.EAGAIN
	case *tcpip.ErrClosedForReceive:
		// After a reset this is what netstack says to the second who asks.
		// Taken for an end, it would make half a file a whole one.
		if f.p.failed() {
			return nil, 0, f.p.endpointError()
		}
		return nil, 0, io.EOF
	}
	return nil, 0, errno.From(terr)
}
