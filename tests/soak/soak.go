package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/tests/load"
	"github.com/footbridge-net/footbridge/tests/world"
)

// warmUp is the part of the duration that comes before anything counts: pools fill, caches and tables reach their size.
const warmUp = 0.1

// soak is the stage and what was seen on it.
type soak struct {
	stage      *load.Stage
	samples    []sample
	baseline   sample
	final      sample
	workerEnds int   // that were told
	cycles     []int // rounds of each kind of churn

	mu       sync.Mutex
	failures []string
	attempts map[string]uint64 // by agent and job
}

func newSoak() (*soak, error) {
	stage, err := load.NewStage()
	if err != nil {
		return nil, err
	}
	return &soak{stage: stage, cycles: make([]int, len(churns)), attempts: make(map[string]uint64)}, nil
}

// maxFailures bounds what is told: the first are what the others follow from.
const maxFailures = 40

func (s *soak) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failures) < maxFailures {
		s.failures = append(s.failures, fmt.Sprintf(format, args...))
	}
}

// whole does everything from the warm-up to the last measurement.
func (s *soak) whole() (err error) {
	if err := s.work(max(time.Duration(float64(*duration)*warmUp), 5*time.Second), false); err != nil {
		return err
	}
	if s.baseline, err = s.idle(nil); err != nil {
		return err
	}
	if err := s.work(*duration, true); err != nil {
		return err
	}
	s.final, err = s.idle(&s.baseline)
	return err
}

// answerLimit is how long an answer may take: much longer than any, but for what has been lost.
const answerLimit = 10 * time.Second

// work sets everything up, lets it work for a while and removes it.
func (s *soak) work(long time.Duration, counts bool) error {
	if err := s.stage.SetUp(); err != nil {
		return err
	}
	if err := s.stage.Traffic(load.Intensity{Probe: 20 * time.Millisecond, Frame: 10 * time.Millisecond, Patience: answerLimit, Stream: 5 * time.Millisecond, Bulk: 32 << 10}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	var wg sync.WaitGroup
	for i, c := range churns {
		wg.Go(func() { s.repeat(ctx, i, c, counts) })
	}
	var err error
	if counts {
		err = s.watch(ctx)
	}
	wg.Wait()
	for _, name := range []string{load.Asker, load.Server, load.Hidden, s.stage.Client.Name} {
		agent, gone := s.stage.Hub.Await(name, 0)
		if gone == nil {
			gone = s.finish(agent)
		}
		err = errors.Join(err, gone)
	}
	return errors.Join(err, s.tearDown())
}

// finish ends an agent's jobs and takes down what they saw.
func (s *soak) finish(agent *load.Agent) error {
	reports, err := agent.Reports(0)
	if err != nil {
		return err
	}
	for _, r := range reports {
		s.examine(agent.Name, r)
	}
	return agent.Stop("*")
}

// examine says what is wrong in a report of a job's whole life.
func (s *soak) examine(agent string, r load.Report) {
	name := agent + "/" + r.Job.Name
	s.mu.Lock()
	s.attempts[string(r.Job.Kind)] += r.Total
	s.attempts["bytes of streams"] += r.Bytes
	s.mu.Unlock()
	if r.Longest > standstill && name == load.Machine {
		fmt.Printf("the machine itself kept a process waiting for %v: take what failed with care\n", r.Longest.Round(time.Millisecond))
	}
	switch {
	case r.Job.Kind == load.Knock:
		if open := r.Successes(0); len(open) > 0 || r.Failed+uint64(len(unended(r))) < r.Total {
			s.fail("LET IN: %s, %d times", name, r.Total-r.Failed)
		}
	case r.Failed > 0:
		s.fail("%s: %d of %d failed%s", name, r.Failed, r.Total, whenFailed(r))
	case r.Corrupt != "":
		s.fail("%s: %s", name, r.Corrupt)
	case len(r.Breaks) > 0:
		s.fail("%s broke %d times, first: %s", name, len(r.Breaks), r.Breaks[0].Problem)
	case r.LongestGap(0) > gapLimit:
		s.fail("%s stood still for %v", name, r.LongestGap(0))
	case !answered(r) && r.Job.Kind == load.Stream:
		s.fail("%s read nothing; it stood still at %v", name, r.Gaps)
	case !answered(r):
		s.fail("%s: none of %d attempts succeeded", name, r.Total)
	}
}

// answered reports whether a job has had an answer, if it wants one.
func answered(r load.Report) bool {
	switch r.Job.Kind {
	case load.Knock:
		return true
	case load.Stream:
		return r.Bytes > 0
	}
	return len(r.Successes(0)) > 0
}

// awaitAnswers waits until all jobs of agents have had an answer, no longer than a stream may stand still: what is
// missing then is told by whoever examines them.
func awaitAnswers(agents ...*load.Agent) (err error) {
	world.Poll(gapLimit, func() bool {
		for _, a := range agents {
			var reports []load.Report
			if reports, err = a.Reports(0); err != nil {
				return true
			}
			if slices.ContainsFunc(reports, func(r load.Report) bool { return !answered(r) }) {
				return false
			}
		}
		return true
	})
	return err
}

// whenFailed words how the first failure that is remembered came about.
func whenFailed(r load.Report) string {
	failed := r.Failures(0)
	if len(failed) == 0 {
		return ": " + r.Latest
	}
	since := func(a load.Attempt) time.Duration { return (a.Begin - r.Attempts[0].Begin).Round(time.Millisecond) }
	return fmt.Sprintf(", from %v to %v of %v: %s", since(failed[0]), since(failed[len(failed)-1]), since(r.Attempts[len(r.Attempts)-1]), failed[0].Problem)
}

// standstill is how long the machine may stand still without that being told.
const standstill = 500 * time.Millisecond

// gapLimit is how long a stream may stand still on a machine whose CPUs are all at work.
const gapLimit = 3 * time.Second

func unended(r load.Report) []load.Attempt {
	return slices.DeleteFunc(slices.Clone(r.Attempts), func(a load.Attempt) bool { return a.End != 0 })
}

// tearDown removes everything that SetUp has made.
func (s *soak) tearDown() error {
	for _, args := range [][]string{
		{"rm", "-f", load.Asker, load.Server, load.Hidden}, {"network", "rm", load.Shared, load.Apart},
	} {
		if _, err := s.stage.Footbridge(args...); err != nil {
			return err
		}
	}
	return nil
}

// quiet bounds how long the daemon may take to let go of what its containers had: connections that are closing,
// timers that have been started.
const quiet = 30 * time.Second

// idle measures the daemon without any container, as soon as it is like before, or at the end of the quiet time. Without
// a measurement to compare with, it is when two in a row are alike.
func (s *soak) idle(before *sample) (sample, error) {
	var now sample
	var err error
	world.Poll(quiet, func() bool {
		earlier := now
		if now, err = s.look(); err != nil {
			return true
		}
		if before != nil && now.worker.PID == 0 && earlier.worker.PID != 0 {
			// Without a network the worker ends after a while: what it had kept is in the measurement before.
			now = earlier
			return true
		}
		if before != nil {
			return len(kept(*before, now)) == 0
		}
		time.Sleep(time.Second) // alike over a while: an interval, not a wait
		return maps.Equal(earlier.counts(), now.counts())
	})
	return now, err
}
