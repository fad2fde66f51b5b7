package stack

import "time"

// floodRate is how many copies of frames for groups are written on a network: each costs as much as a frame for one
// station. It lets a container send a video of 10 Mbit/s to twenty others, which is more than groups are used for in one
// machine. It is for all ports together, since what is felt is their sum: with 50,000 for each port, twenty containers that
// sent 500 broadcasts a second each left two others 0.31 to 0.46 of their throughput, and with 50,000 for all 0.73 to 0.80. With
// 20,000 for all, a hundred that send fifty each take 21 % of a processor, with the reading of their frames.
//
//	copies: |## port's own part ##| shared: whoever comes first ##########|
//	         floodRate/ports each    what is left of floodRate
//
// An equal part of it is each port's own, so that nobody is silenced by those who shout; what others do not use is
// for whoever comes first.
var floodRate = rate{perSecond: 20000, burst: 2000}

// mayFlood reports whether n copies of one of the port's frames may be written.
func (p *Port) mayFlood(n int) bool { return p.mayFloodAt(time.Now(), n) }

func (p *Port) mayFloodAt(now time.Time, n int) bool {
	ports := len(p.net.table.Load().ports)
	if p.floods.takeMany(now, floodRate.part(ports), n) {
		p.net.floods.spend(now, floodRate, n) // the others' share is smaller by that
		return true
	}
	return p.net.floods.takeMany(now, floodRate, n)
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
