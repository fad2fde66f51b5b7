package kernelsplice

import (
	"io"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nowait"
)

// need is what a direction waits for before it goes on.
type need int

const (
	nothing need = iota
	toRead       // bytes of its source
	toWrite      // room at its destination
)

// few is the size of a buffer, in bytes: what fits into it is copied, which needs no pipe.
const few = 16 << 10

// many is how much a direction must have moved since it waited last to begin with
// a splice when it goes on.
const many = 64 << 10

var buffers = sync.Pool{New: func() any { return new([few]byte) }}

// direction moves bytes from one socket to another.
type direction struct {
	from, to *Socket
	pair     *pair

	need   need
	bulk   bool  // begin with a splice
	burst  int64 // bytes since it waited last
	moved  int64 // bytes
	pipe   *pipe // nil: it holds none
	inPipe int
	err    error // io.EOF: the source has ended
}

// run moves bytes until the source's end, which it passes on.
func (d *direction) run() error {
	defer d.release()
	read, write := d.readable, d.writable
	d.need = toRead
	for d.err == nil {
		var err error
		if d.need == toWrite {
			err = d.to.raw.Write(write)
		} else {
			err = d.from.raw.Read(read)
		}
		if err != nil {
			return err
		}
	}
	if d.err != io.EOF {
		return d.err
	}
	return d.to.end()
}

func (d *direction) readable(uintptr) bool { return d.turn() != toRead }
func (d *direction) writable(uintptr) bool { return d.turn() != toWrite }

// turn is one piece of work. It says what is needed before the next.
func (d *direction) turn() need {
	start := d.pair.turn.Begin()
	d.need, d.err = d.move()
	d.pair.turn.End(start)
	if d.err != nil {
		d.need = nothing
	}
	return d.need
}

func (d *direction) move() (need, error) {
	if d.inPipe > 0 {
		if err := d.drain(); err != nil {
			return nothing, err
		}
		if d.inPipe > 0 {
			return toWrite, nil
		}
	}
	if d.bulk {
		if moved, err := d.splice(); err != nil || moved {
			if d.inPipe > 0 {
				return toWrite, err
			}
			return nothing, err
		}
	}
	return d.copy()
}

// splice moves what is there by the pipe; false: nothing that a splice would see.
func (d *direction) splice() (moved bool, err error) {
	if d.pipe == nil {
		if d.pipe = d.pair.pipes.get(d.pair.holder); d.pipe == nil {
			d.bulk = false
			return false, nil
		}
	}
	n, err := splice(d.from.fd, d.pipe.w, chunk)
	switch {
	case err == unix.EAGAIN || err == nil && n == 0:
		return false, nil
	case err != nil:
		return false, err
	}
	d.inPipe = n
	return true, d.drain()
}

// drain moves what the destination takes out of the pipe. Only a call that was refused makes the kernel tell of
// room; one that has moved a part may not.
func (d *direction) drain() error {
	for d.inPipe > 0 {
		n, err := splice(d.pipe.r, d.to.fd, d.inPipe)
		if err == unix.EAGAIN {
			return nil
		}
		if err == nil && n == 0 {
			err = io.ErrNoProgress // the pipe has something
		}
		if err != nil {
			return err
		}
		d.count(n)
		d.inPipe -= n
	}
	return nil
}

func splice(from, to, n int) (int, error) {
	m, e := nowait.Splice(uintptr(from), uintptr(to), n)
	return m, failure(e)
}

func failure(e syscall.Errno) error {
	if e != 0 {
		return e
	}
	return nil
}

func (d *direction) count(n int) {
	d.burst += int64(n)
	d.moved += int64(n)
}

// copy moves a few bytes by a buffer. Only what the destination has taken is taken from
// the source.
func (d *direction) copy() (need, error) {
	b := buffers.Get().(*[few]byte)
	defer buffers.Put(b)
	n, e := nowait.Recv(uintptr(d.from.fd), b[:], unix.MSG_PEEK)
	switch {
	case e == unix.EAGAIN:
		d.bulk = d.burst >= many
		d.burst = 0
		d.release()
		return toRead, nil
	case e != 0:
		return nothing, e
	case n == 0:
		return nothing, io.EOF
	}
	if n == len(b) && !d.bulk {
		d.bulk = true
		if moved, err := d.splice(); err != nil || moved {
			if d.inPipe > 0 {
				return toWrite, err
			}
			return nothing, err
		}
	}
	iov := unix.Iovec{Base: &b[0]}
	iov.SetLen(n)
	sent, e := nowait.Writev(uintptr(d.to.fd), unsafe.Slice(&iov, 1), n)
	switch {
	case e == unix.EAGAIN:
		d.release()
		return toWrite, nil
	case e != 0:
		return nothing, e
	}
	d.count(sent)
	if _, e := nowait.Recv(uintptr(d.from.fd), b[:sent], unix.MSG_TRUNC); e != 0 {
		return nothing, e
	}
	if sent < n {
		return toWrite, nil
	}
	// Even if that was less than fits: recv stops before urgent data, for which the
	// poller has been told already.
	return nothing, nil
}

// release gives the pipe back.
func (d *direction) release() {
	if d.pipe != nil {
		d.pair.pipes.put(d.pipe, d.pair.holder, d.inPipe == 0)
		d.pipe = nil
	}
}
