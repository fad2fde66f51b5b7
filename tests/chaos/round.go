package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
	"github.com/footbridge-net/footbridge/tests/world"
)

// chaos is the stage and what happens on it.
type chaos struct {
	stage    *load.Stage
	random   *random
	killed   []time.Duration // when the worker was, lately
	upgraded []string        // descriptors of the daemon after its first upgrade
	before   *view           // what there is when nothing is broken; nil: to be looked at
}

// healthLimit is how long the traffic may take to be as it should before and after the faults.
const healthLimit = 20 * time.Second

func newChaos() (*chaos, error) {
	s, err := load.NewStage()
	if err != nil {
		return nil, err
	}
	c := &chaos{stage: s, random: newRandom()}
	if err = s.SetUp(); err == nil {
		err = s.Traffic(load.Intensity{Probe: *probe, Frame: time.Millisecond, Stream: 2 * time.Millisecond, Bulk: 32 << 10})
	}
	if err == nil {
		err = c.healthy()
	}
	if err != nil {
		fmt.Fprint(os.Stderr, c.daemonLog())
		s.Close()
		return nil, err
	}
	return c, nil
}

// healthy waits until all probes are answered and all streams go on.
func (c *chaos) healthy() error {
	from := load.Now()
	var working bool
	var missing []string
	var err error
	world.Poll(10*healthLimit, func() bool {
		var reports map[string]load.Report
		if reports, err = c.stage.Hub.Reports(from); err != nil {
			return true
		}
		_, _, missing = recovered(reports, from)
		for _, name := range slices.Sorted(maps.Keys(reports)) {
			if r := reports[name]; r.Job.Kind == load.Stream && r.Progress <= from {
				missing = append(missing, name)
			}
		}
		working = len(missing) == 0
		// A machine that keeps everybody waiting gets longer.
		return working || load.Now()-from > healthLimit && reports[load.Machine].Slowest(from) < disturbance
	})
	if err == nil && !working {
		if *verbose {
			c.diagnose()
		}
		err = fmt.Errorf("without any fault these do not work within %v: %s", (load.Now() - from).Round(time.Second), strings.Join(missing, ", "))
	}
	return err
}

// recovered returns how long after a moment all probes were answered again, which was the last, and which are not.
func recovered(reports map[string]load.Report, hit time.Duration) (slowest time.Duration, last string, missing []string) {
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		r := reports[name]
		if r.Job.Kind == load.Stream || r.Job.Kind == load.Knock {
			continue
		}
		took, ok := r.Recovered(hit)
		if !ok {
			missing = append(missing, name+lastProblem(r, hit))
		}
		if took > slowest {
			slowest, last = took, name
		}
	}
	return slowest, last, missing
}

// tellEach prints how long each job took.
func tellEach(reports map[string]load.Report, hit time.Duration) {
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		if took, ok := reports[name].Recovered(hit); ok && reports[name].Job.Kind != load.Knock {
			fmt.Fprintf(os.Stderr, "    %-32s %v\n", name, took.Round(time.Millisecond))
		}
	}
}

// lastProblem words how the latest attempt that failed did.
func lastProblem(r load.Report, from time.Duration) string {
	failed := r.Failures(from)
	if len(failed) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s)", failed[len(failed)-1].Problem)
}

// disturbance is how long the machine may keep a process waiting that has nothing to do with footbridge. In a round
// in which it was longer, times are not judged, and the round is done again.
const disturbance = 60 * time.Millisecond

// settle is how long things must stay as they should be after they have become so.
const settle = 200 * time.Millisecond

// try does all rounds of a fault.
func (c *chaos) try(f fault) *row {
	r := &row{fault: f}
	if c.before == nil {
		var err error
		if c.before, err = c.look(); err != nil {
			r.lose("looking before the fault: %v", err)
			return r
		}
	}
	for r.tried < f.rounds(*rounds)+r.disturbed {
		r.tried++
		if err := c.round(f, r, c.before); err != nil {
			r.lose("%v", err)
			break
		}
	}
	if f.after != nil {
		if err := f.after(c); err != nil {
			r.lose("%v", err)
		}
	}
	c.compareThings(r, c.before)
	if len(r.lost) > 0 {
		c.before = nil // so that what is lost is told once
	}
	return r
}

// round does a fault once. An error means that no further round makes sense.
func (c *chaos) round(f fault, r *row, before *view) error {
	if err := c.healthy(); err != nil {
		return err
	}
	mark := load.Now()
	hit, err := f.do(c, r)
	if err != nil {
		return err
	}
	var reports map[string]load.Report
	var missing []string
	var took time.Duration
	var last string
	world.Poll(max(3*f.limit(), 5*time.Second), func() bool {
		if reports, err = c.stage.Hub.Reports(hit); err != nil {
			return true
		}
		took, last, missing = recovered(reports, hit)
		return len(missing) == 0
	})
	if err != nil {
		return err
	}
	for _, name := range missing {
		r.lose("%s does not work again", name)
	}
	time.Sleep(settle) // not to wait for something: to see that nothing comes
	if reports, err = c.stage.Hub.Reports(mark); err != nil {
		return err
	}
	// The machine's own fault: what took how long says nothing then. Seldom, or it would never end.
	if slowest := reports[load.Machine].Slowest(mark); slowest > disturbance && r.disturbed < f.rounds(*rounds) && len(missing) == 0 {
		r.disturbed++
		c.judgeLasting(f, r, reports, mark)
		return c.compareDefinitions(r, before)
	}
	r.recovered = append(r.recovered, took)
	if *verbose {
		fmt.Fprintf(os.Stderr, "%s, round %d: %v (%s)\n", f.name, r.tried, took, last)
		if took > f.limit()/2 {
			tellEach(reports, hit)
		}
	}
	if took > f.limit() && len(missing) == 0 {
		r.lose("everything works again after %v, over %v: %s is the last", took, f.limit(), last)
	}
	c.judgeLasting(f, r, reports, mark)
	c.judgeTimes(f, r, reports, mark, hit, took)
	return c.compareDefinitions(r, before)
}
