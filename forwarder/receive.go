package forwarder

import (
	"sync"
	"syscall"

	"github.com/footbridge-net/footbridge/internal/busypoll"
	"github.com/footbridge-net/footbridge/internal/dgram"
	"github.com/footbridge-net/footbridge/internal/turn"
)

// buffers holds room for what the receivers read at once.
var buffers = sync.Pool{New: func() any { return new(dgram.Room) }}

// receiver reads a socket until it is closed: datagrams, and the ICMP errors
// that what was sent has met.
type receiver struct {
	raw syscall.RawConn
	// received is called with each message, which is valid only meanwhile.
	received func(dgram.Message)
	// failed is called with each error of the error queue that has a
	// destination.
	failed func(socketError)
	turn   *turn.Turn // of the container

	in   dgram.Gatherer
	errs errorQueue

	waited bool // for the poller
	moved  int  // bytes since then
}

// run returns when the socket is closed, with what the poller says then.
func (r *receiver) run() error {
	read := r.read
	for {
		if err := r.raw.Read(read); err != nil {
			return err
		}
	}
}

// read takes one message, those that belong to it, or an error when it is the container's turn; false waits
// until something is there. Who waits for his turn holds no buffer.
func (r *receiver) read(fd uintptr) bool {
	start := r.turn.Begin()
	defer r.turn.End(start)
	if r.waited {
		r.waited = false
		r.turn.Rested()
	}
	room := buffers.Get().(*dgram.Room)
	defer buffers.Put(room)
	n, err := r.in.Receive(int(fd), room, r.received)
	if err == 0 {
		r.moved += n
		return true
	}
	// The socket tells of an error once, to the next call, which may have been
	// a send: so the queue is looked at whenever there is no datagram.
	if e, ok := r.errs.read(int(fd)); ok {
		if e.dst.IsValid() {
			r.failed(e)
		}
		return true
	}
	if err == syscall.EAGAIN {
		busypoll.Waiting(r.moved)
		r.waited, r.moved = true, 0
		return false
	}
	return true // after another error there may be datagrams
}
