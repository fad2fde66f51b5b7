package dns

import (
	"net/netip"
	"sync"
	"time"
)

// Limits bound what containers may use up. A zero field has the default.
type Limits struct {
	// Forwards is the number of questions that may wait for the upstream at the same
	// time. One more is REFUSED. Default 1024, Docker's figure; each is a
	// goroutine and a socket.
	Forwards int
	// ForwardsPerSource is the same for one source address. Default 256, so
	// that it takes four containers to keep out a fifth.
	ForwardsPerSource int
	// Connections is the number of open TCP connections; one more is closed
	// at once. Default 256.
	Connections int
	// ConnectionsPerSource is the same for one source address. Default 16: a
	// stub resolver has one or two.
	ConnectionsPerSource int
	// Pipeline is the number of forwarded questions of one connection that may
	// be under way; beyond it the connection isn't read from. Default 32.
	Pipeline int
	// Idle is how long a connection may stay without a complete question, and
	// how long one may take to arrive. Default 10 s (RFC 7766, 6.2.3: "of
	// the order of a few seconds").
	Idle time.Duration
	// Write is how long a client may take to accept an answer. Default 5 s.
	Write time.Duration
}

func (l Limits) withDefaults() Limits {
	orInt := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt(&l.Forwards, 1024)
	orInt(&l.ForwardsPerSource, 256)
	orInt(&l.Connections, 256)
	orInt(&l.ConnectionsPerSource, 16)
	orInt(&l.Pipeline, 32)
	orTime(&l.Idle, 10*time.Second)
	orTime(&l.Write, 5*time.Second)
	return l
}

// quota counts things in use, in total and per source address.
type quota struct {
	total, each int

	mu   sync.Mutex
	used int
	by   map[netip.Addr]int // only sources that have something in use
}

func newQuota(total, each int) *quota {
	return &quota{total: total, each: each, by: make(map[netip.Addr]int)}
}

func (q *quota) take(src netip.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.used >= q.total || q.by[src] >= q.each {
		return false
	}
	q.used++
	q.by[src]++
	return true
}

func (q *quota) give(src netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.used--
	if q.by[src]--; q.by[src] == 0 {
		delete(q.by, src)
	}
}
