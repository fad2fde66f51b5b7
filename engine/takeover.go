package engine

import (
	"context"
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/tap"
)

// takeOver connects a running container to its networks again. What fails is told
// of and tried again in the background: a container is not ended because a port
// is taken or a helper found no memory; c.op is held.
func (e *Engine) takeOver(c *ctr, r *run) {
	ctx, cancel := context.WithTimeout(e.ctx, takeOverTimeout)
	defer cancel()
	e.mu.Lock()
	def, current := c.def.clone(), c.run == r
	e.mu.Unlock()
	if !current {
		return // stopped before its turn came
	}
	wanted := def.Bindings
	if len(def.Rebind) > 0 {
		wanted = def.Rebind
	}
	bound, lacks := e.connectAgain(ctx, c, r, wanted)
	if e.ctx.Err() != nil {
		return // the daemon ends: what could not be done says nothing
	}
	state, err := r.process.State(ctx)
	if err != nil {
		e.log.Warn("container taken over without its present state", "container", def.Name, "error", err)
	}
	e.noteTakeOver(c, r, bound, wanted, lacks, state)
	e.log.Info("container taken over", "container", def.Name)
	if len(lacks) > 0 {
		e.background.Go(func() { e.mend(c, r, wanted) })
	}
}

// noteTakeOver records what was connected again, and what was not; state may be
// zero. Only then is nothing lacking any more.
func (e *Engine) noteTakeOver(c *ctr, r *run, bound, wanted []Binding, lacks map[string]error, state shim.State) {
	err := e.change(c, func(d *ContainerDef) {
		if state.PID != 0 {
			d.State.Pid = state.PID
		}
		if !state.StartedAt.IsZero() {
			d.State.Started = state.StartedAt.UTC()
		}
		d.State.Status = container.StateRunning
		d.takeRun(r, bound)
		d.Rebind = nil
		if len(lacks) > 0 { // else what is not bound has no way in, and no claim to its port
			d.Rebind = d.unbound(wanted, bound)
		}
	})
	if err != nil {
		e.log.Error("state not written", "container", c.def.Name, "error", err)
	}
	for what, cause := range lacks {
		if !r.flaws.has(what) { // not once a try
			e.log.Error("container goes on with a flaw; it is tried again", "container", c.def.Name, "what", what, "error", cause)
		}
	}
	r.flaws.become(lacks)
}

// connectAgain makes those of the container's endpoints and published ports that
// are not there. It returns what is bound then, and what could not be made and
// why; c.op is held.
func (e *Engine) connectAgain(ctx context.Context, c *ctr, r *run, wanted []Binding) (bound []Binding, lacks map[string]error) {
	bound, lacks = r.bindings(), map[string]error{}
	def := e.snapshot(c)
	if len(r.links) == 0 && len(def.Attachments) > 0 { // their addresses could not be had
		if r.links, lacks[flawNetworks] = e.reserveAll(c); lacks[flawNetworks] != nil {
			return bound, lacks
		}
		delete(lacks, flawNetworks)
	}
	if len(r.links) > 0 && !r.hasNS {
		var err error
		if r.ns, err = r.process.Namespaces(ctx); err != nil {
			lacks[flawNetworks] = err
			return bound, lacks
		}
		r.hasNS = true
	}
	if err := e.lookInto(ctx, c, r); err != nil {
		lacks[flawNetworks] = err
		return bound, lacks
	}
	routes := chooseGateways(r.links)
	for _, l := range r.links {
		if l.port != nil {
			continue
		}
		e.detach(l) // what an earlier try left
		l.existing = tap.Keep
		if err := e.attach(ctx, c, r, l, routes); err != nil {
			e.detach(l)
			lacks[flawNetwork+l.n.def.Name] = err
		}
	}
	e.replug(ctx, c, r, true, lacks)
	e.replug(ctx, c, r, false, lacks)
	var err error
	if bound, err = e.publishPorts(def, r, wanted); err != nil {
		lacks[flawPorts] = err
	}
	e.updateFiles(def, r.links)
	return bound, lacks
}

// unbound returns all of wanted when one of the container's wishes in it has nothing
// that is bound: the same ports are to be had, whenever that is. Else nil.
func (c *ContainerDef) unbound(wanted, bound []Binding) []Binding {
	o := publishOptions(c, gateways{})
	wanted = slices.Clone(wanted)
	wanted = slices.DeleteFunc(wanted, func(b Binding) bool { return !o.Has(b.id()) })
	for _, w := range wanted {
		if !slices.ContainsFunc(bound, func(b Binding) bool { return b.id() == w.id() }) {
			return wanted
		}
	}
	return nil
}

// mendTimeout bounds one more try: whoever wants to stop the container waits for
// it.
const mendTimeout = 5 * time.Second

// mend tries what takeOver could not do until it is done or the run is over.
func (e *Engine) mend(c *ctr, r *run, wanted []Binding) {
	again := newBackoff()
	defer again.stop()
	for r.flaws.any() {
		select {
		case <-e.ctx.Done():
			return
		case <-r.done:
			return
		case <-again.after():
		}
		if !e.mendOnce(c, r, wanted) {
			return
		}
	}
	e.log.Info("container is whole again", "container", c.def.Name)
}

// mendOnce is one try; false when there is nothing left to try.
func (e *Engine) mendOnce(c *ctr, r *run, wanted []Binding) bool {
	c.op.Lock()
	defer c.op.Unlock()
	e.mu.Lock()
	current := c.run == r
	e.mu.Unlock()
	if !current {
		return false
	}
	ctx, cancel := context.WithTimeout(e.ctx, mendTimeout)
	defer cancel()
	bound, lacks := e.connectAgain(ctx, c, r, wanted)
	if e.ctx.Err() != nil {
		return false
	}
	e.noteTakeOver(c, r, bound, wanted, lacks, shim.State{})
	return true
}
