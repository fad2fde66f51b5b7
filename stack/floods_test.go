package stack

import (
	"testing"
	"time"
)

// flooders are ports of one network that send as many frames to all as they like.
func flooders(n int) (*Network, []*Port) {
	net := &Network{}
	ports := make([]*Port, n)
	for i := range ports {
		ports[i] = &Port{net: net}
	}
	net.table.Store(&table{ports: ports})
	return net, ports
}

// second asks for a second, a thousand times at each of those that shout, and counts the copies of each.
func second(ports []*Port, shout int, from time.Time) (copies []int) {
	copies = make([]int, len(ports))
	for ms := range 1000 {
		now := from.Add(time.Duration(ms) * time.Millisecond)
		for i := range shout {
			for ports[i].mayFlood(now, len(ports)-1) {
				copies[i] += len(ports) - 1
				if copies[i] > 10*floodRate.perSecond {
					return copies
				}
			}
		}
	}
	return copies
}

func TestFloodsOfAllAreBounded(t *testing.T) {
	for _, c := range []struct{ ports, shout int }{{100, 100}, {100, 1}, {100, 10}, {10, 10}, {2, 1}, {500, 500}} {
		_, ports := flooders(c.ports)
		begin := time.Now()
		second(ports, c.shout, begin) // the burst
		sum := 0
		for _, n := range second(ports, c.shout, begin.Add(time.Second)) {
			sum += n
		}
		// A frame that there is room for is given to all, at the expense of the next.
		slack := c.shout * c.ports
		if sum < floodRate.perSecond*8/10 || sum > floodRate.perSecond*12/10+slack {
			t.Errorf("%d of %d ports shout: %d copies a second, want about %d", c.shout, c.ports, sum, floodRate.perSecond)
		}
	}
}

func TestNobodyIsSilencedByThoseWhoShout(t *testing.T) {
	const n = 100
	_, ports := flooders(n)
	begin := time.Now()
	second(ports, n-1, begin)
	shouted := second(ports, n-1, begin.Add(time.Second))
	last := ports[n-1]
	for i := range 2 { // two a second are everybody's own
		if at := begin.Add(2*time.Second + time.Duration(i)*500*time.Millisecond); !last.mayFlood(at, n-1) {
			t.Errorf("frame %d of the one who seldom says anything is dropped; the others sent %v", i, shouted[:3])
		}
	}
	least := shouted[0]
	for _, s := range shouted[:n-1] {
		least = min(least, s)
	}
	if part := floodRate.perSecond / n; least < part*8/10 {
		t.Errorf("one of those who shout got %d copies, its own part is %d", least, part)
	}
}

// What copies cost is the machine's, and what others need of it.
func TestCopiesHaveAPartOfTheTime(t *testing.T) {
	const shout = 10
	for _, c := range []struct {
		each time.Duration
		want int // copies a second
	}{
		{time.Microsecond, floodRate.perSecond},
		{4 * time.Microsecond, 10000},
		{10 * time.Microsecond, 4000},
		{longestCopy, 2000},
	} {
		_, ports := flooders(100)
		for _, p := range ports[:shout] {
			p.copiesTake(c.each, 10*costMemory)
		}
		begin := time.Now()
		second(ports, shout, begin) // the burst
		sum := 0
		for _, n := range second(ports, shout, begin.Add(time.Second)) {
			sum += n
		}
		if slack := shout * len(ports); sum < c.want*8/10-slack || sum > c.want*12/10+slack {
			t.Errorf("%v each: %d copies a second, want about %d", c.each, sum, c.want)
		}
		if r := ports[0].floods.rate(); r.perSecond < c.want*9/10 || r.perSecond > c.want*11/10 || r.burst != r.perSecond/10 {
			t.Errorf("%v each: %+v, want %d a second", c.each, r, c.want)
		}
	}
}

// copiesTake says what the copies of some floods have taken.
func (p *Port) copiesTake(each time.Duration, floods int) {
	n := len(p.net.table.Load().ports) - 1
	for range floods {
		p.floods.took(time.Duration(n)*each, n)
	}
}

// Copies that were interrupted do not silence a port for long, be they its first.
func TestSlowCopiesAreForgotten(t *testing.T) {
	for _, before := range []int{0, 10 * costMemory} {
		_, ports := flooders(2)
		p := ports[0]
		p.copiesTake(2*time.Microsecond, before)
		p.copiesTake(longestCopy, 1)
		if r := p.floods.rate(); r.perSecond < floodRate.perSecond/2 {
			t.Errorf("%d copies a second after one", r.perSecond)
		}
		p.copiesTake(longestCopy, 10*costMemory)
		p.copiesTake(2*time.Microsecond, 4*costMemory)
		if r := p.floods.rate(); r.perSecond < floodRate.perSecond*8/10 {
			t.Errorf("%d copies a second long after them", r.perSecond)
		}
	}
}

// Large frames, or a bad moment, are paid by their sender, and not for ever.
func TestWhoSendsWhatTakesLongPaysAlone(t *testing.T) {
	for _, n := range []int{3, 100} {
		_, ports := flooders(n)
		ports[0].copiesTake(longestCopy, 10*costMemory)
		begin := time.Now()
		second(ports, 1, begin)
		if got := second(ports, 1, begin.Add(time.Second))[0]; got > 2000*12/10+n {
			t.Errorf("%d ports: who sends what takes long has %d copies a second", n, got)
		}
		last := ports[n-1]
		for i := range 2 {
			if at := begin.Add(2*time.Second + time.Duration(i)*500*time.Millisecond); !last.mayFlood(at, n-1) {
				t.Errorf("%d ports: frame %d of another is dropped", n, i)
			}
		}
	}
	_, ports := flooders(100)
	ports[0].copiesTake(longestCopy, 10*costMemory)
	begin := time.Now()
	ports[0].mayFlood(begin, 99)
	if !ports[0].floods.has(begin.Add(longestSilence), floodRate.part(100)) {
		t.Error("it has no part of its own after the longest silence")
	}
}

func TestWhatIsOwedHasAnEnd(t *testing.T) {
	var p pace
	now := time.Now()
	for range 1000 {
		p.spend(now, floodRate, 1000, time.Second)
	}
	if p.takeMany(now, floodRate, 1) {
		t.Error("there is room after a million")
	}
	if !p.takeMany(now.Add(time.Second+time.Millisecond), floodRate, 1) {
		t.Error("there is no room a second after a million")
	}
}
