package stack

import "time"

// floodRate is how many copies of frames for groups are written on a network: each costs as much as a frame for one
// station, so these are 7 % of a processor (50,000 were 18 %). It lets a container send a video of 10 Mbit/s to twenty others, which
// is more than groups are used for in one machine. It is for all ports together, since what is felt is their sum: a
// hundred containers that send fifty broadcasts a second each would otherwise be half a million copies, and twenty of
// them left two others a third of their throughput.
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
