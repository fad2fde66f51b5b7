package kernelsplice

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/share"
)

const (
	// chunk bounds one splice into a pipe, in bytes, and so what a direction holds for
	// a side that does not read, and how long one takes.
	chunk = 512 << 10
	// pipeSize is asked for, in bytes: a slot a page, of which each piece of a segment takes
	// one, on average for 5 KiB. With 64 KiB the same bytes take four times the system
	// calls, and 0.22 instead of 0.12 s/GB. The kernel refuses more to a user whose pipes
	// have 64 MiB (pipe-user-pages-soft); a smaller one does, too.
	pipeSize = 1 << 20
	// spare pipes are kept open, so that a burst need not make one. An empty pipe holds no page.
	spare = 8
)

// Pipes are the pipes of all connections. Containers share them as package share says.
type Pipes struct {
	pool *share.Pool

	mu   sync.Mutex
	free []*pipe
}

// NewPipes makes Pipes of which at most limit exist. Each is two descriptors.
func NewPipes(limit int) *Pipes { return &Pipes{pool: share.New(limit)} }

// Holder counts one container's pipes. The zero value has none; Pipes.mu guards it.
type Holder struct{ held int }

type pipe struct{ r, w int }

// get gives an empty pipe, nil if there is none left.
func (p *Pipes) get(h *Holder) *pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.pool.Take(h.held) {
		return nil
	}
	if n := len(p.free); n > 0 {
		h.held++
		one := p.free[n-1]
		p.free = p.free[:n-1]
		return one
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		p.pool.Give()
		return nil
	}
	h.held++
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize) // or it has 64 KiB
	return &pipe{fds[0], fds[1]}
}

// put takes a pipe back. One that is not empty is closed.
func (p *Pipes) put(one *pipe, h *Holder, empty bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.held--
	p.pool.Give()
	if empty && len(p.free) < spare {
		p.free = append(p.free, one)
		return
	}
	unix.Close(one.r)
	unix.Close(one.w)
}
