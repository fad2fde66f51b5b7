package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
	"net/netip"
)

func ms(values ...int) []time.Duration {
	var list []time.Duration
	for _, v := range values {
		list = append(list, time.Duration(v)*time.Millisecond)
	}
	return list
}

func TestPercentiles(t *testing.T) {
	sorted := make([]time.Duration, 100)
	for i := range sorted {
		sorted[i] = time.Duration(i + 1)
	}
	for p, want := range map[float64]time.Duration{0.5: 50, 0.99: 99, 1: 100, 0: 1} {
		if got := percentile(sorted, p); got != want {
			t.Errorf("%v: got %d, want %d", p, got, want)
		}
	}
	if percentile(nil, 0.99) != 0 {
		t.Error("nothing has a percentile")
	}
}

func TestAnEffectIsJudgedByRatioFloorAndLoss(t *testing.T) {
	for name, c := range map[string]struct {
		k   kindEffect
		bad bool
	}{
		"twice as long":              {kindEffect{beside: ms(10), during: ms(20)}, false},
		"more than twice":            {kindEffect{beside: ms(10), during: ms(21)}, true},
		"much more, below the floor": {kindEffect{beside: []time.Duration{100 * time.Microsecond}, during: []time.Duration{floor}}, false},
		"one lost":                   {kindEffect{beside: ms(10), during: ms(10), lost: 1, why: "x"}, true},
	} {
		c.k.bound = fullBound
		e := effect{kinds: []kindEffect{c.k}}
		if got := len(e.problems()) > 0; got != c.bad {
			t.Errorf("%s: %v", name, e.problems())
		}
	}
}

func TestTheShortFormIsJudgedByTheMedianAndAWildP99(t *testing.T) {
	for name, c := range map[string]struct {
		beside, during []time.Duration
		bad            string
	}{
		"a p99 ten times as long":            {ms(1, 2, 5), ms(1, 2, 50), ""},
		"a long p99, not four times as long": {ms(1, 2, 20), ms(1, 2, 80), ""},
		"a wild p99":                         {ms(1, 2, 10), ms(1, 2, 61), "a: p99 61ms instead of 10ms (p50 2ms instead of 2ms)"},
		"a median three times as long":       {ms(1, 4, 15), ms(1, 12, 15), "a: p50 12ms instead of 4ms (p99 15ms instead of 15ms)"},
	} {
		e := new(effect)
		for _, b := range shortForm.bounds {
			e.kinds = append(e.kinds, kindEffect{name: "a", bound: b, beside: c.beside, during: c.during})
		}
		if got := strings.Join(e.problems(), "\n"); got != c.bad {
			t.Errorf("%s: got %q, want %q", name, got, c.bad)
		}
		beside, during := e.worst().p99()
		if beside != c.beside[2] || during != c.during[2] {
			t.Errorf("%s: the table shows %v/%v", name, during, beside)
		}
	}
	lost := effect{kinds: []kindEffect{{name: "a", bound: shortForm.bounds[0], lost: 1}, {name: "a", bound: shortForm.bounds[1], lost: 1}}}
	if got := lost.problems(); len(got) != 1 {
		t.Errorf("one loss is told as %v", got)
	}
}

func TestTheBetterRoundCounts(t *testing.T) {
	one := func(name string, b bound, beside, during int) kindEffect {
		return kindEffect{name: name, bound: b, beside: ms(beside), during: ms(during)}
	}
	median := shortForm.bounds[0]
	e := new(effect)
	e.merge(&effect{kinds: []kindEffect{one("a", fullBound, 10, 90), one("b", fullBound, 10, 10), one("b", median, 10, 90)}})
	e.merge(&effect{kinds: []kindEffect{one("a", fullBound, 10, 11), one("b", fullBound, 10, 90), one("b", median, 10, 10)}})
	if problems := e.problems(); len(problems) != 0 {
		t.Errorf("got %v", problems)
	}
	e.merge(&effect{kinds: []kindEffect{one("c", fullBound, 10, 50)}})
	e.merge(&effect{kinds: []kindEffect{one("c", fullBound, 10, 60)}})
	if problems := e.problems(); len(problems) != 1 || !strings.Contains(problems[0], "c: p99 50ms") {
		t.Errorf("got %v", problems)
	}
}

func TestDropsOfASocketAreFound(t *testing.T) {
	const table = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  218: 00000000:1E61 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 ffff0 3
  220: 00000000:1E65 00000000:0000 07 00000000:00034000 00:00000000 00000000     0        0 1 2 ffff1 41
`
	if n, err := drops(table, portMailbox); n != 41 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := drops(table, portNobody); err == nil {
		t.Error("a port without a socket has drops")
	}
}

func TestVerdicts(t *testing.T) {
	var r result
	if !r.good() || r.verdict() != "ok" {
		t.Error("nothing happened, and it is not ok")
	}
	r.bad("a bound")
	if r.good() || r.verdict() != "BROKEN" {
		t.Error("a broken bound is ok")
	}
	r.in("a frame")
	if r.good() || r.verdict() != "LET IN" || len(r.details()) != 2 {
		t.Errorf("%s: %v", r.verdict(), r.details())
	}
}

func TestRowsHaveNamesOfTheirOwn(t *testing.T) {
	var names []string
	for _, r := range allRows() {
		if r.group == "" || r.name == "" || r.run == nil || slices.Contains(names, r.name) {
			t.Errorf("row %q of group %q", r.name, r.group)
		}
		names = append(names, r.name)
	}
}

func TestTheNetworksOwnAnswersAreNotTaken(t *testing.T) {
	m := &machine{mac: macA, ip4: a4, ip6: a6, local: a6}
	own := packet.ARP{Op: packet.ARPReply, SenderMAC: macA, SenderIP: a4, TargetIP: b4}
	if !m.answered(packet.ARPFrame(packet.Broadcast, own)) || !m.answered(packet.NeighborAdvertFrame(packet.MAC{2}, macA, b6, a6)) {
		t.Error("an answer of the network's is taken for an attack")
	}
	other := own
	other.SenderIP = netip.MustParseAddr("10.0.0.1")
	if m.answered(packet.ARPFrame(packet.Broadcast, other)) || m.answered(packet.NeighborAdvertFrame(packet.MAC{2}, macA, b6, b6)) {
		t.Error("an attack is taken for an answer of the network's")
	}
}

func TestAWatchKnowsPortsAndMarks(t *testing.T) {
	frame := inEthernet(macA, macA, tcpPacket(netip.AddrPortFrom(a6, 1), netip.AddrPortFrom(b6, portSecret), flagSYN, 1, 0, []byte("marked")))
	for _, c := range []struct {
		args WatchArgs
		want bool
	}{
		{WatchArgs{Port: portSecret}, true}, {WatchArgs{Port: 1}, false}, {WatchArgs{}, false}, {WatchArgs{Everything: true}, true},
		{WatchArgs{Patterns: [][]byte{[]byte("mark")}}, true}, {WatchArgs{Patterns: [][]byte{[]byte("none")}}, false},
	} {
		if got := (&watcher{args: c.args}).wants(frame); got != c.want {
			t.Errorf("%+v: %v", c.args, got)
		}
	}
	for n := range frame {
		portOf(frame[:n]) // does not panic
	}
}
