package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
)

// NetworkConnect implements api.NetworkBackend.
func (e *Engine) NetworkConnect(_ context.Context, nameOrID string, req network.ConnectRequest) error {
	return e.changeNetworks(nameOrID, req.Container, func(ctx context.Context, c *ctr, n *netw) error {
		a, err := newAttachment(&n.def, req.EndpointConfig)
		if err != nil {
			return err
		}
		return e.connect(ctx, c, n, a)
	})
}

// NetworkDisconnect implements api.NetworkBackend.
func (e *Engine) NetworkDisconnect(_ context.Context, nameOrID string, req network.DisconnectRequest) error {
	return e.changeNetworks(nameOrID, req.Container, func(ctx context.Context, c *ctr, n *netw) error {
		return e.disconnect(ctx, c, n)
	})
}

// changeNetworks finds a network and a container that can be on networks, and
// calls f with the container's op lock.
func (e *Engine) changeNetworks(networkTerm, containerTerm string, f func(context.Context, *ctr, *netw) error) error {
	leave, err := e.enter()
	if err != nil {
		return err
	}
	defer leave()
	e.mu.Lock()
	n, err := e.findNetwork(networkTerm)
	var c *ctr
	if err == nil {
		c, err = e.findContainer(containerTerm)
	}
	e.mu.Unlock()
	if err != nil {
		return err
	}
	if !n.def.isBridge() {
		return forbidden("container cannot be connected to or disconnected from network %s: that is decided when the container is made (--network %s)", n.def.Name, n.def.Name)
	}
	mode, err := parseMode(c.def.HostConfig.NetworkMode)
	if err != nil {
		return err
	}
	if mode.kind != modeNetwork {
		return forbidden("container %s has the network mode %s: it cannot be connected to or disconnected from networks", c.def.Name, c.def.HostConfig.NetworkMode)
	}
	unlock, err := e.lock(c)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return f(ctx, c, n)
}

// connect adds a network to a container, at once if it runs; c.op is held.
func (e *Engine) connect(ctx context.Context, c *ctr, n *netw, a Attachment) error {
	e.mu.Lock()
	r := c.run
	if c.def.attachment(n.def.ID) != nil {
		e.mu.Unlock()
		return forbidden("endpoint with name %s already exists in network %s", c.def.Name, n.def.Name)
	}
	if r == nil {
		e.mu.Unlock()
		if err := e.decide(c, func(d *ContainerDef) { d.Attachments = append(d.Attachments, a) }); err != nil {
			return err
		}
		e.networkEvent(events.ActionConnect, &n.def, c.def)
		return nil
	}
	l, err := e.reserve(c, a, r.links)
	e.mu.Unlock()
	if err != nil {
		return err
	}
	undo := func() {
		e.detach(l)
		e.mu.Lock()
		e.unreserve(c, l)
		e.mu.Unlock()
	}
	if !r.hasNS { // the last network was taken from it
		if r.ns, err = r.process.Namespaces(ctx); err != nil {
			undo()
			return err
		}
		r.hasNS = true
	}
	// Without routes at first: reroute gives them.
	if err := e.attach(ctx, c, r, l, gateways{}); err != nil {
		undo()
		return err
	}
	r.links = append(r.links, l)
	bindings, err := e.reroute(ctx, c, r)
	if err == nil {
		err = e.decide(c, func(d *ContainerDef) {
			d.Attachments = append(d.Attachments, a)
			d.takeRun(r, bindings)
		})
	}
	if err != nil {
		_ = l.plane.Unplug(ctx, r.ns, l.ep.Interface) // the first error is the one to tell
		r.links = slices.DeleteFunc(r.links, func(x *link) bool { return x == l })
		undo()
		if bindings, rerr := e.reroute(ctx, c, r); rerr == nil {
			_ = e.change(c, func(d *ContainerDef) { d.takeRun(r, bindings) })
		}
		return err
	}
	e.hostsLines(c.def, l, true)
	e.networkEvent(events.ActionConnect, &n.def, c.def)
	return nil
}

// disconnect takes a network from a container, at once if it runs; c.op is held.
func (e *Engine) disconnect(ctx context.Context, c *ctr, n *netw) error {
	e.mu.Lock()
	r := c.run
	found := c.def.attachment(n.def.ID) != nil
	e.mu.Unlock()
	if !found {
		return forbidden("container %s is not connected to network %s", c.def.Name, n.def.Name)
	}
	drop := func(d *ContainerDef) {
		d.Attachments = slices.DeleteFunc(d.Attachments, func(a Attachment) bool { return a.NetworkID == n.def.ID })
	}
	if r == nil {
		if err := e.decide(c, drop); err != nil {
			return err
		}
		e.networkEvent(events.ActionDisconnect, &n.def, c.def)
		return nil
	}
	i := slices.IndexFunc(r.links, func(l *link) bool { return l.n == n })
	if i < 0 {
		return fmt.Errorf("container %s has no endpoint on network %s though it runs: stop it and start it again", c.def.Name, n.def.Name)
	}
	// On disk first: what is to come cannot be taken back.
	if err := e.decide(c, drop); err != nil {
		return err
	}
	l := r.links[i]
	r.links = slices.Delete(slices.Clone(r.links), i, i+1)
	if r.published == l {
		e.unpublish(c, r)
	}
	// Another way out before this one goes.
	if err := e.replug(ctx, c, r, true); err != nil {
		e.log.Warn("default route not moved yet", "container", c.def.Name, "error", err)
	}
	// The interface goes last of what the container sees, and first of what
	// can fail: without it the rest is only ours.
	if p := l.plane; l.port != nil && p != nil {
		if err := l.port.Close(); err != nil {
			e.log.Warn("endpoint not closed cleanly", "network", n.def.Name, "error", err)
		}
		l.port = nil
		if err := p.Unplug(ctx, r.ns, l.ep.Interface); err != nil {
			e.log.Warn("interface not removed", "container", c.def.Name, "interface", l.ep.Interface, "error", err)
		}
	}
	e.detach(l)
	e.hostsLines(c.def, l, false)
	e.mu.Lock()
	e.unreserve(c, l)
	e.mu.Unlock()
	bindings, err := e.reroute(ctx, c, r)
	serr := e.change(c, func(d *ContainerDef) { d.takeRun(r, bindings) })
	e.networkEvent(events.ActionDisconnect, &n.def, c.def)
	if err != nil {
		return err
	}
	return serr
}

// reroute makes the container's default routes, published ports, view of names
// and resolv.conf what its present networks say; c.op is held. It returns the
// bindings that hold then.
func (e *Engine) reroute(ctx context.Context, c *ctr, r *run) ([]Binding, error) {
	e.mu.Lock()
	bindings := slices.Clone(c.def.Bindings)
	e.mu.Unlock()
	// The new route replaces the old one, so there is always one.
	if err := e.replug(ctx, c, r, true); err != nil {
		return bindings, err
	}
	if err := e.replug(ctx, c, r, false); err != nil {
		return bindings, err
	}
	for _, l := range r.links {
		if l.plane == nil {
			continue // not connected again yet: mend does it
		}
		e.removeNames(l)
		if err := e.addNames(c.def, l, r.links); err != nil {
			return bindings, err
		}
	}
	if err := e.updateResolvConf(c.def, r.links); err != nil {
		e.log.Warn("resolv.conf of a container not brought up to date", "container", c.def.Name, "error", err)
	}
	switch to := publishLink(r.links); {
	case to == nil || to.plane == nil:
		e.unpublish(c, r)
		return nil, nil
	case to == r.published:
		return bindings, nil
	}
	e.unpublish(c, r)
	return e.publishPorts(c.def, r, bindings)
}

// replug gives the container's default routes to the links that are to have them,
// or takes them from those that are not; c.op is held.
func (e *Engine) replug(ctx context.Context, c *ctr, r *run, give bool) error {
	routes := chooseGateways(r.links)
	for _, l := range r.links {
		loses := l.default4 && routes.v4 != l || l.default6 && routes.v6 != l
		gains := !l.default4 && routes.v4 == l || !l.default6 && routes.v6 == l
		// Without a plane it is not connected again after a restart; without a port
		// an earlier try has failed.
		if l.plane == nil || l.port != nil && (give && !gains || !give && !loses) {
			continue
		}
		// A route is a setting of the interface: taking it over again
		// sets it. Nothing is lost but what is under way this millisecond.
		if l.port != nil {
			if err := l.port.Close(); err != nil {
				e.log.Warn("endpoint not closed cleanly", "network", l.n.def.Name, "error", err)
			}
			l.port = nil
		}
		if err := e.plug(ctx, c.def, r, l, routes); err != nil {
			return err
		}
	}
	return nil
}
