package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/footbridge-net/footbridge/portfwd"
)

// Bounds of starting again.
const (
	// A worker that died this often within recentTime is not started at once: what
	// kills it may kill the next one too. Each start costs some 30 ms of a CPU.
	recentDeaths = 5
	recentTime   = 10 * time.Second
	// Pauses between starts after that: from the first to the second one.
	minPause = 250 * time.Millisecond
	maxPause = 5 * time.Second
	// A worker that no network needs is kept for the next one this long: a start
	// is some 20 ms of a container's, which often come one after the other.
	defaultRest = 5 * time.Second
)

// start brings a worker up with all facts; s.mu is held. When it fails it is tried
// again later, and the error says why there is no worker.
func (s *Supervisor) start() error {
	err := s.bringUp()
	if err != nil {
		s.lastExit = err.Error()
		s.died(time.Now())
		s.log.Error("no packets are carried: the worker cannot be started", "error", err)
		s.later()
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	return nil
}

// bringUp starts a worker and makes it the one; s.mu is held.
func (s *Supervisor) bringUp() error {
	begin := time.Now()
	p, err := startProcess(s.lock, s.output, s.patience)
	if err != nil {
		s.endPrevious()
		return err
	}
	facts := s.ordered()
	failed, started := 0, false
	start := func() {
		started = true
		s.killPrevious()                              // now and not before: until here it has carried the frames
		_ = p.request(request{Op: opStart}, nil, nil) // or it is broken
	}
	for i, f := range facts {
		if ranks[f.kind] >= firstServed && !started {
			start()
		}
		s.repair(f)
		if err := p.send(f); p.broken() {
			s.endPrevious()
			p.end()
			return fmt.Errorf("bring up a worker, step %d of %d (%s): %w", i+1, len(facts), f.kind, err)
		} else if err != nil {
			failed++
			s.log.Error("not taken over by the new worker", "kind", f.kind, "key", f.key, "error", err)
		}
	}
	if !started {
		start()
	}
	s.endPrevious()
	if p.broken() {
		p.end()
		return fmt.Errorf("bring up a worker: %s", p.exit())
	}
	s.live = p
	s.ended.Go(func() { s.watch(p) })
	s.ended.Go(func() { s.attend(p) })
	s.log.Info("worker is up", "pid", p.pid, "facts", len(facts), "failed", failed, "took", time.Since(begin))
	return nil
}

// repair makes a published port's socket what it was: the worker before may have been a
// container's, and what it did to its sockets would go on in the next one.
func (s *Supervisor) repair(f *fact) {
	if f.kind != kindServe {
		return
	}
	var b serveBody
	err := decode(f.body, &b)
	for _, h := range f.handles {
		err = errors.Join(err, portfwd.Repair(b.Mapping, h))
	}
	if err != nil {
		s.log.Error("a published port is not what it was: restart its container", "key", f.key, "error", err)
	}
}

// watch waits for the end of p and starts another worker unless that was done.
func (s *Supervisor) watch(p *process) {
	<-p.done
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == p && !s.closed && !s.held {
		_ = s.restart() // logged
	}
}

// restart replaces a worker that is broken; s.mu is held.
func (s *Supervisor) restart() error {
	p := s.live
	s.live = nil
	p.end() // it may only have been mute
	s.lastExit = p.exit()
	s.restarts++
	s.log.Error("the worker ended", "pid", p.pid, "how", s.lastExit)
	s.died(time.Now())
	if len(s.recent) > recentDeaths {
		s.later()
		return fmt.Errorf("%w: it ended %d times within %v, the last time: %s", ErrDown, len(s.recent), recentTime, s.lastExit)
	}
	return s.start()
}

// died notes a death; s.mu is held.
func (s *Supervisor) died(now time.Time) {
	s.recent = append(s.recent, now)
	for now.Sub(s.recent[0]) > recentTime {
		s.recent = s.recent[1:]
	}
}

// later tries to start a worker after a pause; s.mu is held.
func (s *Supervisor) later() {
	if s.retry != nil {
		return
	}
	pause := min(minPause<<min(max(len(s.recent)-recentDeaths-1, 0), 8), maxPause)
	s.retry = time.AfterFunc(pause, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.retry = nil
		if s.live == nil && !s.closed && !s.held && s.needed() {
			_ = s.start() // logged
		}
	})
}

// retire ends the worker if no network needs it for a while; s.mu is held.
func (s *Supervisor) retire() {
	if s.needed() || s.live == nil || s.retiring != nil {
		return
	}
	s.retiring = time.AfterFunc(s.rest, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.retiring = nil
		if p := s.live; p != nil && !s.closed && !s.held && !s.needed() {
			s.live = nil // so that nobody misses it
			s.lastExit = ""
			p.end()
		}
	})
}
