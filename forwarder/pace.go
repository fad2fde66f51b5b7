package forwarder

import (
	"sync/atomic"
	"time"
)

// warnEvery is how often a Forwarder may log that a flow was not possible: who
// reads the log wants to know that it happens, and the counters say how often.
const warnEvery = 10 * time.Second

// measureEvery and measureBurst are how often a container makes the process ask the
// kernel for a path's MTU, which takes four system calls: as often as it is told
// of ICMP errors at most (package stack, errorRate).
const (
	measureEvery = time.Millisecond
	measureBurst = 50
)

// pace lets one event pass in a while. The zero value is ready.
type pace struct{ next atomic.Int64 } // Unix nanoseconds

// take reports whether an event may happen now: one each time, and burst at once after
// a while without.
func (p *pace) take(now time.Time, each time.Duration, burst int) bool {
	t := now.UnixNano()
	next := p.next.Load()
	return t+int64(burst-1)*int64(each) >= next && p.next.CompareAndSwap(next, max(next, t)+int64(each))
}
