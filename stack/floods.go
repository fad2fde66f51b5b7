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

// floodShare is the part of the time that copies may take, whatever one of them takes: 3 us on a quick machine, 10 on one that
// others use as well, where 20,000 of them were a third of what the worker got.
const floodShare = 0.04

const (
	// leastFloods is how many copies a second there are whatever they take: a frame of each port every second, where there are 30.
	leastFloods = 1000
	// longestCopy bounds what is believed of one copy: what took longer was not at work meanwhile.
	longestCopy = 100 * time.Microsecond
	// costMemory is over how many floods the time of a copy is averaged.
	costMemory = 16
)

// floods are the copies of a network.
type floods struct {
	pace
	cost atomic.Int64 // of a copy: nanoseconds, on average; 0 before the first
}

// rate is how many copies there may be now.
func (f *floods) rate() rate {
	cost := f.cost.Load()
	if cost == 0 {
		return floodRate
	}
	n := min(max(int(floodShare*float64(time.Second)/float64(cost)), leastFloods), floodRate.perSecond)
	return rate{perSecond: n, burst: n / (floodRate.perSecond / floodRate.burst)}
}

// took says what n copies have taken.
func (f *floods) took(d time.Duration, n int) {
	each := int64(min(d/time.Duration(n), longestCopy))
	if old := f.cost.Load(); old != 0 {
		each = old + (each-old)/costMemory
	}
	f.cost.Store(max(each, 1)) // of two at once one is lost
}

// mayFlood reports whether n copies of one of the port's frames may be written.
func (p *Port) mayFlood(n int) bool { return p.mayFloodAt(time.Now(), n) }

func (p *Port) mayFloodAt(now time.Time, n int) bool {
	ports, r := len(p.net.table.Load().ports), p.net.floods.rate()
	if p.floods.takeMany(now, r.part(ports), n) {
		p.net.floods.spend(now, r, n) // the others' share is smaller by that
		return true
	}
	return p.net.floods.takeMany(now, r, n)
}

// part is an n-th of r.
func (r rate) part(n int) rate {
	return rate{perSecond: max(1, r.perSecond/max(1, n)), burst: max(1, r.burst/max(1, n))}
}

// spend counts n events that happen whether there is room or not. What is owed is at most what is to be had in a
// second: nobody waits longer than that.
func (p *pace) spend(now time.Time, r rate, n int) {
	each := int64(r.each())
	t := now.UnixNano()
	most := t + int64(time.Second)
	for {
		next := p.next.Load()
		after := min(max(next, t)+int64(n)*each, max(next, most))
		if p.next.CompareAndSwap(next, after) {
			return
		}
	}
}
