package main

import (
	"context"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/footbridge-net/footbridge/api"
)

// defaultIdleTimeout is how long a daemon without work stays: long enough for a
// user who is thinking, short enough that nobody finds it the next morning.
const defaultIdleTimeout = 5 * time.Minute

// lifetime decides when the daemon has nothing to do any more: no container
// runs and no request was under way for a while. It is the Backend that the
// server gets, so that a client which asks whether the daemon is there is never
// told yes by one that is about to end.
type lifetime struct {
	api.Backend
	timeout time.Duration // 0: never ends by itself
	now     func() time.Time
	// idle reports whether no container runs; it is engine.Engine.Idle.
	idle func() bool
	// activity is api.Server.Activity.
	activity func() (inFlight int, lastEnd time.Time)

	mu       sync.Mutex
	ending   bool
	lastBusy time.Time           // when something other than a request last happened
	outcome  *api.UpgradeOutcome // of the last upgrade; nil: there was none
}

// Status implements api.Backend.
func (l *lifetime) Status(ctx context.Context) (api.Status, error) {
	s, err := l.Backend.Status(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Upgrade = l.outcome
	return s, err
}

// upgraded notes how an upgrade ended.
func (l *lifetime) upgraded(outcome *api.UpgradeOutcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcome = outcome
}

// Ping implements api.Backend.
func (l *lifetime) Ping(ctx context.Context) error {
	l.mu.Lock()
	ending := l.ending
	l.mu.Unlock()
	if ending {
		return api.Errorf(errdefs.ErrUnavailable, "the footbridge daemon is about to end")
	}
	return l.Backend.Ping(ctx)
}

// end makes Ping refuse from now on.
func (l *lifetime) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = true
}

// wait returns when the daemon has been idle for the timeout, or ctx has ended.
func (l *lifetime) wait(ctx context.Context) {
	if l.timeout <= 0 {
		<-ctx.Done()
		return
	}
	l.lastBusy = l.now()
	go l.followEvents(ctx)
	timer := time.NewTimer(l.timeout)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		left := l.check()
		if left <= 0 {
			return
		}
		timer.Reset(left)
	}
}

// followEvents counts what happens to containers without a request, such as
// their end, as work.
func (l *lifetime) followEvents(ctx context.Context) {
	for ctx.Err() == nil {
		events, err := l.Events(ctx, api.EventsOptions{})
		if err != nil {
			return // then only requests count, which is no harm
		}
		for range events {
			l.mu.Lock()
			l.lastBusy = l.now()
			l.mu.Unlock()
		}
	}
}

// check returns how long the daemon still has to stay; with nothing left it is
// marked as ending.
func (l *lifetime) check() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	inFlight, last := l.activity()
	if inFlight > 0 || !l.idle() {
		return l.timeout // when it has ended, the time since then counts
	}
	if l.lastBusy.After(last) {
		last = l.lastBusy
	}
	left := l.timeout - l.now().Sub(last)
	if left <= 0 {
		l.ending = true
	}
	return left
}
