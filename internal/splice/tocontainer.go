package splice

import (
	"bytes"
	"cmp"
	"io"
	"sync"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/footbridge-net/footbridge/internal/busypoll"
	"github.com/footbridge-net/footbridge/internal/errno"
)

const (
	// fullSegment is the most that netstack gives to a device in one piece, in bytes: an IP
	// packet, less what it keeps free for headers.
	fullSegment = 65535 - header.TCPTotalHeaderMaximumSize - 1

	// maxChunk bounds what is read from the host's socket before it is written to the device, in
	// bytes. Two segments, one behind the other, are cheaper than one at a time: the container is
	// still awake at the second, and acknowledges both at once. They are full ones, for a few bytes
	// behind them would cost as much as another. Four are cheaper still, but hold up everybody else
	// (docs/adr/0019-two-segments-at-a-time.md).
	maxChunk = 2 * fullSegment

	// hostCheck is how often the host's connection is looked at while a
	// container does not read: Go's poller tells of a reset only to those who
	// read or write, and they wait for the container then.
	hostCheck = time.Second / 2
)

// payload lets netstack read from the host's socket into its own memory. n
// must not be more than what the socket holds.
type payload struct {
	conn *Conn
	n    int
	err  error
}

func (r *payload) Len() int { return r.n }

func (r *payload) Read(b []byte) (int, error) {
	if len(b) == 0 || r.n == 0 { // views ask with nothing first
		return 0, nil
	}
	n, err := r.conn.read(b[:min(len(b), r.n)])
	if n == 0 && err == nil {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		r.err = err
		return 0, err
	}
	r.n -= n
	return n, nil
}

// firstRead is how much of what the host sends is read at once, in bytes. It is copied
// once more, into netstack's segment, but costs one system call where asking for the
// length first costs three: right for answers, and for whatever comes in small pieces.
// A connection whose container has no room keeps this much until it has.
const firstRead = 4 << 10

// firsts are for those who have just read something; who waits has none.
var firsts = sync.Pool{New: func() any { return new([firstRead]byte) }}

// fromHost reads what the host sends.
type fromHost struct {
	p      *Pair
	start  time.Time // of the turn, which is had from a successful read on
	b      *[firstRead]byte
	n      int
	err    error
	waited bool // for the poller
	moved  int  // bytes since then
}

// read is one attempt; false waits until there is something.
func (f *fromHost) read(fd uintptr) bool {
	f.start = f.p.turn.Begin()
	if f.waited {
		f.waited = false
		f.p.turn.Rested()
	}
	f.b = firsts.Get().(*[firstRead]byte)
	if f.n, f.err = receive(fd, f.b[:]); f.err == syscall.EAGAIN {
		f.waited = true
		f.done()
		busypoll.Waiting(f.moved)
		f.moved = 0
		return false
	}
	f.moved += f.n
	return true
}

// done gives back what a read has taken.
func (f *fromHost) done() {
	firsts.Put(f.b)
	f.b = nil
	f.p.turn.End(f.start)
}

// space waits for the container to take something.
type space struct {
	ch    <-chan struct{}
	timer *time.Timer // only for connections that ever wait
}

func (s *space) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// toContainer carries what the host sends.
func (p *Pair) toContainer() error {
	entry, ch := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	p.wq.EventRegister(&entry)
	defer p.wq.EventUnregister(&entry)
	room := space{ch: ch}
	defer room.stop()
	first := fromHost{p: p}
	read := first.read
	var segment bytes.Reader
	all := payload{conn: p.conn}
	for {
		if err := p.conn.raw.Read(read); err != nil {
			return err
		}
		n, err := first.n, first.err
		if n > 0 {
			segment.Reset(first.b[:n])
			err = p.give(&segment, &room, &first.start)
		}
		first.done()
		if err != nil {
			return err
		}
		if n == 0 {
			return p.hostEnded()
		}
		if n < firstRead {
			continue
		}
		// There is more: what comes now goes straight into segments.
		for {
			n, err := p.conn.pendingNow()
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			for n > 0 { // nobody else reads: it is there until then
				all.n, all.err = min(n, maxChunk), nil
				n -= all.n
				first.moved += all.n
				start := p.turn.Begin()
				err = p.give(&all, &room, &start)
				p.turn.End(start)
				if err != nil {
					return cmp.Or(all.err, err)
				}
			}
		}
	}
}

// give writes what source has, in the turn that began at start: while it waits, the turn
// is others', and begins anew.
func (p *Pair) give(source tcpip.Payloader, room *space, start *time.Time) error {
	for {
		_, terr := p.ep.Write(source, tcpip.WriteOptions{})
		switch terr.(type) {
		case nil:
			if source.Len() == 0 {
				return nil
			}
			continue
		case *tcpip.ErrWouldBlock:
		case *tcpip.ErrClosedForSend:
			if p.failed() {
				return p.endpointError()
			}
			return errno.From(terr)
		default:
			return errno.From(terr)
		}
		p.turn.End(*start)
		err := p.waitForSpace(room)
		*start = p.turn.Begin()
		if err != nil {
			return err
		}
	}
}

// waitForSpace waits until the endpoint may take more.
func (p *Pair) waitForSpace(s *space) error {
	if s.timer == nil {
		s.timer = time.NewTimer(hostCheck)
	} else {
		s.timer.Reset(hostCheck)
	}
	for {
		select {
		case <-s.ch:
			return nil
		case <-p.stop:
			return syscall.ECONNABORTED
		case <-s.timer.C:
			if _, err := p.conn.state(); err != nil {
				return err
			}
			s.timer.Reset(hostCheck)
		}
	}
}

// hostEnded passes on the host's end of data. A reset may look like one to the
// second who asks the socket, here or in toHost; but only after a reset is a TCP
// connection over that has not been closed from here.
func (p *Pair) hostEnded() error {
	if ended, err := p.conn.state(); err != nil {
		return err
	} else if ended && !p.endToHost.Load() && !p.conn.local() {
		return syscall.ECONNRESET
	}
	p.endToContainer.Store(true)
	if terr := p.ep.Shutdown(tcpip.ShutdownWrite); terr != nil {
		return p.endpointError() // it was not connected any more
	}
	// The other direction may wait for its container as long as it likes. A
	// reset is noticed here.
	if err := p.conn.Ended(); err != nil || p.endToHost.Load() {
		return err
	}
	return p.abandoned()
}

// abandoned ends a connection whose host is gone altogether: nobody takes what the
// container may still say. A unix socket tells that at once. What the host has sent
// arrives before.
func (p *Pair) abandoned() error {
	t := time.NewTicker(hostCheck)
	defer t.Stop()
	for {
		switch tcp.EndpointState(p.ep.State()) {
		case tcp.StateEstablished, tcp.StateCloseWait, tcp.StateFinWait1: // not all has been taken
		default:
			return syscall.ECONNRESET
		}
		select {
		case <-t.C:
		case <-p.stop:
			return syscall.ECONNABORTED
		}
	}
}
