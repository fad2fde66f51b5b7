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
	// yield lets others run.
	yield func()

	sa   destination
	buf  *[]byte // nil while nothing is there: who waits holds no buffer
	n    int
	from netip.AddrPort
	errs errorQueue

	taken int // since others ran
}

// receiveBatch is how many datagrams, or errors, are taken from a socket that
// always has more before others run: some 100 microseconds.
const receiveBatch = 64

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
		if r.taken++; r.taken >= receiveBatch {
			r.taken = 0
			r.yield()
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
	for range receiveBatch {
		e, ok := r.errs.read(int(fd))
		if !ok {
			if err == syscall.EAGAIN {
				r.taken = 0 // others run while it waits
				return false
			}
			return true // after another error there may be datagrams
		}
		if e.dst.IsValid() {
			r.failed(e)
		}
	}
	r.taken = receiveBatch
	return true // there may be more of them
}
