package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/footbridge-net/footbridge/engine/worker"
	"github.com/footbridge-net/footbridge/tap"
)

// A bare attachment is one interface that is made in the namespace of a runtime, which sets
// it up and moves it to a container of its own; see tap's bare.go. The namespace is where it
// begins and, if all goes well, ends; as long as its queue is held here nobody needs to know
// where it is in between.
//
//	attach                 runtime's namespace: made, refused if the name is taken
//	(the runtime moves it)
//	next daemon, detach    runtime's namespace, else those beside it: found by its MAC

// errBare refuses what takes the namespace that a bare attachment's interface is in.
func errBare(name, what string) error {
	return conflict("container %s cannot %s: its interface belongs to the runtime that asked for it; end the attachment with `footbridge detach %s`", name, what, name)
}

// bare reports whether others set up and move the container's interface.
func (c *ContainerDef) bare() bool { return c.Foreign != nil && c.Foreign.Bare }

// checkBare refuses a bare attachment that has not exactly one network.
func checkBare(def *ContainerDef) error {
	switch {
	case !def.bare():
		return nil
	case len(def.Attachments) != 1:
		return invalid("a bare interface is on one network, and %d were asked for: attach it once for each", len(def.Attachments))
	case def.Foreign.Files:
		return invalid("no files are written for a bare interface: its container's are the runtime's")
	}
	return nil
}

// plugBare makes the link's bare interface, or finds it where it was moved.
func (e *Engine) plugBare(ctx context.Context, r *run, l *link, spec worker.Link) (Port, error) {
	port, err := l.plane.Attach(ctx, r.ns, spec)
	if !errors.Is(err, tap.ErrNoDevice) {
		return port, err
	}
	found := e.eachBeside(r.ns, func(ns tap.Namespaces) bool {
		p, perr := l.plane.Attach(ctx, ns, spec)
		if perr != nil && !errors.Is(perr, tap.ErrNoDevice) {
			err = perr
		}
		port = p
		return perr == nil
	})
	if found {
		return port, nil
	}
	return nil, fmt.Errorf("the interface that was made for a runtime: %w", err)
}

// unplugBare removes the link's bare interface, wherever it is.
func (e *Engine) unplugBare(ctx context.Context, ns tap.Namespaces, ep *Endpoint) error {
	remove := func(ns tap.Namespaces) error {
		return e.opts.Places.UnplugBare(ctx, ns, ep.Interface, [6]byte(ep.MAC))
	}
	err := remove(ns)
	if !errors.Is(err, tap.ErrNoDevice) {
		return err
	}
	// In none of them: it went with the namespace that it was in.
	var failed error
	e.eachBeside(ns, func(ns tap.Namespaces) bool {
		err := remove(ns)
		if err != nil && !errors.Is(err, tap.ErrNoDevice) {
			failed = errors.Join(failed, err)
		}
		return err == nil
	})
	return failed
}

// listenersIn is where the container's own servers are, as far as that is known.
func (r *run) listenersIn(def *ContainerDef) tap.Namespaces {
	if def.bare() {
		return tap.Namespaces{}
	}
	return r.ns
}

// eachBeside calls f for the namespaces beside ns until it returns true.
func (e *Engine) eachBeside(ns tap.Namespaces, f func(tap.Namespaces) bool) bool {
	all, err := e.opts.Places.Beside(ns)
	if err != nil {
		e.log.Warn("namespaces of a runtime not looked through", "error", err)
	}
	done := false
	for _, ns := range all {
		done = done || f(ns)
		if err := ns.Close(); err != nil {
			e.log.Debug("namespace not let go", "error", err)
		}
	}
	return done
}
