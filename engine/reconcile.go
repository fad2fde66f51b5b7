package engine

import (
	"context"
	"errors"
	"fmt"
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

// reconcileTimeout bounds what one container may take to be found again.
const reconcileTimeout = 20 * time.Second

// reconcile makes the engine's knowledge true again after a restart: containers
// that live are taken over with the addresses that they have, others are noted as
// ended. It runs before anybody is served.
func (e *Engine) reconcile() {
	type survivor struct {
		c *ctr
		r *run
	}
	var survivors []survivor
	for _, c := range e.allContainers() {
		p, err := e.findProcess(c)
		if err != nil {
			e.noteEnd(c, err)
			continue
		}
		r := &run{process: p, done: make(chan struct{})}
		e.mu.Lock()
		c.run = r
		e.mu.Unlock()
		// All addresses first, so that no one's is given to another.
		if r.links, err = e.reserveAll(c); err != nil {
			e.log.Error("container is without its networks", "container", c.def.Name, "error", err)
		}
		survivors = append(survivors, survivor{c, r})
	}
	var all sync.WaitGroup
	for _, s := range survivors {
		all.Go(func() {
			s.c.op.Lock()
			e.takeOver(s.c, s.r)
			s.c.op.Unlock()
			e.watch(s.c, s.r)
		})
	}
	all.Wait()
}

var (
	// errEnded: the processes are there no more, or are no use.
	errEnded = errors.New("container has ended")
	// errMute: the processes did not answer and were ended.
	errMute = errors.New("it did not answer the new daemon, and was ended")
	// errLeft: the processes neither answer nor could be ended. Their
	// directory stays, so that the next daemon can try again.
	errLeft = errors.New("it does not answer the new daemon and could not be ended")
)

// findProcess finds the processes of a container that runs. What is left of one
// that does not is cleared away.
func (e *Engine) findProcess(c *ctr) (Process, error) {
	ctx, cancel := context.WithTimeout(context.Background(), reconcileTimeout)
	defer cancel()
	p, err := e.opts.Runtime.Connect(ctx, e.runtimeDir(c.def.ID))
	if err != nil {
		return nil, e.endMute(e.runtimeDir(c.def.ID), err)
	}
	state, err := p.State(ctx)
	if err == nil && state.Status == shim.Running {
		return p, nil
	}
	if rerr := p.Remove(ctx); rerr != nil && !isGone(rerr) {
		e.log.Warn("processes not removed", "container", c.def.Name, "error", rerr)
	}
	return nil, errors.Join(errEnded, err)
}

// endMute ends processes that cannot be asked, because of cause: left alone they
// would run on, and nobody could find or stop them. Those that are gone need none.
func (e *Engine) endMute(dir string, cause error) error {
	if isGone(cause) {
		return cause
	}
	ctx, cancel := context.WithTimeout(context.Background(), reconcileTimeout)
	defer cancel()
	if err := e.opts.Runtime.End(ctx, dir); err != nil {
		return fmt.Errorf("%w (%w): %w", errLeft, cause, err)
	}
	return fmt.Errorf("%w: %w", errMute, cause)
}

// noteEnd records that a container does not run.
func (e *Engine) noteEnd(c *ctr, cause error) {
	dir := e.runtimeDir(c.def.ID)
	wasRunning := c.def.running()
	exit, err := e.opts.Runtime.LastExit(dir)
	if err != nil {
		exit = shim.Exit{Code: exitLost, FinishedAt: e.now(), Error: "it ended while no footbridge daemon ran, and left no exit code"}
		if errors.Is(cause, errMute) || errors.Is(cause, errLeft) {
			exit.Error = cause.Error()
		}
		if !isGone(cause) && !errors.Is(cause, errEnded) {
			e.log.Warn("container not found again", "container", c.def.Name, "error", cause)
		}
	}
	if !errors.Is(cause, errLeft) {
		if err := os.RemoveAll(dir); err != nil {
			e.log.Warn("runtime directory not removed", "container", c.def.Name, "error", err)
		}
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
	// One that may live still has to be known, so that it can be tried again.
	if c.def.HostConfig.AutoRemove && !errors.Is(cause, errLeft) {
		if err := e.remove(c); err != nil {
			e.log.Error("container not removed after its end", "container", c.def.Name, "error", err)
		}
	}
}

// takeOver connects a running container to its networks again. What fails is
// logged and left out: a container is not ended because a port is taken; c.op
// is held.
func (e *Engine) takeOver(c *ctr, r *run) {
	ctx, cancel := context.WithTimeout(context.Background(), reconcileTimeout)
	defer cancel()
	def := e.snapshot(c)
	failed := func(what string, err error) {
		if err != nil {
			e.log.Error("container taken over with a flaw", "container", def.Name, "what", what, "error", err)
		}
	}
	if len(r.links) > 0 {
		var err error
		if r.ns, err = r.process.Namespaces(ctx); err != nil {
			failed("namespaces", err)
			return
		}
		r.hasNS = true
		routes := chooseGateways(r.links)
		for _, l := range r.links {
			failed("network "+l.n.def.Name, e.attach(ctx, c, r, l, routes))
		}
	}
	var bindings []Binding
	if l := publishLink(r.links); l != nil && l.plane != nil {
		var err error
		bindings, err = e.publishPorts(def, r, def.Bindings)
		failed("published ports", err)
	}
	failed("resolv.conf", e.updateResolvConf(def, r.links))
	state, err := r.process.State(ctx)
	failed("state", err)
	failed("state on disk", e.change(c, func(d *ContainerDef) {
		d.State.Status = container.StateRunning
		if err == nil {
			d.State.Pid = state.PID
		}
		if !state.StartedAt.IsZero() {
			d.State.Started = state.StartedAt.UTC()
		}
		d.takeRun(r, bindings)
	}))
	e.log.Info("container taken over", "container", def.Name)
}
