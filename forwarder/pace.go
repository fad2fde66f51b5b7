package forwarder

import (
	"sync/atomic"
	"time"
)

// warnEvery is how often a Forwarder may log that a flow was not possible: who
// reads the log wants to know that it happens, and the counters say how often.
const warnEvery = 10 * time.Second

// pace lets one event pass in warnEvery. The zero value is ready.
type pace struct{ next atomic.Int64 } // Unix nanoseconds

// take reports whether an event may happen now.
func (p *pace) take(now time.Time) bool {
	next := p.next.Load()
	return now.UnixNano() >= next && p.next.CompareAndSwap(next, now.Add(warnEvery).UnixNano())
}
