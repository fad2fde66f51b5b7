package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/tap"
)

// NetworkConnect implements api.NetworkBackend.
func (e *Engine) NetworkConnect(_ context.Context, nameOrID string, req network.ConnectRequest) error {
	return e.changeNetworks(nameOrID, req.Container, func(ctx context.Context, c *ctr, n *netw) error {
		if err := connectable(c.def, n); err != nil {
			return err
		}
		a, err := newAttachment(&n.def, nameOrID, req.EndpointConfig)
		if err != nil {
			return err
		}
		if !n.def.isBridge() {
			return e.connectNone(c, n)
		}
		if len(a.Links) > 0 && n.def.Predefined {
			return invalid("links on the default network are made with their container: give --link to `footbridge run`, or connect it to another network")
		}
		return e.connect(ctx, c, n, a)
	})
}

// NetworkDisconnect implements api.NetworkBackend.
func (e *Engine) NetworkDisconnect(_ context.Context, nameOrID string, req network.DisconnectRequest) error {
	if e.meansGone(nameOrID, req.Container) {
		if gone, err := e.disconnectGone(nameOrID, req.Container); gone {
			return err
		}
	}
	err := e.changeNetworks(nameOrID, req.Container, func(ctx context.Context, c *ctr, n *netw) error {
		switch {
		case c.def.bare():
			return errBare(c.def.Name, "be disconnected from a network")
		case n.def.Driver == driverNull:
			return e.disconnectNone(c, n)
		case n.def.Driver == driverHost && c.def.HostConfig.NetworkMode.IsHost():
			return forbidden("cannot disconnect container from host network - container was created in host network mode")
		}
		return e.disconnect(ctx, c, n)
	})
	if errdefs.IsNotFound(err) {
		if gone, gerr := e.disconnectGone(nameOrID, req.Container); gone {
			return gerr
		}
	}
	return err
}

// changeNetworks finds a network and a container, and calls f with the container's op
// lock.
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
	unlock, err := e.lock(c)
	if err != nil {
		return err
	}
	defer unlock()
	if err := e.followNames(c); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return f(ctx, c, n)
}

// connect adds a network to a container, at once if it runs; c.op is held.
func (e *Engine) connect(ctx context.Context, c *ctr, n *netw, a Attachment) error {
	e.mu.Lock()
	r := c.run
	e.mu.Unlock()
	if r != nil {
		if err := e.lookInto(ctx, c, r); err != nil {
			return err
		}
	}
	e.mu.Lock()
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
		e.unplugForeign(c, r, l)
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
	made := l.plane
	bindings, lacks := e.reroute(ctx, c, r)
	others := e.onlyRoutes(lacks, l)
	if err = joined(lacks); err == nil {
		err = e.decide(c, func(d *ContainerDef) {
			d.Attachments = append(d.Attachments, a)
			d.takeRun(r, bindings)
			d.Rebind = nil
		})
	}
	if err != nil {
		_ = made.Unplug(ctx, r.ns, l.ep.Interface) // the first error is the one to tell
		r.links = slices.DeleteFunc(r.links, func(x *link) bool { return x == l })
		e.unpublishOver(c, r, l)
		undo()
		e.settleFor(c, r, bindings)
		return err
	}
	if n.def.Predefined {
		e.linksChangedLater(c.def.ID, false)
	}
	e.networkEvent(events.ActionConnect, &n.def, c.def)
	e.mendRoutes(c, r, bindings, others)
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
	drop := func(d *ContainerDef) { d.dropAttachment(n.def.ID) }
	if r == nil {
		if err := e.decide(c, drop); err != nil {
			return err
		}
		e.networkEvent(events.ActionDisconnect, &n.def, c.def)
		return nil
	}
	i := slices.IndexFunc(r.links, func(l *link) bool { return l.n == n })
	if i < 0 {
		return fmt.Errorf("container %s has no endpoint on network %s though it runs: "+c.def.again(), c.def.Name, n.def.Name, c.def.Name)
	}
	if !r.hasNS {
		var err error
		if r.ns, err = r.process.Namespaces(ctx); err != nil {
			return err
		}
		r.hasNS = true
	}
	// On disk first: what is to come cannot be taken back.
	if err := e.decide(c, drop); err != nil {
		return err
	}
	l := r.links[i]
	r.links = slices.Delete(slices.Clone(r.links), i, i+1)
	e.unpublishOver(c, r, l)
	// Another way out before this one goes.
	e.replug(ctx, c, r, true, map[string]error{}) // reroute tries again what fails
	// And other servers: by the new route a question to this one's gets no answer.
	e.updateFiles(e.snapshot(c), r.links)
	// The interface goes last of what the container sees, and first of what
	// can fail: without it the rest is only ours.
	if l.port != nil {
		if err := l.port.Close(); err != nil {
			e.log.Warn("endpoint not closed cleanly", "network", n.def.Name, "error", err)
		}
		l.port = nil
	}
	if err := e.unplug(ctx, r, l); err != nil {
		e.log.Warn("interface not removed", "container", c.def.Name, "interface", l.ep.Interface, "error", err)
	}
	e.detach(l)
	e.mu.Lock()
	e.unreserve(c, l)
	e.mu.Unlock()
	e.mu.Lock()
	wanted := slices.Clone(c.def.Bindings)
	e.mu.Unlock()
	e.settleFor(c, r, wanted)
	if n.def.Predefined {
		e.linksChangedLater(c.def.ID, false)
	}
	e.networkEvent(events.ActionDisconnect, &n.def, c.def)
	return nil
}

// settleFor makes the container what its present networks say after one of them is
// gone. What fails is a flaw that is mended: there is no way back; c.op is held.
func (e *Engine) settleFor(c *ctr, r *run, wanted []Binding) {
	ctx, cancel := context.WithTimeout(e.ctx, takeOverTimeout)
	defer cancel()
	mending := r.flaws.any()
	bindings, lacks := e.reroute(ctx, c, r)
	e.noteTakeOver(c, r, bindings, wanted, lacks, shim.State{})
	if len(lacks) > 0 && !mending {
		e.background.Go(func() { e.mend(c, r, wanted) })
	}
}

// joined is what lacks, as one error; nil for nothing, and for what is being mended
// anyway.
func joined(lacks map[string]error) error {
	var errs []error
	for _, what := range slices.Sorted(maps.Keys(lacks)) {
		if !errors.Is(lacks[what], errNotYet) {
			errs = append(errs, lacks[what])
		}
	}
	return errors.Join(errs...)
}

// reroute makes the container's default routes, published ports, view of names
// and resolv.conf what its present networks say; c.op is held. It returns the
// bindings that hold then, and what could not be made and why: links of which
// something is missing are detached.
func (e *Engine) reroute(ctx context.Context, c *ctr, r *run) (bindings []Binding, lacks map[string]error) {
	lacks = map[string]error{}
	e.mu.Lock()
	bindings = slices.Clone(c.def.Bindings)
	before := bindings
	if len(c.def.Rebind) > 0 {
		before = slices.Clone(c.def.Rebind)
	}
	e.mu.Unlock()
	// The new route replaces the old one, so there is always one.
	e.replug(ctx, c, r, true, lacks)
	e.replug(ctx, c, r, false, lacks)
	for _, l := range r.links {
		what := flawNetwork + l.n.def.Name
		switch {
		case l.plane == nil:
			lacks[what] = errNotYet
		case lacks[what] == nil:
			if err := e.addNames(c.def, l, r.links); err != nil {
				lacks[what] = err
			}
		}
		if lacks[what] != nil {
			e.detach(l)
		}
	}
	e.updateFiles(e.snapshot(c), r.links)
	bindings, err := e.publishPorts(c.def, r, before)
	if err != nil {
		lacks[flawPorts] = err
	}
	return bindings, lacks
}

// onlyRoutes takes what lacks of other links than l for no more than a default route out
// of lacks and returns it: it is no reason to do without l.
func (e *Engine) onlyRoutes(lacks map[string]error, l *link) map[string]error {
	others := map[string]error{}
	for what, err := range lacks {
		if strings.HasPrefix(what, flawRoute) && what != flawRoute+l.n.def.Name {
			others[what] = err
			delete(lacks, what)
		}
	}
	return others
}

// mendRoutes has the routes set that could not be; c.op is held.
func (e *Engine) mendRoutes(c *ctr, r *run, wanted []Binding, lacks map[string]error) {
	if len(lacks) == 0 {
		return
	}
	mending := r.flaws.any()
	for what, cause := range lacks {
		e.log.Warn("default route not set; it is tried again", "container", c.def.Name, "what", what, "error", cause)
		r.flaws.set(what, cause)
	}
	if !mending {
		e.background.Go(func() { e.mend(c, r, wanted) })
	}
}

// unplug removes the link's interface from the container, also where the link has no
// data plane for the moment.
func (e *Engine) unplug(ctx context.Context, r *run, l *link) error {
	if l.existing == tap.Refuse { // never made
		return nil
	}
	if l.plane != nil {
		return l.plane.Unplug(ctx, r.ns, l.ep.Interface)
	}
	p, err := e.usePlane(l.n)
	if err != nil {
		return err
	}
	defer e.leavePlane(l.n)
	return p.Unplug(ctx, r.ns, l.ep.Interface)
}

// errNotYet: the link waits to be connected again.
var errNotYet = errors.New("it is not connected again yet")

// replug gives the container's default routes to the links that are to have them,
// or takes them from those that are not; c.op is held. What fails is added to lacks.
func (e *Engine) replug(ctx context.Context, c *ctr, r *run, give bool, lacks map[string]error) {
	routes := chooseGateways(r.links)
	for _, l := range r.links {
		loses := l.default4 && routes.v4 != l || l.default6 && routes.v6 != l
		gains := !l.default4 && routes.v4 == l || !l.default6 && routes.v6 == l
		// Without a plane it is not connected again after a restart; without a port
		// an earlier try has failed.
		if l.plane == nil || l.port != nil && (give && !gains || !give && !loses) {
			continue
		}
		what := flawNetwork + l.n.def.Name
		var err error
		if l.port == nil {
			err = e.plug(ctx, c.def, r, l, routes)
		} else if rerr := e.rerouteLink(ctx, c.def, r, l, routes); rerr != nil {
			// The network itself works: only the route is tried again.
			lacks[flawRoute+l.n.def.Name] = rerr
			continue
		} else {
			delete(lacks, flawRoute+l.n.def.Name)
		}
		if err != nil {
			lacks[what] = err
		} else {
			delete(lacks, what)
		}
	}
}
