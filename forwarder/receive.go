package forwarder

import (
	"net/netip"
	"sync"
	"syscall"
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

	sa   destination
	buf  *[]byte // nil while nothing is there: who waits holds no buffer
	n    int
	from netip.AddrPort
	errs errorQueue
}

// run returns when the socket is closed, with what the poller says then.
func (r *receiver) run() error {
	read := r.read
	for {
		if err := r.raw.Read(read); err != nil {
			return err
		}
		if r.buf != nil {
			r.datagram(r.from, (*r.buf)[:r.n])
			buffers.Put(r.buf)
			r.buf = nil
		}
	}
}

// read is one attempt; false waits until something is there.
func (r *receiver) read(fd uintptr) bool {
	buf := buffers.Get().(*[]byte)
	n, from, err := r.sa.receiveFrom(int(fd), *buf)
	if err == nil {
		r.buf, r.n, r.from = buf, n, from
		return true
	}
	buffers.Put(buf)
	// The socket tells of an error once, to the next call, which may have been
	// a send: so the queue is looked at whenever there is no datagram.
	for {
		e, ok := r.errs.read(int(fd))
		if !ok {
			break
		}
		if e.dst.IsValid() {
			r.failed(e)
		}
	}
	return err != syscall.EAGAIN // after another error there may be datagrams
}
