package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/footbridge-net/footbridge/engine/foreign"
	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/tap"
)

// The life of an attachment inside a namespace that others made:
//
//	find, register   look, reserve; on disk
//	attachSteps   interfaces, ports, lo
//	unplugForeign, restoreForeign   the way back, of which nothing of ours is left there
//	findForeign, clearForeign   after a daemon that was not there

// found is a namespace that is to be attached, and what there is for it already.
type found struct {
	place foreign.Place
	ns    tap.Namespaces
	owner foreign.Owner
	view  tap.View
	leave func()  // ends the helper in there
	links []*link // reserved
}

// attachSteps does the work of a start in a namespace that others made. Whatever it
// leaves in r is for teardown; c.op is held.
func (e *Engine) attachSteps(ctx context.Context, c *ctr, r *run) (err error) {
	def := e.snapshot(c)
	r.process = newForeignProcess(e.opts.Places, def.Foreign.Place, def.Name)
	r.ns, r.hasNS, r.links = c.found.ns, true, c.found.links
	c.found = nil
	if err := os.MkdirAll(e.runtimeDir(def.ID), 0o700); err != nil {
		return err
	}
	routes := chooseGateways(r.links)
	for _, l := range r.links {
		if err := e.attach(ctx, c, r, l, routes); err != nil {
			return fmt.Errorf("failed to set up container networking: %w", interfaceError(err))
		}
		e.networkEvent(events.ActionConnect, &l.n.def, c.def)
	}
	if def.Foreign.Files {
		mode, err := def.mode()
		if err == nil {
			err = e.writeFiles(def, mode, r.links, &shim.Spec{Hostname: hostname(def)})
		}
		if err != nil {
			return err
		}
	}
	bindings, err := e.publishPorts(def, r, nil)
	if err != nil {
		return fmt.Errorf("failed to set up container networking: driver failed programming external connectivity on endpoint %s (%s): %w", def.Name, r.wayID(), err)
	}
	// Last: what is refused has changed nothing.
	if !def.bare() {
		if err := e.opts.Places.Loopback(ctx, r.ns, true); err != nil {
			return err
		}
	}
	return e.change(c, func(d *ContainerDef) {
		d.State = StateDef{Status: container.StateRunning, Pid: d.Foreign.Process.PID, Started: e.now()}
		d.takeRun(r, bindings)
	})
}

// interfaceError gives an error about an interface in a namespace of others its class.
func interfaceError(err error) error {
	if errors.Is(err, tap.ErrExists) {
		return conflict("%w", err)
	}
	return err
}

// look says what is in a namespace.
func (e *Engine) look(ctx context.Context, ns tap.Namespaces) (tap.View, error) {
	view, f, err := e.opts.Places.Look(ctx, ns)
	if f != nil {
		err = errors.Join(err, f.Close())
	}
	return view, err
}

// lookInto notes what the namespace has of its own, if others made it: interfaces, whose
// names are not taken, and default routes, which stay; c.op is held.
func (e *Engine) lookInto(ctx context.Context, c *ctr, r *run) error {
	if c.def.Foreign == nil || !r.hasNS {
		return nil
	}
	view, err := e.look(ctx, r.ns)
	if err != nil {
		return fmt.Errorf("look into the network namespace %s: %w", c.def.Foreign.Place, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c.noteView(view)
	return nil
}

// noteView notes what a namespace has of its own; Engine.mu is held.
func (c *ctr) noteView(view tap.View) {
	var ours []string
	for _, a := range c.def.Attachments {
		if a.Endpoint != nil {
			ours = append(ours, a.Endpoint.Interface)
		}
	}
	theirs := func(over []string) []string {
		return slices.DeleteFunc(slices.Clone(over), func(name string) bool { return slices.Contains(ours, name) })
	}
	f := *c.def.Foreign
	if !f.Bare { // whose routes are made elsewhere
		f.Own4, f.Own6 = theirs(view.Default4), theirs(view.Default6)
	}
	c.def.Foreign, c.taken = &f, view.Interfaces
}

// unplugForeign removes the link's interface from a namespace that others made. From a
// container of footbridge's own it goes with the namespace; c.op is held.
func (e *Engine) unplugForeign(c *ctr, r *run, l *link) {
	if c.def.Foreign == nil {
		return
	}
	if l.port != nil {
		if err := l.port.Close(); err != nil {
			e.log.Warn("endpoint not closed cleanly", "network", l.n.def.Name, "error", err)
		}
		l.port = nil
	}
	if l.existing == tap.Refuse || !r.hasNS { // never made, or out of reach
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	if err := e.unplugFrom(ctx, r.ns, c.def, l.ep); err != nil {
		e.log.Warn("interface not removed", "container", c.def.Name, "interface", l.ep.Interface, "error", err)
	}
}

// unplugFrom removes an endpoint's interface from a namespace that others made.
func (e *Engine) unplugFrom(ctx context.Context, ns tap.Namespaces, def *ContainerDef, ep *Endpoint) error {
	if def.bare() {
		return e.unplugBare(ctx, ns, ep)
	}
	return e.opts.Places.Unplug(ctx, ns, ep.Interface)
}

// restoreForeign gives back a namespace that was detached as it was, after the last
// interface has been unplugged. Where the attachment has ended otherwise, somebody in
// there may go on, and use what there is; c.op is held.
func (e *Engine) restoreForeign(c *ctr, r *run) {
	p, ok := r.process.(*foreignProcess)
	if !ok || !r.hasNS || !p.wasReleased() || !c.def.Foreign.NoLoopback {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	if err := e.opts.Places.Loopback(ctx, r.ns, false); err != nil {
		e.log.Warn("loopback interface not taken down again", "container", c.def.Name, "error", err)
	}
}

// findForeign finds the namespace of an attached container after a restart; see
// findProcess for its errors.
func (e *Engine) findForeign(def *ContainerDef) (Process, error) {
	err := e.opts.Places.Check(def.Foreign.Place)
	if !def.running() || errors.Is(err, foreign.ErrGone) {
		return nil, errors.Join(errEnded, err)
	}
	// What cannot be told for the moment is asked until it can, by Wait.
	return newForeignProcess(e.opts.Places, def.Foreign.Place, def.Name), nil
}

// clearForeign removes what is left in a namespace that others made of an attachment
// that has ended without a daemon, as far as it can be reached; c.op is held.
func (e *Engine) clearForeign(def *ContainerDef) {
	place := def.Foreign.Place
	place.Holder = foreign.Process{} // who may have ended
	ctx, cancel := context.WithTimeout(e.ctx, takeOverTimeout)
	defer cancel()
	ns, err := newForeignProcess(e.opts.Places, place, def.Name).Namespaces(ctx)
	if err != nil {
		return
	}
	defer ns.Close()
	for _, a := range def.Attachments {
		if a.Endpoint == nil {
			continue
		}
		if err := e.unplugFrom(ctx, ns, def, a.Endpoint); err != nil {
			e.log.Warn("interface not removed", "container", def.Name, "interface", a.Endpoint.Interface, "error", err)
		}
	}
}

// foreignIn returns the attached container that a runtime directory is of, or nil.
func foreignIn(dir string) *ContainerDef {
	if d, err := readCopy(dir); err == nil && d.Container.Foreign != nil {
		return d.Container
	}
	return nil
}

// foreignExit is how an attachment counts that has ended without a daemon.
func (e *Engine) foreignExit() shim.Exit { return shim.Exit{FinishedAt: e.now()} }
