package main

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

const (
	// calm bounds how long memory may take to be given back after the last byte.
	calm = 20 * time.Second
	// ungiven is the memory that the worker does not trouble to give back, in bytes.
	ungiven = 4 << 20
	// traces is the part of the memory of connections that Go's runtime never gives back: descriptors of goroutines, and tables
	// of what memory there was.
	traces = 0.1
	// flat is how much more than the first the last connections may cost.
	flat = 1.35
)

// manyFlows holds connections of all kinds at once.
func manyFlows(s *stage, r *result) error {
	wanted := pick(20000, 2000)
	if *many > 0 {
		wanted = *many
	}
	kinds, err := s.flowKinds()
	if err != nil {
		return err
	}
	sum := fill(kinds, wanted, flowSources*steps)
	r.told("connections at once", float64(sum), "", "%d wanted, %d open files a process", wanted, openFiles())
	rest, err := s.settled(0, nil)
	if err != nil {
		return err
	}
	// Pools fill, tables reach their size, before anything counts.
	for _, k := range kinds {
		if _, err := k.open(k.count / steps); err != nil {
			return err
		}
	}
	before, err := s.shut(kinds, rest, s.spareMemory(rest))
	if err != nil {
		return err
	}
	full, allowed := before, 0.
	for _, k := range kinds {
		if err := s.pile(k, before.PID); err != nil {
			return err
		}
		r.told("connections "+k.name, float64(k.count), "", "a second: the first %s, the last %s", number(k.early.rate), number(k.late.rate))
		r.told("  worker's time for each, the first of them", k.early.cost, "us", "the last %s", number(k.late.cost))
		if full, err = s.weigh(r, k, full); err != nil {
			return err
		}
		allowed += k.bytes * float64(k.count)
	}
	alive, err := carrying(kinds)
	if err != nil {
		return err
	}
	r.least("connections that carry a byte there and back, all at once", float64(alive)/float64(sum), "", 1, "%d of %d", alive, sum)
	begin := time.Now()
	spare := s.spareMemory(before) + int(allowed*traces)
	after, err := s.shut(kinds, before, spare)
	if err != nil {
		return err
	}
	r.most("memory kept when all have ended", float64(after.RSS-before.RSS)/(1<<20), "MiB", float64(spare)/(1<<20), "RSS %s MiB after %v", mib(after.RSS), time.Since(begin).Round(time.Second/10))
	r.most("descriptors kept", float64(after.FDs-before.FDs), "", spareFiles, "")
	if !*short {
		if err := s.pileAgain(r, kinds, after); err != nil {
			return err
		}
	}
	for _, k := range kinds {
		r.takes("worker's time for each "+k.name+", the last : the first", median(k.ratios), "", flat, "rounds: %d", len(k.ratios))
	}
	return nil
}

// pile opens all connections of a kind, and notes what the first three tenths of them cost, and the last.
func (s *stage) pile(k *flowKind, pid int) error {
	var rates, costs []float64
	each := float64(k.count / steps)
	for range steps {
		var took time.Duration
		cpu, err := s.spent(pid, func() (err error) {
			took, err = k.open(k.count / steps)
			return err
		})
		if err != nil {
			return err
		}
		rates = append(rates, each/took.Seconds())
		costs = append(costs, float64(cpu.Microseconds())/each)
	}
	const part = 3 * steps / 10
	// The least: a collection of garbage takes as much as all the rest of two tenths, and falls into any.
	of := func(from, to int) expense { return expense{median(rates[from:to]), slices.Min(costs[from:to])} }
	k.early, k.late = of(0, part), of(steps-part, steps)
	k.ratios = append(k.ratios, k.late.cost/k.early.cost)
	return nil
}

// pileAgain opens and ends all of them once more: what has left traces before uses them again. There are more rounds while
// the last of a kind seem dearer than the first: a second in which the machine is busy makes a ratio, but not several.
func (s *stage) pileAgain(r *result, kinds []*flowKind, before Usage) error {
	after := before
	steep := func(k *flowKind) bool { return median(k.ratios) > flat }
	for round := 2; round == 2 || round <= 5 && slices.ContainsFunc(kinds, steep); round++ {
		for _, k := range kinds {
			if err := s.pile(k, before.PID); err != nil {
				return err
			}
		}
		var err error
		if after, err = s.shut(kinds, before, ungiven); err != nil {
			return err
		}
	}
	r.most("memory kept when as many more have", float64(after.RSS-before.RSS)/(1<<20), "MiB", ungiven>>20, "")
	return nil
}

// weigh says what the connections of a kind keep of the worker, and returns what it uses, in the full form after it has given
// back what their making took.
func (s *stage) weigh(r *result, k *flowKind, before Usage) (Usage, error) {
	full, err := s.settled(pick(2*calm/5, calm/20), nil)
	if err != nil {
		return full, err
	}
	n := float64(k.count)
	r.most("  worker's memory for each "+k.name, float64(full.RSS-before.RSS)/n, "bytes", pick(k.bytes, 1.5*k.bytes)+ungiven/n, "RSS %s -> %s MiB", mib(before.RSS), mib(full.RSS))
	r.most("  worker's descriptors for each "+k.name, float64(full.FDs-before.FDs)/n, "", k.files, "")
	return full, nil
}

// shut ends all connections, and returns how the worker is when it has given back what they cost but for spare bytes, or does
// not.
func (s *stage) shut(kinds []*flowKind, before Usage, spare int) (Usage, error) {
	if err := together(holders(kinds), func(_ int, a *actor) error { return a.call("CloseFlows", true, &struct{}{}) }); err != nil {
		return before, err
	}
	return s.settled(calm, func(u Usage) bool { return u.RSS <= before.RSS+spare && u.FDs <= before.FDs+spareFiles })
}

func mib(bytes int) string { return number(float64(bytes) / (1 << 20)) }

// spareMemory is how much more the worker may have than before: half of what it had, or 16 MiB. Tables keep the size that
// they have reached.
func (s *stage) spareMemory(before Usage) int { return max(before.RSS/2, 16<<20) }

// settled looks at the worker until it is as wanted, at most for a time, and returns how it is then. Without wanted it takes
// that time.
func (s *stage) settled(limit time.Duration, wanted func(Usage) bool) (u Usage, err error) {
	world.Poll(limit, func() bool {
		status, serr := s.main.status()
		if u, err = s.process(status.Worker.PID, false); serr != nil {
			err = serr
		}
		u.FDs = status.Worker.Descriptors
		return err != nil || wanted != nil && wanted(u)
	})
	return u, err
}

// burst carries as much as it can for a while, and looks what the worker keeps of it.
func burst(s *stage, r *result) error {
	if err := s.main.network("burst", "10.103.0.0/16"); err != nil {
		return err
	}
	c, err := s.main.container("source", "burst")
	if err != nil {
		return err
	}
	if err := s.user.call("Serve", 0, &struct{}{}); err != nil {
		return err
	}
	status, err := s.main.status()
	if err != nil {
		return err
	}
	pid := status.Worker.PID
	before, err := s.process(pid, false)
	if err != nil {
		return err
	}
	to := net.JoinHostPort(world.Addr("HOST4").String(), strconv.Itoa(bulkPort))
	for _, receive := range []bool{false, true} {
		what := map[bool]string{false: "to the host", true: "from the host"}[receive]
		highest := before.RSS
		stop, watched := make(chan struct{}), make(chan error, 1)
		go func() {
			for {
				u, err := s.process(pid, false)
				highest = max(highest, u.RSS)
				select {
				case <-stop:
					watched <- err
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		}()
		var rate float64
		err := c.call("Bulk", BulkArgs{To: to, Streams: 8, Time: pick(5*time.Second, 2*time.Second), Receive: receive}, &rate)
		close(stop)
		if werr := <-watched; err == nil {
			err = werr
		}
		if err != nil {
			return err
		}
		begin := time.Now()
		spare := s.spareMemory(before)
		after, err := s.settled(calm, func(u Usage) bool { return u.RSS <= before.RSS+spare })
		if err != nil {
			return err
		}
		r.most(fmt.Sprintf("memory kept after 8 streams %s", what), float64(after.RSS-before.RSS)/(1<<20), "MiB", float64(spare)/(1<<20),
			"%s Gbit/s; RSS %s MiB before, %s during, %s after %v", number(rate*8e-9), mib(before.RSS), mib(highest), mib(after.RSS), time.Since(begin).Round(time.Second/10))
	}
	return nil
}
