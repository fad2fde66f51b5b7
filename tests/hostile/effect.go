package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// effect is what two neighbours of an attacker measure before and during an attack. Before it she does the same with
// herself (see decoy), so that what is compared is footbridge under attack with footbridge beside a container that keeps
// the machine as busy: what a full processor costs is none of footbridge's doing.
type effect struct {
	kinds []kindEffect
}

// kindEffect is one kind of measurement, judged by one bound.
type kindEffect struct {
	name           string
	bound          bound
	beside, during []time.Duration // sorted
	lost           int
	why            string
}

// bound is what an attack may do to one kind of measurement: a percentile may be ratio times what it is beside her.
type bound struct {
	percentile float64
	ratio      float64
	floor      time.Duration // what it may always be
}

// form is how long and how strictly is measured.
type form struct {
	turn        time.Duration // of each side
	turns, most int           // of each side in a round; more than turns only until there are enough samples
	samples     int           // of each kind and side that are enough
	bounds      []bound       // each must hold
}

// floor is what waits may always be: on a machine with two processors, on which the attacker alone keeps one busy, a
// process waits for its turn that long.
const floor = 5 * time.Millisecond

// The 99th percentile needs a thousand samples: of them it is the tenth from above. With the short form's sixty it is what
// the machine's scheduler did once, and differs tenfold from run to run without any attack. So there the median judges, which
// an attack that others feel moves as well, and the 99th percentile only where it is wildly off. With another process on one
// of two processors medians reach 6 ms here (a connect's, which is three round trips) and 99th percentiles 40 ms; where readers
// do not take turns they are 12 to 60 ms, and 80 to 800 ms.
var (
	fullBound = bound{0.99, 2, floor}
	fullForm  = form{turn: 2 * time.Second, turns: 3, most: 8, samples: 1000, bounds: []bound{fullBound}}
	shortForm = form{turn: 300 * time.Millisecond, turns: 3, most: 6, samples: 60,
		bounds: []bound{{0.5, 2, 2 * floor}, {0.99, 4, 60 * time.Millisecond}}}
)

const (
	// maxRounds is how often a row is repeated before what it shows is believed: others use the machine too, and what they
	// do comes once.
	maxRounds = 3
	// lossExcess makes one loss worse than any wait.
	lossExcess = 1e6
)

// duel is what alice measures, by its name in the table. The processes that answer her, bob's and the internet's actor, are
// no attack's target: else it would be their load that is measured.
func (s *stage) duel() map[string]Probe {
	bob, web := s.machines["bob"], world.Addr("WEB4").String()
	at := func(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
	return map[string]Probe{
		"ping neighbour":    {"ping", bob.ip4.String()},
		"connect neighbour": {"connect", at(bob.ip6.String(), portEcho)},
		"rr neighbour":      {"rr", at(bob.ip4.String(), portEcho)},
		"connect outside":   {"connect", at(web, portOutside)},
		"rr outside":        {"rr", at(world.Addr("WEB6").String(), portOutside)},
		"udp outside":       {"udp", at(web, portOutside)},
		"fragments outside": {"fragments", at(web, portOutside)},
		"dns":               {"dns", at(bob.gw4.String(), 53)},
	}
}

// measure lets an actor make measurements for a time.
func measure(a *actor, probes map[string]Probe, d time.Duration) (map[string]Samples, error) {
	var names []string
	args := ProbeArgs{Time: d}
	for name, p := range probes {
		names = append(names, name)
		args.Probes = append(args.Probes, p)
	}
	var samples []Samples
	if err := a.call("Probe", args, &samples); err != nil {
		return nil, err
	}
	out := make(map[string]Samples)
	for i, name := range names {
		out[name] = samples[i]
	}
	return out, nil
}

// worst is the kind of measurement whose 99th percentile exceeds the full form's bound most, or is nearest to it.
func (e *effect) worst() kindEffect {
	var worst kindEffect
	for _, k := range e.kinds {
		if k.bound.percentile == fullBound.percentile && (worst.name == "" || k.excessOf(fullBound) > worst.excessOf(fullBound)) {
			worst = k
		}
	}
	return worst
}

func (k kindEffect) p99() (beside, during time.Duration) {
	return percentile(k.beside, 0.99), percentile(k.during, 0.99)
}

// ratio of the 99th percentiles.
func (k kindEffect) ratio() float64 {
	beside, during := k.p99()
	if beside == 0 {
		return 0
	}
	return float64(during) / float64(beside)
}

// excess is how much of what is allowed is used: above 1 is too much.
func (k kindEffect) excess() float64 { return k.excessOf(k.bound) }

func (k kindEffect) excessOf(b bound) float64 {
	if k.lost > 0 {
		return lossExcess * float64(k.lost)
	}
	allowed := max(time.Duration(b.ratio*float64(percentile(k.beside, b.percentile))), b.floor)
	return float64(percentile(k.during, b.percentile)) / float64(allowed)
}

// problems are the bounds that did not hold.
func (e *effect) problems() []string {
	var list []string
	for _, k := range e.kinds {
		p := func(p float64) string {
			return fmt.Sprintf("p%.0f %v instead of %v", 100*p, rounded(percentile(k.during, p)), rounded(percentile(k.beside, p)))
		}
		other := 0.5
		if k.bound.percentile == other {
			other = 0.99
		}
		switch {
		case k.lost > 0:
			list = append(list, fmt.Sprintf("%s: %d lost, %d answered: %s", k.name, k.lost, len(k.during), k.why))
		case k.excess() > 1:
			list = append(list, fmt.Sprintf("%s: %s (%s)", k.name, p(k.bound.percentile), p(other)))
		}
	}
	return slices.Compact(list) // a loss breaks each bound
}

// lines are all measurements, with the bound that they were judged by.
func (e *effect) lines() (list []string) {
	for _, k := range e.kinds {
		line := fmt.Sprintf("%-17s p%.0f:", k.name, 100*k.bound.percentile)
		for _, p := range []float64{0.5, 0.9, 0.99} {
			line += fmt.Sprintf("  p%.0f %v/%v", 100*p, rounded(percentile(k.during, p)), rounded(percentile(k.beside, p)))
		}
		list = append(list, fmt.Sprintf("%s  of %d/%d, %d lost", line, len(k.during), len(k.beside), k.lost))
	}
	return list
}

// text is one cell: the worst ratio, and of what.
func (e *effect) text() string {
	if e == nil || len(e.kinds) == 0 {
		return "-"
	}
	w := e.worst()
	beside, during := w.p99()
	return fmt.Sprintf("x%.1f %s %v/%v", w.ratio(), w.name, rounded(during), rounded(beside))
}

func rounded(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// suffer measures beside the attacker, then during the attack, and repeats both while the bounds are not kept. What others do
// on the machine comes once, what the attack does comes each time: so the best round counts, for each kind and bound by itself.
func (s *stage) suffer(r *result, victim *actor, probes map[string]Probe, beside, attack func(d time.Duration) error) error {
	f := fullForm
	if s.short {
		f = shortForm
	}
	r.effect = new(effect)
	var disturbed error // of the last round
	for range maxRounds {
		var e *effect
		var err error
		e, err = f.round(victim, probes, beside, attack)
		if disturbed = err; errors.Is(err, errDisturbed) {
			continue
		}
		if errors.Is(err, errLingers) {
			r.bad("%v", err)
			return nil
		}
		if err != nil {
			return err
		}
		r.effect.merge(e)
		if len(r.effect.problems()) == 0 {
			return nil
		}
	}
	if len(r.effect.kinds) == 0 {
		return disturbed
	}
	r.broken = append(r.broken, r.effect.problems()...)
	return nil
}

// merge takes the better of two rounds, for each kind and bound.
func (e *effect) merge(other *effect) {
	for _, k := range other.kinds {
		i := slices.IndexFunc(e.kinds, func(old kindEffect) bool { return old.name == k.name && old.bound == k.bound })
		switch {
		case i < 0:
			e.kinds = append(e.kinds, k)
		case k.excess() < e.kinds[i].excess():
			e.kinds[i] = k
		}
	}
}

// round compares once. The two sides take turns: what others do on the machine then falls on both.
func (f form) round(victim *actor, probes map[string]Probe, beside, attack func(time.Duration) error) (*effect, error) {
	e := new(effect)
	for _, name := range slices.Sorted(maps.Keys(probes)) {
		for _, b := range f.bounds {
			e.kinds = append(e.kinds, kindEffect{name: name, bound: b})
		}
	}
	var rest map[string]time.Duration // p99 before the first attack
	for turn := 0; turn < f.turns || turn < f.most && e.samples() < f.samples; turn++ {
		before, err := measureDuring(victim, probes, f.turn, beside)
		if err != nil {
			return nil, err
		}
		during, err := measureDuring(victim, probes, f.turn, attack)
		if err != nil {
			return nil, err
		}
		for i := range e.kinds {
			if err := e.kinds[i].add(before[e.kinds[i].name], during[e.kinds[i].name]); err != nil {
				return nil, err
			}
		}
		if rest == nil {
			rest = make(map[string]time.Duration)
			for name, samples := range before {
				rest[name] = percentile(samples.Took, 0.99)
			}
		}
		// What an attack leaves behind must not be taken for how it was without one.
		if err := recovered(victim, probes, rest); err != nil {
			return nil, err
		}
	}
	for i := range e.kinds {
		slices.Sort(e.kinds[i].beside)
		slices.Sort(e.kinds[i].during)
	}
	return e, nil
}

// samples are how many there are of each kind and side at least.
func (e *effect) samples() int {
	least := math.MaxInt
	for _, k := range e.kinds {
		least = min(least, len(k.beside), len(k.during))
	}
	return least
}

// errDisturbed is returned when something is lost without an attack: such a round shows nothing.
var errDisturbed = errors.New("a probe is lost without an attack")

// recoverLimit is how long after an attack all must be as before.
const recoverLimit = 5 * time.Second

// errLingers is returned when neighbours feel an attack long after its end.
var errLingers = errors.New("neighbours still feel the attack after its end")

// recovered waits until half of what is measured in a moment is as quick as nearly all of it was before.
func recovered(victim *actor, probes map[string]Probe, rest map[string]time.Duration) error {
	const moment = 60 * time.Millisecond
	var slow string
	var err error
	if !world.Poll(recoverLimit, func() bool {
		var now map[string]Samples
		now, err = measure(victim, probes, moment)
		slow = ""
		for name, samples := range now {
			p50 := percentile(samples.Took, 0.5)
			if samples.Lost > 0 || p50 > max(rest[name], floor) {
				slow = fmt.Sprintf("%s: %d lost, p50 %v instead of a p99 of %v", name, samples.Lost, rounded(p50), rounded(rest[name]))
			}
		}
		return err != nil || slow == ""
	}) {
		return fmt.Errorf("%w (%v): %s", errLingers, recoverLimit, slow)
	}
	return err
}

// add takes the samples of one turn.
func (k *kindEffect) add(before, during Samples) error {
	if before.Lost > 0 {
		return fmt.Errorf("%w: %s", errDisturbed, before.Why)
	}
	k.beside = append(k.beside, before.Took...)
	k.during = append(k.during, during.Took...)
	k.lost += during.Lost
	if k.why == "" {
		k.why = during.Why
	}
	return nil
}

func measureDuring(victim *actor, probes map[string]Probe, d time.Duration, other func(time.Duration) error) (map[string]Samples, error) {
	done := make(chan error, 1)
	go func() { done <- other(d) }()
	samples, err := measure(victim, probes, d)
	return samples, errors.Join(err, <-done)
}
