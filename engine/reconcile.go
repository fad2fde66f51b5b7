package engine

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/footbridge-net/footbridge/engine/shim"
)

// exitLost is the exit code of a container that ended while nobody looked and
// that left no word about it, as Docker's.
const exitLost = 255

const (
	// atOnce is how many containers are asked, or connected again, at the same
	// time: each takes some files and, when it is connected, a helper process.
	atOnce = 32
	// firstLook is how long the start waits for a container to say that it
	// lives. It takes a millisecond; whoever takes longer is asked again later.
	firstLook = 500 * time.Millisecond
	// lookTimeout bounds the same when nobody waits for it.
	lookTimeout = 5 * time.Second
	// takeOverPatience is how long the start waits for networks to be connected
	// again. What takes longer goes on behind its back.
	takeOverPatience = time.Second
	// takeOverTimeout bounds what connecting one container may take.
	takeOverTimeout = 20 * time.Second
)

// inParallel calls f for every element, some of them at the same time, and returns
// when all calls have.
func inParallel[T any](all []T, f func(int, T)) {
	var calls sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, v := range all {
		slots <- struct{}{}
		calls.Go(func() {
			f(i, v)
			<-slots
		})
	}
	calls.Wait()
}

// reconcile makes the engine's knowledge true again after a restart: containers
// that live are taken over with the addresses that they have, others are noted as
// ended, and those that do not say are taken for alive and asked again. Whoever
// asks for one meanwhile waits for its op lock.
func (e *Engine) reconcile() {
	all := e.allContainers()
	runs := make([]*run, len(all))
	for i, c := range all {
		c.op.Lock()
		runs[i] = &run{done: make(chan struct{})}
		if !c.def.running() {
			continue
		}
		e.mu.Lock()
		c.run = runs[i]
		e.mu.Unlock()
		// All addresses first, so that no one's is given to another.
		var err error
		if runs[i].links, err = e.reserveAll(c); err != nil {
			e.log.Error("container is without its networks for now", "container", c.def.Name, "error", err)
		}
	}
	done := make(chan struct{})
	e.background.Go(func() {
		defer close(done)
		inParallel(all, func(i int, c *ctr) {
			e.findAgain(c, runs[i])
			c.op.Unlock()
		})
	})
	select {
	case <-done:
	case <-time.After(takeOverPatience):
	}
}

// findAgain settles whether a container lives, and makes it so; c.op is held.
func (e *Engine) findAgain(c *ctr, r *run) {
	p, err := e.findProcess(c, firstLook)
	if errors.Is(err, errEnded) {
		e.mu.Lock()
		for _, l := range r.links {
			e.unreserve(c, l)
		}
		c.run = nil
		e.mu.Unlock()
		close(r.done)
		e.noteEnd(c)
		return
	}
	if err != nil && !e.snapshot(c).running() {
		// On record before its command runs: what does not answer is at most what
		// a start has left that was cut off.
		e.background.Go(func() { e.clearUnstarted(c) })
		return
	}
	var late *lateProcess
	if r.process = p; err != nil {
		late = e.newLate(c, err)
		r.process = late
		r.flaws.become(map[string]error{flawMute: err})
	}
	e.mu.Lock()
	c.run = r
	c.def.State.Status = container.StateRunning
	e.mu.Unlock()
	e.watch(c, r)
	if late != nil {
		e.background.Go(func() { e.awaitAnswer(c, r, late) })
		return
	}
	e.takeOver(c, r)
}

// clearUnstarted clears away what the start of a container has left that was cut
// off before its command ran, as soon as its processes can be asked.
func (e *Engine) clearUnstarted(c *ctr) {
	again := newBackoff()
	defer again.stop()
	for over := false; !over; {
		select {
		case <-e.ctx.Done():
			return
		case <-again.after():
		}
		c.op.Lock()
		e.mu.Lock()
		over = c.gone || c.run != nil
		e.mu.Unlock()
		var cause error
		if !over {
			var p Process
			if p, cause = e.findProcess(c, lookTimeout); cause == nil {
				cause = errors.Join(errEnded, p.Remove(e.ctx), p.Close()) // it runs what it should not
			}
			over = errors.Is(cause, errEnded)
		}
		c.op.Unlock()
		if errors.Is(cause, errEnded) {
			e.noteEnd(c)
		}
	}
}

// errEnded: the processes are there no more, or are no use.
var errEnded = errors.New("container has ended")

// trace is what is known of a container's processes.
func (e *Engine) trace(c *ctr) shim.Trace {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := shim.Trace{Dir: e.runtimeDir(c.def.ID), ID: c.def.ID, PID: c.def.State.Pid}
	if c.def.Foreign != nil {
		t.PID = 0 // not a shim's child
	}
	return t
}

// findProcess finds the processes of a container that runs. An error that matches
// errEnded is certain: nothing of them is left then. Any other one says only that
// they could not be asked.
func (e *Engine) findProcess(c *ctr, timeout time.Duration) (Process, error) {
	ctx, cancel := context.WithTimeout(e.ctx, timeout)
	defer cancel()
	if def := e.snapshot(c); def.Foreign != nil {
		return e.findForeign(def)
	}
	trace := e.trace(c)
	if _, err := os.Lstat(trace.Dir); errors.Is(err, os.ErrNotExist) && !e.snapshot(c).running() {
		return nil, errEnded // most containers that do not run: no descriptor is needed to see it
	}
	p, err := e.opts.Runtime.Connect(ctx, trace.Dir)
	if err != nil {
		return nil, e.judge(trace, err)
	}
	state, err := p.State(ctx)
	switch {
	case err == nil && state.Status == shim.Running:
		return p, nil
	case err != nil:
		if cerr := p.Close(); cerr != nil {
			e.log.Debug("processes not let go", "container", c.def.Name, "error", cerr)
		}
		return nil, e.judge(trace, err)
	}
	// It has ended, or was never started: the daemon died before it could be.
	if err := p.Remove(ctx); err != nil && !isGone(err) {
		e.log.Warn("processes not removed", "container", c.def.Name, "error", err)
	}
	return nil, errEnded
}

// judge adds errEnded to the error of asking processes when it is certain that
// there are none. The lack of an answer alone is not: it may be that of files, of
// memory or of time, or somebody removed the socket.
func (e *Engine) judge(trace shim.Trace, err error) error {
	switch {
	case !isGone(err):
		return err
	case e.opts.Runtime.Lives(trace):
		return errors.New("its processes live, and their socket is gone")
	}
	return errors.Join(errEnded, err)
}

// noteEnd records that a container does not run, and clears away what is left;
// c.op is held.
func (e *Engine) noteEnd(c *ctr) {
	dir := e.runtimeDir(c.def.ID)
	wasRunning := c.def.running()
	exit, err := e.opts.Runtime.LastExit(dir)
	if err != nil {
		exit = e.lostExit()
	}
	if def := e.snapshot(c); def.Foreign != nil {
		exit = e.foreignExit()
		e.clearForeign(def)
	}
	if err := os.RemoveAll(dir); err != nil {
		e.log.Warn("runtime directory not removed", "container", c.def.Name, "error", err)
	}
	if !wasRunning && !c.def.HostConfig.AutoRemove {
		return
	}
	if wasRunning {
		if err := e.change(c, func(d *ContainerDef) { d.exited(exit) }); err != nil {
			e.log.Error("state not written", "container", c.def.Name, "error", err)
		}
		e.containerEvent(events.ActionDie, e.snapshot(c), "exitCode", itoa(exit.Code))
	}
	if c.def.HostConfig.AutoRemove {
		e.removeEnded(c)
	}
}

func (e *Engine) lostExit() shim.Exit {
	return shim.Exit{Code: exitLost, FinishedAt: e.now(), Error: "it ended while no footbridge daemon looked, and left no exit code"}
}

func (e *Engine) newLate(c *ctr, cause error) *lateProcess {
	e.log.Warn("container does not answer: it is taken for alive and asked again", "container", c.def.Name, "error", cause)
	return newLate(e.opts.Runtime, e.trace(c), c.def.Name, e.lostExit(), cause)
}

// awaitAnswer asks a container that is taken for alive until it answers or is
// known to have ended.
func (e *Engine) awaitAnswer(c *ctr, r *run, l *lateProcess) {
	again := newBackoff()
	defer again.stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-r.done: // torn down meanwhile
			return
		case <-l.kick:
		case <-again.after():
		}
		p, err := e.findProcess(c, lookTimeout)
		switch {
		case err == nil:
			c.op.Lock()
			l.answer(p)
			e.takeOver(c, r)
			c.op.Unlock()
			return
		case errors.Is(err, errEnded):
			l.end() // whoever waits for the end does the rest
			return
		default:
			l.blame(err)
			r.flaws.set(flawMute, err)
		}
	}
}
