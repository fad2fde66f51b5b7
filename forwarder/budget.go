package forwarder

import (
	"sync/atomic"
	"syscall"
)

// budget is the descriptors that flows may take together. They are those of the
// whole process, so all Forwarders share one: a container that takes too many
// takes them from other networks, published ports and names.
//
// Who asks gets one as long as he has fewer than are left. A container alone can
// so take half, two together two thirds; for one more there is always as much
// left as each of them has.
type budget struct {
	limit int64
	used  atomic.Int64
}

// descriptors is the process's budget. Half of its open files are for published
// ports (portfwd.Limits); an eighth stays for devices, names and the control
// socket.
var descriptors = budget{limit: int64(openFiles()) * 3 / 8}

// take takes a descriptor for who has held already, unless that would be too much.
func (b *budget) take(held int) bool {
	for {
		used := b.used.Load()
		if int64(held) >= b.limit-used {
			return false
		}
		if b.used.CompareAndSwap(used, used+1) {
			return true
		}
	}
}

func (b *budget) give() { b.used.Add(-1) }

// openFiles is the process's limit of open files, to which the Go runtime has
// raised it at start.
func openFiles() int {
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
