package share

import (
	"sync/atomic"
	"syscall"
)

// Pool is so much of something. The zero value has nothing to give.
type Pool struct {
	limit int64
	used  atomic.Int64
}

// New makes a Pool of limit.
func New(limit int) *Pool { return &Pool{limit: int64(limit)} }

// few is what somebody may have who is not yet greedy: enough to ask for a name and
// to fetch a page. An eighth of the Pool is kept for those.
const few = 16

// Take takes one for who has held already, unless that would be too much.
func (p *Pool) Take(held int) bool {
	limit := p.limit
	if held >= few {
		limit -= limit / 8
	}
	for {
		used := p.used.Load()
		if int64(held) >= limit-used {
			return false
		}
		if p.used.CompareAndSwap(used, used+1) {
			return true
		}
	}
}

// Give gives one back.
func (p *Pool) Give() {
	p.used.Add(-1)
	if l := returns.Load(); l != nil && l.count.Add(1)%l.every == 0 {
		l.tell()
	}
}

// returns is who is told of what is given back.
var returns atomic.Pointer[listener]

type listener struct {
	count atomic.Int64
	every int64
	tell  func()
}

// OnReturn has tell called each time that so many have been given back, to all Pools of the process together, by
// whoever gives back the last of them: it must not wait. There is one such function, the last one; nil is none.
func OnReturn(every int, tell func()) {
	if tell == nil {
		returns.Store(nil)
		return
	}
	returns.Store(&listener{every: int64(every), tell: tell})
}

// Used is how many are taken.
func (p *Pool) Used() int { return int(p.used.Load()) }

// OpenFiles is the process's limit of open files, to which the Go runtime has
// raised it at start.
func OpenFiles() int {
	const (
		usual     = 1024    // POSIX's soft limit
		unlimited = 1 << 20 // is no number to reckon with
	)
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return usual
	}
	return int(min(r.Cur, unlimited))
}
