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
		e := effect{kinds: []kindEffect{c.k}}
		if got := len(e.problems()) > 0; got != c.bad {
			t.Errorf("%s: %v", name, e.problems())
		}
	}
}

func TestTheBetterRoundCounts(t *testing.T) {
	e := new(effect)
	e.merge(&effect{kinds: []kindEffect{{name: "a", beside: ms(10), during: ms(90)}, {name: "b", beside: ms(10), during: ms(10)}}})
	e.merge(&effect{kinds: []kindEffect{{name: "a", beside: ms(10), during: ms(11)}, {name: "b", beside: ms(10), during: ms(90)}}})
	if problems := e.problems(); len(problems) != 0 {
		t.Errorf("got %v", problems)
	}
	e.merge(&effect{kinds: []kindEffect{{name: "c", beside: ms(10), during: ms(50)}}})
	e.merge(&effect{kinds: []kindEffect{{name: "c", beside: ms(10), during: ms(60)}}})
	if problems := e.problems(); len(problems) != 1 || !strings.Contains(problems[0], "c: p99 50ms") {
		t.Errorf("got %v", problems)
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
