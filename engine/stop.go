package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/sys/signal"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/engine/store"
)

const (
	// defaultStopTimeout is Docker's.
	defaultStopTimeout = 10 * time.Second
	// removeTimeout bounds how long the end of killed processes is waited
	// for. SIGKILL to a PID namespace's init takes milliseconds; a process in
	// uninterruptible sleep may take for ever.
	removeTimeout = 30 * time.Second
)

// watch waits for the end of a run in the background and cleans up after it.
func (e *Engine) watch(c *ctr, r *run) {
	e.background.Go(func() {
		exit, err := r.process.Wait(e.ctx)
		if err != nil && e.ctx.Err() != nil {
			return // the daemon ends, the container does not
		}
		if err != nil {
			// The shim is gone without a word: killed, most likely.
			if left, lerr := e.opts.Runtime.LastExit(e.runtimeDir(c.def.ID)); lerr == nil {
				exit = left
			} else {
				exit = shim.Exit{Code: 128 + int(syscall.SIGKILL), FinishedAt: e.now(), Error: err.Error()}
			}
		}
		e.ended(c, r, exit)
	})
}

// ended records the end of a run and undoes all that was made for it.
func (e *Engine) ended(c *ctr, r *run, exit shim.Exit) {
	c.op.Lock()
	defer c.op.Unlock()
	e.teardown(c, r)
	e.mu.Lock()
	c.run = nil
	e.mu.Unlock()
	if exit.FinishedAt.IsZero() {
		exit.FinishedAt = e.now()
	}
	err := e.change(c, func(d *ContainerDef) { d.exited(exit) })
	if err != nil {
		e.log.Error("state not written", "container", c.def.Name, "error", err)
	}
	def := e.snapshot(c)
	e.containerEvent(events.ActionDie, def, "exitCode", itoa(exit.Code))
	e.mu.Lock()
	c.release(func(w container.WaitCondition) bool { return w != container.WaitConditionRemoved }, def.waitResponse())
	e.mu.Unlock()
	close(r.done)
	e.linksChangedLater(def.ID, false)
	if def.HostConfig.AutoRemove {
		e.removeEnded(c)
	}
}

// exited notes how the container ended.
func (c *ContainerDef) exited(exit shim.Exit) {
	c.State.Status = container.StateExited
	c.State.ExitCode, c.State.Error, c.State.Pid = exit.Code, exit.Error, 0
	c.State.Finished = exit.FinishedAt.UTC()
	c.forgetRun()
}

func (c *ContainerDef) waitResponse() container.WaitResponse {
	return container.WaitResponse{StatusCode: int64(c.State.ExitCode)}
}

// teardown undoes a run, however far it came: what leads in first, then the
// endpoints, then the processes, then the addresses, so that nobody gets an
// address that something still answers to; c.op is held.
func (e *Engine) teardown(c *ctr, r *run) {
	e.unpublish(c, r)
	if c.def.Foreign != nil && r.hasNS { // things are undone in there
		var leave func()
		r.ns, leave = r.ns.Keep()
		defer leave()
	}
	for i := len(r.links) - 1; i >= 0; i-- {
		l := r.links[i]
		connected := l.named
		e.unplugForeign(c, r, l)
		e.detach(l)
		if connected {
			e.networkEvent(events.ActionDisconnect, &l.n.def, c.def)
		}
	}
	e.restoreForeign(c, r)
	if r.hasNS {
		if err := r.ns.Close(); err != nil {
			e.log.Warn("namespaces not closed", "container", c.def.Name, "error", err)
		}
		r.hasNS = false
	}
	if r.process != nil {
		ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
		if err := r.process.Remove(ctx); err != nil && !isGone(err) {
			e.log.Warn("processes not removed", "container", c.def.Name, "error", err)
		}
		cancel()
	}
	if err := os.RemoveAll(e.runtimeDir(c.def.ID)); err != nil {
		e.log.Warn("runtime directory not removed", "container", c.def.Name, "error", err)
	}
	e.mu.Lock()
	for _, l := range r.links {
		e.unreserve(c, l)
	}
	e.mu.Unlock()
	r.links = nil
}

// ContainerStop implements api.ContainerBackend.
func (e *Engine) ContainerStop(ctx context.Context, nameOrID string, o api.StopOptions) error {
	c, r, def, err := e.running(nameOrID)
	if err != nil {
		return err
	}
	if r == nil {
		return notModified("container %s does not run", def.Name)
	}
	if err := refuseForeign(def, "stopped"); err != nil {
		return err
	}
	name, timeout := "SIGTERM", defaultStopTimeout
	if def.Config.StopSignal != "" {
		name = def.Config.StopSignal
	}
	if o.Signal != "" {
		name = o.Signal
	}
	sig, err := signal.ParseSignal(name)
	if err != nil {
		return invalid("%w", err)
	}
	seconds := def.Config.StopTimeout
	if o.Timeout != nil {
		seconds = o.Timeout
	}
	if seconds != nil {
		timeout = time.Duration(*seconds) * time.Second
	}
	var late <-chan time.Time // never, for a negative timeout
	if timeout >= 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		late = timer.C
	}
	// What keeps the signal from being delivered (no files, no memory) may pass;
	// until the time is up it is tried again.
	again := newBackoff()
	defer again.stop()
	var retry <-chan time.Time
	deliver := func() {
		retry = nil
		switch err := r.process.Signal(ctx, sig); {
		case err == nil:
			e.containerEvent(events.ActionKill, def, "signal", itoa(int(sig)))
		case !isGone(err):
			e.log.Warn("stop signal not delivered", "container", def.Name, "error", err)
			retry = again.after()
		}
	}
	deliver()
	for running := true; running; {
		select {
		case <-r.done:
			running = false
		case <-retry:
			deliver()
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			if err := e.killAndWait(ctx, def, r); err != nil {
				return err
			}
			running = false
		}
	}
	e.containerEvent(events.ActionStop, e.snapshot(c))
	return nil
}

// killAndWait ends a run by force and waits until it is cleaned up after.
func (e *Engine) killAndWait(ctx context.Context, def *ContainerDef, r *run) error {
	switch err := r.process.Signal(ctx, syscall.SIGKILL); {
	case err == nil:
		e.containerEvent(events.ActionKill, def, "signal", itoa(int(syscall.SIGKILL)))
	case !isGone(err):
		return err
	}
	timer := time.NewTimer(removeTimeout)
	defer timer.Stop()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return conflict("container %s: its process (pid %d) did not end within %v of SIGKILL: it is stuck in the kernel", def.Name, def.State.Pid, removeTimeout)
	}
}

// running returns a container and, if it runs, its run, waiting for a start
// under way.
func (e *Engine) running(nameOrID string) (*ctr, *run, *ContainerDef, error) {
	c, unlock, err := e.lockContainer(nameOrID)
	if err != nil {
		return nil, nil, nil, err
	}
	defer unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	return c, c.run, c.def.clone(), nil
}

// ContainerKill implements api.ContainerBackend.
func (e *Engine) ContainerKill(ctx context.Context, nameOrID, name string) error {
	if name == "" {
		name = "SIGKILL"
	}
	sig, err := signal.ParseSignal(name)
	if err != nil {
		return invalid("%w", err)
	}
	_, r, def, err := e.running(nameOrID)
	if err != nil {
		return fmt.Errorf("cannot kill container: %s: %w", nameOrID, err)
	}
	if err := refuseForeign(def, "signalled"); err != nil {
		return err
	}
	notRunning := func() error {
		return conflict("cannot kill container: %s: container %s is not running", nameOrID, def.ID)
	}
	if r == nil {
		return notRunning()
	}
	if err := r.process.Signal(ctx, sig); err != nil {
		if isGone(err) {
			return notRunning()
		}
		return err
	}
	e.containerEvent(events.ActionKill, def, "signal", itoa(int(sig)))
	if sig != syscall.SIGKILL {
		return nil
	}
	select { // Docker returns when it is dead
	case <-r.done:
	case <-ctx.Done():
	case <-time.After(defaultStopTimeout):
	}
	return nil
}

// ContainerRemove implements api.ContainerBackend.
func (e *Engine) ContainerRemove(ctx context.Context, nameOrID string, o api.RemoveOptions) error {
	c, r, def, err := e.running(nameOrID)
	if err != nil {
		return err
	}
	if r != nil {
		if !o.Force {
			return errRunning(def)
		}
		if err := e.killAndWait(ctx, def, r); err != nil {
			return err
		}
	}
	return e.remove(c)
}

// errRunning refuses to remove a container that runs.
func errRunning(d *ContainerDef) error {
	end := "stop the container before removing or force remove"
	if d.Foreign != nil { // its processes are not ours to stop
		end = fmt.Sprintf("its namespaces were attached: detach it with `footbridge detach %s` or force remove", d.Name)
	}
	return conflict("cannot remove container %q: container is running: %s", "/"+d.Name, end)
}

// removeEnded removes a --rm container after its end; c.op is held.
func (e *Engine) removeEnded(c *ctr) {
	if err := e.removeHeld(c); err != nil {
		e.log.Error("container not removed after its end; it is tried again", "container", c.def.Name, "error", err)
		e.later(c, "not removed", func() error { return e.removeHeld(c) })
	}
}

// remove forgets a container that does not run, and its files. Removing one
// that is gone already is no error.
func (e *Engine) remove(c *ctr) error {
	c.op.Lock()
	defer c.op.Unlock()
	return e.removeHeld(c)
}

// removeHeld is remove with c.op held.
func (e *Engine) removeHeld(c *ctr) error {
	e.mu.Lock()
	if c.gone {
		e.mu.Unlock()
		return nil
	}
	if c.run != nil { // started again meanwhile
		e.mu.Unlock()
		return errRunning(c.def)
	}
	def := c.def.clone()
	e.mu.Unlock()
	logs := filepath.Dir(e.logPath(def.ID))
	if err := os.Rename(logs, logs+removedSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		e.log.Warn("logs of a container that is removed not marked", "container", def.Name, "error", err)
	}
	if err := e.store.Save(store.Delete(store.Containers, def.ID)); err != nil {
		_ = os.Rename(logs+removedSuffix, logs) // done at the next start otherwise
		// Whoever waits for the removal would wait for ever.
		response := def.waitResponse()
		response.Error = &container.WaitExitError{Message: fmt.Sprintf("container %s ended with code %d and could not be removed: %v", def.Name, def.State.ExitCode, err)}
		e.mu.Lock()
		c.release(func(w container.WaitCondition) bool { return w == container.WaitConditionRemoved }, response)
		e.mu.Unlock()
		return err
	}
	err := errors.Join(os.RemoveAll(logs+removedSuffix), os.RemoveAll(logs), os.RemoveAll(e.runtimeDir(def.ID)))
	if err != nil {
		e.log.Warn("files of a removed container are left", "container", def.Name, "error", err)
	}
	e.mu.Lock()
	e.strike(c)
	c.gone = true
	for id, x := range e.execs {
		if x.container == c {
			delete(e.execs, id)
		}
	}
	c.release(func(container.WaitCondition) bool { return true }, def.waitResponse())
	e.mu.Unlock()
	e.endPending(c)
	e.linksChangedLater(def.ID, true)
	e.containerEvent(events.ActionDestroy, def)
	return nil
}

// ContainerWait implements api.ContainerBackend.
func (e *Engine) ContainerWait(ctx context.Context, nameOrID string, condition container.WaitCondition) (<-chan container.WaitResponse, error) {
	switch condition {
	case "":
		condition = container.WaitConditionNotRunning
	case container.WaitConditionNotRunning, container.WaitConditionNextExit, container.WaitConditionRemoved:
	default:
		return nil, invalid("invalid condition: %q: it is not-running, next-exit or removed", condition)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.findContainer(nameOrID)
	if err != nil {
		return nil, err
	}
	w := &waiter{condition: condition, ch: make(chan container.WaitResponse, 1)}
	if condition == container.WaitConditionNotRunning && c.run == nil {
		w.ch <- c.def.waitResponse()
		close(w.ch)
		return w.ch, nil
	}
	c.waiters = append(c.waiters, w)
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		for i, other := range c.waiters {
			if other == w {
				c.waiters = append(c.waiters[:i], c.waiters[i+1:]...)
				close(w.ch)
				return
			}
		}
	})
	return w.ch, nil
}
