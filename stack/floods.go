package stack

import (
	"sync/atomic"
	"time"
)

// floodRate is the most copies of frames for groups that are written on a network: each costs as much as a frame for one
// station. It lets a container send a video of 10 Mbit/s to twenty others, which is more than groups are used for in one
// machine. It is for all ports together, since what is felt is their sum: with 50,000 for each port, twenty containers that
// sent 500 broadcasts a second each left two others 0.31 to 0.46 of their throughput.
//
//	copies: |## port's own part ##| shared: whoever comes first ##########|
//	         rate/ports each        what is left of the rate
//
// An equal part of it is each port's own, so that nobody is silenced by those who shout; what others do not use is
// for whoever comes first.
var floodRate = rate{perSecond: 20000, burst: 2000}

// floodShare is the part of the time that a network's copies may take, whatever one of them takes: 3 us on a quick machine, 10
// on one that others use as well, where 20,000 of them were a third of what the worker got.
const floodShare = 0.04

const (
	// longestCopy bounds what a copy counts for: what takes longer has waited for the processor, or its receiver makes it slow,
	// for which its sender is not to blame.
	longestCopy = 20 * time.Microsecond
	// costMemory is over how many floods the time of a copy is averaged.
	costMemory = 16
	// longestSilence bounds how long a port waits for its own part, where copies take long: 100 ports get 2,000 copies a second
	// out of that.
	longestSilence = 5 * time.Second
)

// floods are the copies of a port's frames. What they take is each port's own affair: who sends large frames
// pays more for them, and nobody else does.
type floods struct {
	pace              // of its own part
	cost atomic.Int64 // of a copy: nanoseconds, on average; 0 before the first
}

// nominalCost is what a copy takes where floodRate is also floodShare, in nanoseconds.
func nominalCost() int64 { return int64(floodShare * float64(floodRate.each())) }

// rate is how many copies a network may make, if all are like this port's.
func (f *floods) rate() rate {
	cost := f.cost.Load()
	if cost <= nominalCost() {
		return floodRate
	}
	n := int(floodShare * float64(time.Second) / float64(cost))
	return rate{perSecond: n, burst: n / (floodRate.perSecond / floodRate.burst)}
}

// took says what n copies have taken, of which none counts for more than longestCopy.
func (f *floods) took(d time.Duration, n int) {
	old := f.cost.Load()
	if old == 0 {
		old = nominalCost()
	}
	f.cost.Store(max(old+(int64(d)/int64(n)-old)/costMemory, 1)) // of two at once one is lost
}

// mayFlood reports whether n copies of one of the port's frames may be written.
func (p *Port) mayFlood(now time.Time, n int) bool {
	ports, r := len(p.net.table.Load().ports), p.floods.rate()
	if own := r.part(ports); p.floods.has(now, own) {
		p.floods.spend(now, own, n, max(longestSilence, time.Duration(n)*floodRate.part(ports).each()))
		p.net.floods.spend(now, r, n, time.Second) // the others' share is smaller by that
		return true
	}
	return p.net.floods.takeMany(now, r, n)
}

// part is an n-th of r.
func (r rate) part(n int) rate {
	return rate{perSecond: max(1, r.perSecond/max(1, n)), burst: max(1, r.burst/max(1, n))}
}

// has reports whether there is room for an event.
func (p *pace) has(now time.Time, r rate) bool {
	return p.next.Load() <= now.UnixNano()+int64(r.burst-1)*int64(r.each())
}

// spend counts n events that happen whether there is room or not. After longest nothing is owed any more.
func (p *pace) spend(now time.Time, r rate, n int, longest time.Duration) {
	each := int64(r.each())
	t := now.UnixNano()
	most := t + int64(longest)
	for {
		next := p.next.Load()
		after := min(max(next, t)+int64(n)*each, max(next, most))
		if p.next.CompareAndSwap(next, after) {
			return
		}
	}
}
