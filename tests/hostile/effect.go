package main

import (
	"errors"
	"fmt"
	"maps"
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

// kindEffect is one kind of measurement.
type kindEffect struct {
	name           string
	beside, during []time.Duration // sorted
	lost           int
	why            string
}

// Bounds of an effect.
const (
	maxRatio = 2.0 // of the 99th percentiles
	// floor is what a 99th percentile may always be: on a machine with two processors, on which the attacker alone keeps one
	// busy, a process waits for its turn that long.
	floor = 5 * time.Millisecond
	// maxRounds is how often a row is repeated before what it shows is believed: others use the machine too, and what they
	// do comes once.
	maxRounds = 3
	// lossExcess makes one loss worse than any wait.
	lossExcess = 1e6
)

// duel is what alice measures, by its name in the table.
func (s *stage) duel() map[string]Probe {
	bob, web := s.machines["bob"], world.Addr("WEB4").String()
	at := func(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
	return map[string]Probe{
		"ping neighbour":    {"ping", bob.ip4.String()},
		"connect neighbour": {"connect", at(bob.ip6.String(), portEcho)},
		"rr neighbour":      {"rr", at(bob.ip4.String(), portEcho)},
		"connect outside":   {"connect", at(web, world.PortEcho)},
		"rr outside":        {"rr", at(world.Addr("WEB6").String(), world.PortEcho)},
		"udp outside":       {"udp", at(web, world.PortEcho)},
		"fragments outside": {"fragments", at(web, world.PortEcho)},
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

// worst is the kind of measurement whose bound is exceeded most, or is nearest.
func (e *effect) worst() kindEffect {
	var worst kindEffect
	for _, k := range e.kinds {
		if worst.name == "" || k.excess() > worst.excess() {
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
func (k kindEffect) excess() float64 {
	if k.lost > 0 {
		return lossExcess * float64(k.lost)
	}
	beside, during := k.p99()
	allowed := max(time.Duration(maxRatio*float64(beside)), floor)
	return float64(during) / float64(allowed)
}

// problems are the bounds that did not hold.
func (e *effect) problems() []string {
	var list []string
	for _, k := range e.kinds {
		switch {
		case k.lost > 0:
			list = append(list, fmt.Sprintf("%s: %d lost, %d answered: %s", k.name, k.lost, len(k.during), k.why))
		case k.excess() > 1:
			beside, during := k.p99()
			list = append(list, fmt.Sprintf("%s: p99 %v instead of %v (p50 %v instead of %v)", k.name, rounded(during), rounded(beside),
				rounded(percentile(k.during, 0.5)), rounded(percentile(k.beside, 0.5))))
		}
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
// on the machine comes once, what the attack does comes each time: so the best round counts, for each kind by itself.
func (s *stage) suffer(r *result, victim *actor, probes map[string]Probe, beside, attack func(d time.Duration) error) error {
	d := 5 * time.Second
	if s.short {
		d = 900 * time.Millisecond
	}
	r.effect = new(effect)
	for range maxRounds {
		e, err := s.sufferOnce(victim, probes, d, beside, attack)
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
	r.broken = append(r.broken, r.effect.problems()...)
	return nil
}

// merge takes the better of two rounds, for each kind.
func (e *effect) merge(other *effect) {
	for _, k := range other.kinds {
		i := slices.IndexFunc(e.kinds, func(old kindEffect) bool { return old.name == k.name })
		switch {
		case i < 0:
			e.kinds = append(e.kinds, k)
		case k.excess() < e.kinds[i].excess():
			e.kinds[i] = k
		}
	}
}

// turns is how often the two sides of a comparison take turns in a round: what others do on the machine then falls on both.
const turns = 3

func (s *stage) sufferOnce(victim *actor, probes map[string]Probe, d time.Duration, beside, attack func(time.Duration) error) (*effect, error) {
	e := new(effect)
	for _, name := range slices.Sorted(maps.Keys(probes)) {
		e.kinds = append(e.kinds, kindEffect{name: name})
	}
	var rest map[string]time.Duration // p99 before the first attack
	for range turns {
		before, err := measureDuring(victim, probes, d/turns, beside)
		if err != nil {
			return nil, err
		}
		during, err := measureDuring(victim, probes, d/turns, attack)
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
		return fmt.Errorf("%s is lost without an attack: %s", k.name, before.Why)
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
