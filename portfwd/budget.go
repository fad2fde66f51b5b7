package portfwd

import (
	"sync"
	"sync/atomic"
	"syscall"
)

// Budget counts the TCP connections of all published ports on all networks:
// each is a file descriptor of this process. The zero value is not usable; see
// NewBudget.
type Budget struct {
	limit int64
	used  atomic.Int64

	mu     sync.Mutex
	shares map[string]*share // by Mapping.Owner, while they have a port
}

// share is what one container has of a Budget, over all its ports.
type share struct {
	connections atomic.Int64
	ports       int // under Budget.mu
}

// NewBudget makes a Budget of so many connections. 0 is half of the process's
// limit of open files now: the other half stays for TAPs, outgoing flows and
// names, which clients from outside must not be able to use up. One container
// gets as many as are left, so half if it is alone, and never takes the last
// ones.
func NewBudget(connections int) *Budget {
	if connections <= 0 {
		connections = openFiles() / 2
	}
	return &Budget{limit: int64(connections), shares: make(map[string]*share)}
}

// join gives the share of a container that gets one more port.
func (b *Budget) join(owner string) *share {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.shares[owner]
	if s == nil {
		s = &share{}
		b.shares[owner] = s
	}
	s.ports++
	return s
}

// part says that a port of a container is gone.
func (b *Budget) part(owner string, s *share) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.ports--; s.ports == 0 {
		delete(b.shares, owner)
	}
}

// enter counts a connection in, unless there are too many or its container has as
// many as are left: those of a container that never ends one, or whose clients
// don't, leave room for the others'.
func (b *Budget) enter(s *share) bool {
	used := b.used.Add(1)
	if used <= b.limit && s.connections.Add(1) <= max(b.limit-used, 1) {
		return true
	}
	if used <= b.limit {
		s.connections.Add(-1)
	}
	b.used.Add(-1)
	return false
}

func (b *Budget) leave(s *share) {
	s.connections.Add(-1)
	b.used.Add(-1)
}

// openFiles is the process's limit of open files (the Go runtime has raised the
// soft limit to the hard one at start).
func openFiles() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 1024 // POSIX's usual soft limit
	}
	return int(min(r.Cur, 1<<20)) // "unlimited" is not a number to reckon with
}
