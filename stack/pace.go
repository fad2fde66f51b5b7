package stack

import (
	"sync/atomic"
	"time"
)

// rate is how often something may happen.
type rate struct {
	perSecond int
	burst     int // at once, after a while without
}

func (r rate) each() time.Duration { return time.Second / time.Duration(r.perSecond) }

// errorRate is how many ICMP errors a container gets: as many as Linux sends in all
// by default (net.ipv4.icmp_msgs_per_sec and icmp_msgs_burst), which traceroute
// and path MTU discovery never reach. RFC 1812 4.3.2.8 and RFC 4443 2.4 f ask
// for a limit. It is for each port, so that nobody uses up another's.
var errorRate = rate{perSecond: 1000, burst: 50}

// ownSYNRate is for connections to the gateway's own listeners: each SYN costs netstack
// more than a whole datagram, and a container that sends nothing else would make
// the others wait (130 ms instead of 1 for a connection, measured).
var ownSYNRate = rate{perSecond: 1000, burst: 50}

// outSYNRate is for connections to the outside. Two cores carry 6,000 a second from
// one container in all; what is above can only be a flood, and costs a quarter
// as much when it is dropped before netstack sees it.
var outSYNRate = rate{perSecond: 20000, burst: 2000}

// dropRate is how many frames of one container are read to be dropped. Above it the
// container's device is left alone for a while: its frames wait, and are lost, in
// its own kernel, at the expense of its own time, instead of taking a processor
// from the others. Half a million frames a second is what one thread can send;
// a container that speaks to somebody who has just gone does not come near the
// limit for longer than its kernel needs to notice.
var dropRate = rate{perSecond: 50000, burst: 5000}

// claimRate is how often a port may move addresses to itself: each time all others are told.
// A router of VRRP does it once for each address, and repeats it a few times.
var claimRate = rate{perSecond: 10, burst: 20}

// seekRate is how often the gateway asks a port for a station that it has forgotten.
var seekRate = rate{perSecond: 100, burst: 20}

// askRate is how often one port makes the gateway ask others for stations: seekRate is what
// all have together, and who asks for nobody must not use it up.
var askRate = rate{perSecond: 10, burst: 10}

// pace keeps something to a rate. The zero value is ready.
type pace struct {
	// next is when the events so far are paid for, one each second/perSecond;
	// Unix nanoseconds.
	next atomic.Int64
}

// take reports whether an event may happen now.
func (p *pace) take(now time.Time, r rate) bool { return p.takeMany(now, r, 1) }

// takeMany reports whether n events may happen now: all of them if there is room for
// one, at the expense of later ones.
func (p *pace) takeMany(now time.Time, r rate, n int) bool {
	each := int64(r.each())
	t := now.UnixNano()
	for {
		next := p.next.Load()
		if next > t+int64(r.burst-1)*each {
			return false
		}
		if p.next.CompareAndSwap(next, max(next, t)+int64(n)*each) {
			return true
		}
	}
}

// charge counts an event that has happened, and says how long to wait until as
// many have been paid for as r allows.
func (p *pace) charge(now time.Time, r rate) time.Duration {
	each := int64(r.each())
	t := now.UnixNano()
	for {
		next := p.next.Load()
		after := max(next, t) + each
		if p.next.CompareAndSwap(next, after) {
			return time.Duration(max(0, after-t-int64(r.burst)*each))
		}
	}
}
