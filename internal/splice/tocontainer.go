package splice

import (
	"io"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/footbridge-net/footbridge/internal/errno"
)

const (
	// maxChunk bounds one read from the host's socket, in bytes: the largest
	// segment that netstack hands to a device in one piece.
	maxChunk = 64 << 10

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

// toContainer carries what the host sends.
func (p *Pair) toContainer() error {
	entry, ch := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	p.wq.EventRegister(&entry)
	defer p.wq.EventUnregister(&entry)
	var timer *time.Timer // only for connections that ever wait
	defer func() {
		if timer != nil {
			timer.Stop()
		}
	}()
	r := payload{conn: p.conn}
	for {
		n, err := p.conn.Readable()
		if err != nil {
			return err
		}
		if n == 0 {
			return p.hostEnded()
		}
		for {
			r.n, r.err = min(n, maxChunk), nil
			start := p.turn.Begin()
			_, terr := p.ep.Write(&r, tcpip.WriteOptions{})
			p.turn.End(start)
			if r.err != nil {
				return r.err
			}
			if terr == nil {
				break
			}
			if _, full := terr.(*tcpip.ErrWouldBlock); !full {
				if p.failed() {
					if _, told := terr.(*tcpip.ErrClosedForSend); told {
						return p.endpointError()
					}
				}
				return errno.From(terr)
			}
			if timer == nil {
				timer = time.NewTimer(hostCheck)
			} else {
				timer.Reset(hostCheck)
			}
			if err := p.waitForSpace(ch, timer); err != nil {
				return err
			}
		}
	}
}

// waitForSpace waits until the endpoint may take more.
func (p *Pair) waitForSpace(ch <-chan struct{}, timer *time.Timer) error {
	for {
		select {
		case <-ch:
			return nil
		case <-p.stop:
			return syscall.ECONNABORTED
		case <-timer.C:
			if _, err := p.conn.state(); err != nil {
				return err
			}
			timer.Reset(hostCheck)
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
