package busypoll

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nowait"
)

const (
	// limit is how long the poller is asked in vain: more than a server of this
	// machine takes for an answer, its own waking included (ADR 17).
	limit = 120 * time.Microsecond

	// mostSkipped bounds how many times in a row it is not asked. What is spent in vain is limit divided
	// by this, 2 us, each time that somebody waits.
	mostSkipped = 64

	// bulk is what is no request and no answer, in bytes: between such pieces, sender and receiver need the
	// processors, and packets wait for one another anyway. It is then not asked mostSkipped times.
	bulk = 8 << 10
)

// ErrNoPoller is returned where the descriptor of the runtime's poller is not found.
var ErrNoPoller = errors.New("busypoll: the descriptor of the Go runtime's poller is not found")

// running is what Waiting asks; nil before Start.
var running atomic.Pointer[poller]

// Start begins to look. On a single processor, where the one who is waited for could not run
// meanwhile, it does nothing. Its error is ErrNoPoller or that of /proc; the process
// works without, too.
func Start() error {
	if runtime.NumCPU() == 1 || running.Load() != nil {
		return nil
	}
	fd, err := find()
	if err != nil {
		return err
	}
	p, err := newPoller(fd)
	if err != nil {
		return err
	}
	running.Store(p)
	go p.run()
	return nil
}

// Waiting says that the caller has found nothing more in a device or socket, and is about to
// wait for the poller. It has read moved bytes since it last waited.
func Waiting(moved int) {
	if p := running.Load(); p != nil {
		p.waiting(moved)
	}
}

// Sent says that a UDP socket has sent something. As soon as its receiver has it, the kernel tells the
// sender's poller that there is room for more, which looks as if there were something to read.
func Sent() {
	if p := running.Load(); p != nil {
		p.sent.Store(true)
	}
}

// find returns the poller's descriptor: the epoll instance that waits for a pipe made here.
func find() (uintptr, error) {
	r, w, err := os.Pipe() // os.Pipe gives it to the poller
	if err != nil {
		return 0, fmt.Errorf("busypoll: %w", err)
	}
	defer r.Close()
	defer w.Close()
	raw, err := r.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("busypoll: %w", err)
	}
	pipe := ""
	if err := raw.Control(func(fd uintptr) { pipe = strconv.Itoa(int(fd)) }); err != nil {
		return 0, fmt.Errorf("busypoll: %w", err)
	}
	all, err := os.ReadDir("/proc/self/fdinfo")
	if err != nil {
		return 0, fmt.Errorf("busypoll: %w", err)
	}
	for _, e := range all {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// The folder's own descriptor is gone by now.
		if text, err := os.ReadFile("/proc/self/fdinfo/" + e.Name()); err == nil && waitsFor(string(text), pipe) {
			return uintptr(fd), nil
		}
	}
	return 0, ErrNoPoller
}

// waitsFor reports whether the text about a descriptor in /proc/PID/fdinfo is that of an epoll instance which
// waits for fd: "tfd: 5 events: ...", see proc(5).
func waitsFor(text, fd string) bool {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "tfd:" && f[1] == fd {
			return true
		}
	}
	return false
}

type poller struct {
	fd     uintptr
	active atomic.Bool  // somebody has said Waiting, and run has not ended with that
	again  atomic.Bool  // somebody has said so since run began to look
	sent   atomic.Bool  // somebody has said Sent since the poller was last let have its round
	skip   atomic.Int32 // how many times Waiting does nothing
	wake   chan struct{}

	bell *os.File // an eventfd, for rounds of the poller
	raw  syscall.RawConn
	ring func(fd uintptr) bool

	// What came of it.
	seen, inVain atomic.Uint64
}

func newPoller(fd uintptr) (*poller, error) {
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("busypoll: eventfd: %w", err)
	}
	p := &poller{fd: fd, wake: make(chan struct{}, 1), bell: os.NewFile(uintptr(bell), "busypoll")}
	if p.raw, err = p.bell.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("busypoll: eventfd: %w", err), p.bell.Close())
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	iov := []unix.Iovec{{Base: &one[0], Len: 8}}
	rung := false
	p.ring = func(fd uintptr) bool {
		if rung = !rung; rung { // and not before Read, which forgets what the poller has told
			_, e := nowait.Writev(fd, iov, len(one))
			rung = e == 0
		}
		return !rung
	}
	return p, nil
}

// round waits until the poller has told of all that it has, of the bell at last.
func (p *poller) round() bool { return p.raw.Read(p.ring) == nil }

func (p *poller) waiting(moved int) {
	if moved > bulk {
		p.skip.Store(mostSkipped)
		return
	}
	if p.skip.Load() > 0 {
		p.skip.Add(-1)
		return
	}
	if !p.active.Swap(true) {
		p.wake <- struct{}{} // it has room: run has taken the last one
	} else {
		p.again.Store(true)
	}
}

func (p *poller) run() {
	var skip int32
	for range p.wake {
		if p.look() {
			p.seen.Add(1)
			skip = 0
		} else {
			p.inVain.Add(1)
			skip = min(max(1, 2*skip), mostSkipped)
			p.skip.Store(skip)
		}
		p.active.Store(false)
	}
}

// look asks until the poller has something, in which case the runtime finds it as soon as this
// goroutine waits, or until nobody has said Waiting for the limit. Where it may have nothing but
// room to send, it is let tell of that, and asked on.
func (p *poller) look() bool {
	for begin := time.Now(); ; runtime.Gosched() {
		if p.ready() {
			if !p.sent.Swap(false) || !p.round() {
				return true
			}
			begin = time.Now()
		}
		if p.again.Swap(false) {
			begin = time.Now()
		}
		if time.Since(begin) > limit {
			return false
		}
	}
}

// ready reports whether the poller would tell of something.
func (p *poller) ready() bool {
	events, e := nowait.Events(p.fd, unix.POLLIN)
	return e == 0 && events&unix.POLLIN != 0
}
