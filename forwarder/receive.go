package forwarder

import (
	"net/netip"
	"sync"
	"syscall"

	"github.com/footbridge-net/footbridge/internal/turn"
)

// buffers holds room for one datagram for the receivers.
var buffers = sync.Pool{New: func() any { b := make([]byte, maxDatagram); return &b }}

// receiver reads a socket until it is closed: datagrams, and the ICMP errors
// that what was sent has met.
type receiver struct {
	raw syscall.RawConn
	// datagram is called with each datagram; b is valid only meanwhile.
	datagram func(from netip.AddrPort, b []byte)
	// failed is called with each error of the error queue that has a
	// destination.
	failed func(socketError)
	turn   *turn.Turn // of the container

	sa   destination
	errs errorQueue
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

// read takes one datagram or error when it is the container's turn; false waits
// until something is there. Who waits for his turn holds no buffer.
func (r *receiver) read(fd uintptr) bool {
	start := r.turn.Begin()
	defer r.turn.End(start)
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	n, from, err := r.sa.receiveFrom(int(fd), *buf)
	if err == nil {
		r.datagram(from, (*buf)[:n])
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
	return err != syscall.EAGAIN // after another error there may be datagrams
}
