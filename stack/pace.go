package stack

import (
	"sync/atomic"
	"time"
)

// How many ICMP errors a container gets: as many as Linux sends in all by
// default (net.ipv4.icmp_msgs_per_sec and icmp_msgs_burst), which traceroute
// and path MTU discovery never reach. RFC 1812 4.3.2.8 and RFC 4443 2.4 f ask
// for a limit. It is for each port, so that nobody uses up another's.
const (
	errorRate  = 1000 // a second
	errorBurst = 50
)

// The same serves for connections to the gateway's own listeners: each SYN costs
// netstack more than a whole datagram, and a container that sends nothing else
// would make the others wait (130 ms instead of 1 for a connection, measured).

// pace lets errorRate events a second pass, and errorBurst at once. The zero
// value is ready.
type pace struct {
	// next is when the events let pass so far are paid for, one each
	// second/errorRate; Unix nanoseconds.
	next atomic.Int64
}

// take reports whether an event may happen now.
func (p *pace) take(now time.Time) bool {
	const each = int64(time.Second / errorRate)
	t := now.UnixNano()
	for {
		next := p.next.Load()
		if next > t+(errorBurst-1)*each {
			return false
		}
		if p.next.CompareAndSwap(next, max(next, t)+each) {
			return true
		}
	}
}
