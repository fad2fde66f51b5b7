package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
)

// streamLimit is how long a TCP connection may stand still beyond the time for which nothing can work: a sender whose
// segments were lost waits longer each time, up to about as long again as it has waited already.
const streamLimit = 2 * time.Second

// everybody lists the agents that no fault is about.
var everybody = []string{load.Asker, load.Server, load.Hidden, "client"}

// judgeLasting says what was lost since mark, before the fault, whatever time it took.
func (c *chaos) judgeLasting(f fault, r *row, reports map[string]load.Report, mark time.Duration) {
	for _, agent := range everybody {
		if !slices.ContainsFunc(c.stage.Hub.Agents(), func(a *load.Agent) bool { return a.Name == agent }) {
			r.lose("%s is gone", agent)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		report := reports[name]
		if report.Job.Kind == load.Knock {
			if open := report.Successes(mark); len(open) > 0 {
				r.lose("LET IN: %s, %d times", name, len(open))
			}
		}
		if report.Corrupt != "" {
			r.lose("%s: %s", name, report.Corrupt)
		}
		between := report.Job.Kind == load.Stream && !report.Job.Again
		if len(report.Breaks) > 0 && (between || f.hides(report.Job)) {
			r.lose("%s broke: %s", name, report.Breaks[0].Problem)
		}
		if len(report.Breaks) > 0 && between {
			agent, job, _ := strings.Cut(name, "/")
			if err := c.restart(agent, job, report.Job); err != nil {
				r.lose("%s cannot begin anew: %v", name, err)
			}
		}
	}
}

// judgeTimes says what took too long, or failed when it should work. hit is when recovery began to be measured, took
// how long it lasted.
func (c *chaos) judgeTimes(f fault, r *row, reports map[string]load.Report, mark, hit, took time.Duration) {
	slowest, slow := time.Duration(0), ""
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		report := reports[name]
		switch report.Job.Kind {
		case load.Knock:
		case load.Stream:
			limit := streamLimit * time.Duration(*slack)
			if !f.hides(report.Job) {
				limit += hit - mark + took
			}
			if gap := report.LongestGap(mark); gap > limit {
				r.lose("%s stood still for %v, over %v", name, gap.Round(time.Millisecond), limit.Round(time.Millisecond))
			}
		default:
			from := hit + took
			if f.hides(report.Job) {
				from = mark
				if one := report.Slowest(mark); one > slowest {
					slowest, slow = one, name
				}
			}
			if failed := report.Failures(from); len(failed) > 0 {
				r.lose("%s: %d of %d failed that should not, first %v after the fault: %s", name, len(failed),
					len(failed)+len(report.Successes(from)), (failed[0].Begin - hit).Round(time.Millisecond), failed[0].Problem)
			}
		}
	}
	if f.unseen != nil {
		r.recovered[len(r.recovered)-1] = slowest
		if slowest > f.delay {
			r.lose("%s waited %v for an answer, over %v", slow, slowest, f.delay)
		}
	}
}

// restart begins a job anew.
func (c *chaos) restart(agent, job string, j load.Job) error {
	a, err := c.stage.Hub.Await(agent, time.Second)
	if err != nil {
		return err
	}
	if err := a.Stop(job); err != nil {
		return err
	}
	return a.Start(j)
}
