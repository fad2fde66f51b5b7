package tap

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nowait"
)

// A Queue is one of a device's descriptors. One goroutine may read it at a
// time; any number may write.
type Queue struct {
	file *os.File
	conn syscall.RawConn

	// The reader's. The closure is made once: one per frame would be garbage.
	iov      [2]unix.Iovec
	readable func(fd uintptr) bool
	idle     func() bool
	n        int
	errno    syscall.Errno
	waited   bool
	plain    bool // without virtio headers: see plain.go

	// The writers'. A write never blocks, so they call the kernel directly and
	// hold users shared meanwhile; close takes it for itself.
	users  sync.RWMutex
	fd     uintptr
	closed bool
}

// newQueue takes over fd, and closes it if it fails.
func newQueue(fd int, name string) (*Queue, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("tap: %s: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	// A file that the poller does not take would block a thread per reader.
	if err := file.SetReadDeadline(time.Time{}); err != nil {
		file.Close()
		return nil, fmt.Errorf("tap: %s: not pollable: %w", name, err)
	}
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("tap: %s: %w", name, err)
	}
	q := &Queue{file: file, conn: conn, fd: uintptr(fd), idle: func() bool { return false }}
	q.readable = q.readv
	return q, nil
}

// readv is one attempt to read; false waits until the poller says so.
func (q *Queue) readv(fd uintptr) bool {
	q.try(fd)
	for q.errno == unix.EAGAIN {
		if !q.idle() {
			q.waited = true
			return false
		}
		q.try(fd)
	}
	return true
}

func (q *Queue) try(fd uintptr) {
	if q.plain {
		q.readPlain(fd)
	} else {
		q.n, q.errno = nowait.Readv(fd, q.iov[:])
	}
}

// OnIdle makes ReadFrame call idle whenever there is no frame, until idle has nothing to do, and sleep then. True says
// that it had, and that this took some time, so that there may be a frame now. It is for the reader, before its first ReadFrame.
func (q *Queue) OnIdle(idle func() bool) { q.idle = idle }

// ReadFrame reads one frame: its virtio header into hdr, the Ethernet frame into b,
// whose length is returned. It sleeps until there is one, and does not allocate.
// The kernel cuts a frame that doesn't fit without telling, so b must be longer than
// MaxFrame; a frame that fills b gives io.ErrShortBuffer.
//
// Errors: os.ErrClosed after Close, ErrGone when the device has vanished,
// io.ErrShortBuffer, and errnos of readv(2).
func (q *Queue) ReadFrame(hdr *[HeaderSize]byte, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, io.ErrShortBuffer
	}
	q.iov[0].Base = &hdr[0]
	q.iov[0].SetLen(HeaderSize)
	q.iov[1].Base = &b[0]
	q.iov[1].SetLen(len(b))
	q.waited = false
	if q.plain {
		*hdr = [HeaderSize]byte{}
	}
	if err := q.conn.Read(q.readable); err != nil {
		q.iov = [2]unix.Iovec{}
		return 0, q.whyUnreadable()
	}
	switch q.errno {
	case 0:
	case unix.EBADFD, unix.EFAULT, unix.EIO, unix.ENODEV, unix.ENXIO:
		// Detached: EBADFD. Caught in the middle of a read: EFAULT.
		return 0, ErrGone
	default:
		return 0, q.errno
	}
	n := q.n - HeaderSize
	switch {
	case n < 0:
		return 0, io.ErrUnexpectedEOF
	case n == len(b):
		return 0, io.ErrShortBuffer
	}
	return n, nil
}

// Waited reports whether the last ReadFrame found no frame at first and slept. It is
// for the reader.
func (q *Queue) Waited() bool { return q.waited }

// whyUnreadable explains that the poller does not wait for the queue: it is closed, or
// epoll reports nothing but an error, which is how a queue without device looks.
func (q *Queue) whyUnreadable() error {
	q.users.RLock()
	defer q.users.RUnlock()
	if q.closed {
		return os.ErrClosed
	}
	return ErrGone
}

// directParts is how many pieces of a frame are handed to the kernel as they are. A
// frame of gVisor's stack has its headers and up to 17 chunks of 4 KiB.
const directParts = 24

// rests are buffers for the tails of frames in more pieces than that.
var rests = sync.Pool{New: func() any { b := make([]byte, 0, MaxFrame); return &b }}

// WriteFrame writes one frame. parts[0] is the virtio header (HeaderSize bytes), the
// others are the frame's pieces. It never blocks, and does not allocate for up to 24
// parts; the tail of longer lists is copied. It may be called from many goroutines
// at once.
//
// Errors: os.ErrClosed, ErrGone, and errnos of writev(2), of which EIO says that
// the container has taken the interface down: the frame is lost.
func (q *Queue) WriteFrame(parts [][]byte) error {
	if len(parts) == 0 || len(parts[0]) < HeaderSize {
		return unix.EINVAL
	}
	if q.plain {
		return q.writePlain(parts)
	}
	if len(parts) > directParts {
		return q.writeCoalesced(parts)
	}
	var iov [directParts]unix.Iovec
	n, size := 0, 0
	for _, p := range parts {
		if len(p) > 0 {
			iov[n].Base = &p[0]
			iov[n].SetLen(len(p))
			n++
			size += len(p)
		}
	}
	q.users.RLock()
	if q.closed {
		q.users.RUnlock()
		return os.ErrClosed
	}
	// A TAP takes all of a frame or nothing.
	_, e := nowait.Writev(q.fd, iov[:n], size)
	q.users.RUnlock()
	switch e {
	case 0:
		return nil
	case unix.EBADFD, unix.ENODEV, unix.ENXIO:
		return ErrGone
	}
	return e
}

// writeCoalesced copies the last parts together, so that directParts remain.
func (q *Queue) writeCoalesced(parts [][]byte) error {
	rest := rests.Get().(*[]byte)
	tail := (*rest)[:0]
	for _, p := range parts[directParts-1:] {
		if len(tail)+len(p) > MaxFrame {
			rests.Put(rest)
			return unix.EMSGSIZE
		}
		tail = append(tail, p...)
	}
	var few [directParts][]byte
	copy(few[:], parts[:directParts-1])
	few[directParts-1] = tail
	err := q.WriteFrame(few[:])
	rests.Put(rest)
	return err
}

// close unblocks the reader and returns when the descriptor is closed. It is
// called once.
func (q *Queue) close() error {
	q.users.Lock()
	q.closed = true
	q.users.Unlock()
	return q.file.Close()
}
