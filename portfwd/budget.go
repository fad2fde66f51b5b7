package portfwd

import (
	"sync"

	"github.com/footbridge-net/footbridge/internal/kernelsplice"
	"github.com/footbridge-net/footbridge/internal/share"
)

// Budget counts the TCP connections of all published ports on all networks:
// each is a file descriptor of this process. The zero value is not usable; see
// NewBudget.
type Budget struct {
	pool *share.Pool
	// idle are sockets inside containers that wait for a client, and pipes those of
	// connections that are joined in the kernel: descriptors, too, beside pool.
	idle  *share.Pool
	pipes *kernelsplice.Pipes

	mu     sync.Mutex
	owners map[string]int // connections by Mapping.Owner, of those who have any
}

// maxPipes bounds pipes where descriptors abound: of 1 MiB, half of what the kernel allows a
// user. Only a direction that is at work has one, or whose other side does not read, for
// which it holds up to 512 KiB. One that finds none copies.
const maxPipes = 32

// NewBudget makes a Budget of so many connections. 0 is half of the process's
// limit of open files now: the other half stays for TAPs, outgoing flows and
// names, which clients from outside must not be able to use up. Containers
// share it as package share says: one gets almost half if it is alone.
func NewBudget(connections int) *Budget {
	if connections <= 0 {
		connections = share.OpenFiles() / 2
	}
	return &Budget{
		pool: share.New(connections), owners: make(map[string]int),
		idle: share.New(connections / 16), pipes: kernelsplice.NewPipes(min(connections/64, maxPipes)),
	}
}

// enter counts a connection in, unless its container has as many as are left:
// those of a container that never ends one, or whose clients don't, leave room for
// the others'. n is how many the container has now.
func (b *Budget) enter(owner string) (n int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = b.owners[owner]
	if !b.pool.Take(n) {
		return n, false
	}
	n++
	b.owners[owner] = n
	return n, true
}

func (b *Budget) leave(owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pool.Give()
	if b.owners[owner]--; b.owners[owner] == 0 {
		delete(b.owners, owner)
	}
}
