package splice

import (
	"context"
	"io"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/footbridge-net/footbridge/internal/errno"
)

const (
	// maxPieces bounds one writev. 64 pieces of up to 64 KiB are more than a
	// send buffer takes.
	maxPieces = 64

	// maxChunk bounds one read from the host's socket, in bytes: the largest
	// segment that netstack hands to a device in one piece.
	maxChunk = 64 << 10
)

// Pair is two connections that are to be joined.
type Pair struct {
	ep   tcpip.Endpoint
	wq   *waiter.Queue
	conn *Conn

	stop     chan struct{}
	stopOnce sync.Once
}

// New makes a Pair of a connected netstack endpoint with its wait queue and a
// host connection, and takes over both.
func New(ep tcpip.Endpoint, wq *waiter.Queue, conn *Conn) *Pair {
	return &Pair{ep: ep, wq: wq, conn: conn, stop: make(chan struct{})}
}

// Relay joins ep and conn until both directions have ended, one side resets,
// or ctx is done; see Pair.Run.
func Relay(ctx context.Context, ep tcpip.Endpoint, wq *waiter.Queue, conn *Conn) error {
	p := New(ep, wq, conn)
	defer context.AfterFunc(ctx, p.Abort)()
	return p.Run()
}

// Run moves bytes both ways until both directions have ended, then closes both
// ends and returns nil. If one side fails or Abort is called it resets both
// and returns why: a syscall.Errno such as ECONNRESET or ETIMEDOUT,
// ECONNABORTED after Abort.
func (p *Pair) Run() error {
	out := make(chan error, 1)
	go func() { out <- p.run(p.toHost) }()
	err := p.run(p.toContainer)
	if oerr := <-out; oerr != nil && (err == nil || err == syscall.ECONNABORTED) {
		err = oerr
	}
	if err != nil {
		p.ep.Abort()
		p.conn.Reset()
		return err
	}
	p.ep.Close()
	p.conn.Close()
	return nil
}

// Abort resets both ends and makes Run return.
func (p *Pair) Abort() {
	p.stopOnce.Do(func() {
		close(p.stop)
		p.conn.interrupt()
	})
}

// run runs one direction; its failure ends the other. The endpoint is not
// touched here: the other direction may be looking at its memory.
func (p *Pair) run(direction func() error) error {
	err := direction()
	if err != nil {
		select {
		case <-p.stop: // the other direction's failure, not our own
			err = syscall.ECONNABORTED
		default:
		}
		p.Abort()
	}
	return err
}

// wait waits for an event of the endpoint.
func (p *Pair) wait(ch <-chan struct{}) error {
	select {
	case <-ch:
		return nil
	case <-p.stop:
		return syscall.ECONNABORTED
	}
}

// gather notes the slices it is given, without copying.
type gather struct {
	iov [][]byte
	n   int
}

func (g *gather) Write(b []byte) (int, error) {
	if len(g.iov) == cap(g.iov) {
		return 0, io.ErrShortWrite
	}
	g.iov = append(g.iov, b)
	g.n += len(b)
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

func (p *Pair) toHost() error {
	entry, ch := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	p.wq.EventRegister(&entry)
	defer p.wq.EventUnregister(&entry)
	var pieces [maxPieces][]byte
	var g gather
	var d discard
	for {
		g.iov, g.n = pieces[:0], 0
		_, terr := p.ep.Read(&g, tcpip.ReadOptions{Peek: true})
		if g.n == 0 {
			switch terr.(type) {
			case *tcpip.ErrWouldBlock:
				if err := p.wait(ch); err != nil {
					return err
				}
				continue
			case *tcpip.ErrClosedForReceive:
				return p.conn.CloseWrite()
			}
			return errno.From(terr)
		}
		n, err := p.conn.Writev(g.iov)
		if err != nil {
			return err
		}
		d.n = n
		p.ep.Read(&d, tcpip.ReadOptions{})
		p.ep.ModerateRecvBuf(n)
	}
}

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

func (p *Pair) toContainer() error {
	entry, ch := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	p.wq.EventRegister(&entry)
	defer p.wq.EventUnregister(&entry)
	r := payload{conn: p.conn}
	for {
		n, err := p.conn.Readable()
		if err != nil {
			return err
		}
		if n == 0 {
			p.ep.Shutdown(tcpip.ShutdownWrite)
			return nil
		}
		for {
			r.n, r.err = min(n, maxChunk), nil
			_, terr := p.ep.Write(&r, tcpip.WriteOptions{})
			if r.err != nil {
				return r.err
			}
			if terr == nil {
				break
			}
			if _, full := terr.(*tcpip.ErrWouldBlock); !full {
				return errno.From(terr)
			}
			if err := p.wait(ch); err != nil {
				return err
			}
		}
	}
}
