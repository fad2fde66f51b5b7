package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/publish"
)

// Published ports change while their container lives:
//
//	publish     open what is new -> write the wish -> done      an error closes it again
//	unpublish   write the wish -> close what is not asked for   no way back, and none needed
//
// The wish is HostConfig's PortBindings, so everything that brings ports back (a
// start, a daemon that comes back, an upgrade, a flaw that is mended) does it for
// these as for those of the creation.

// Container events of published ports; Docker has none.
const (
	actionPublish   events.Action = "publish"
	actionUnpublish events.Action = "unpublish"
)

// ContainerPublish implements api.Publisher.
func (e *Engine) ContainerPublish(_ context.Context, nameOrID string, req api.PublishRequest) (api.PublishResponse, error) {
	var res api.PublishResponse
	err := e.changePorts(nameOrID, func(c *ctr) error {
		def := e.snapshot(c)
		wish, err := publishOptions(def, gateways{}).With(req.PortBindings)
		if err == nil {
			err = publish.Apart(req.PortBindings)
		}
		if err != nil {
			return invalid("%w", err)
		}
		asked := askedPorts(wish, req.PortBindings)
		res.Ports, res.Warnings, err = e.publishMore(c, def, wish, asked)
		if err == nil {
			e.containerEvent(actionPublish, e.snapshot(c), "ports", portsText(req.PortBindings))
		}
		return err
	})
	return res, err
}

// ContainerUnpublish implements api.Publisher.
func (e *Engine) ContainerUnpublish(_ context.Context, nameOrID string, req api.PublishRequest) error {
	return e.changePorts(nameOrID, func(c *ctr) error {
		def := e.snapshot(c)
		bound := func(id publish.ID) (out []netip.AddrPort) {
			for _, b := range slices.Concat(def.Bindings, def.Rebind) {
				if b.id() == id {
					out = append(out, b.Host)
				}
			}
			return out
		}
		wish, err := publishOptions(def, gateways{}).Without(req.PortBindings, bound)
		switch {
		case errors.Is(err, publish.ErrNone):
			return notFound("%v: container %s; `footbridge port %s` tells what is", err, def.Name, def.Name)
		case err != nil:
			return invalid("%w", err)
		}
		gone := func(b Binding) bool { return !wish.Has(b.id()) }
		err = e.decide(c, func(d *ContainerDef) {
			d.takeWish(wish)
			d.Bindings = slices.DeleteFunc(slices.Clone(d.Bindings), gone)
			d.Rebind = slices.DeleteFunc(slices.Clone(d.Rebind), gone)
		})
		if err != nil {
			return err
		}
		e.mu.Lock()
		r := c.run
		e.mu.Unlock()
		if r != nil {
			for _, pub := range r.ports {
				if !wish.Has(pub.request.ID) {
					e.closeOpen(def, pub, func(leads) bool { return true })
				}
			}
			r.ports = slices.DeleteFunc(r.ports, func(pub *publication) bool { return !wish.Has(pub.request.ID) })
		}
		e.containerEvent(actionUnpublish, e.snapshot(c), "ports", portsText(req.PortBindings))
		return nil
	})
}

// changePorts finds a container that can have published ports, and calls f with its
// op lock.
func (e *Engine) changePorts(nameOrID string, f func(*ctr) error) error {
	leave, err := e.enter()
	if err != nil {
		return err
	}
	defer leave()
	c, unlock, err := e.lockContainer(nameOrID)
	if err != nil {
		return err
	}
	defer unlock()
	mode, err := c.def.mode()
	switch {
	case err != nil:
		return err
	case mode.kind == modeHost:
		return invalid("conflicting options: port publishing and the network mode host: container %s has no network of its own, its ports are the host's", c.def.Name)
	case mode.kind != modeNetwork:
		return invalid("conflicting options: port publishing and the network mode %s", c.def.HostConfig.NetworkMode)
	}
	err = f(c)
	e.relink(c)
	return err
}

// publishMore makes wish the container's, of which asked is what was asked for now.
// It returns what is bound of that; c.op is held.
func (e *Engine) publishMore(c *ctr, def *ContainerDef, wish publish.Options, asked []publish.ID) (network.PortMap, []string, error) {
	e.mu.Lock()
	r := c.run
	e.mu.Unlock()
	take := func(d *ContainerDef) {
		d.takeWish(wish)
		if r != nil {
			d.Bindings = r.bindings()
		}
	}
	if r == nil {
		warning := fmt.Sprintf("container %s does not run: what is asked for is published from its next start on", def.Name)
		return nil, []string{warning}, e.decide(c, take)
	}
	if r.flaws.beyondRoutes() {
		return nil, nil, conflict("container %s lacks something of what it should have (`footbridge inspect -f '{{.State.Error}}' %s` tells): publish when it is whole again", def.Name, def.Name)
	}
	ways := waysIn(r.links)
	if ways == (gateways{}) {
		return nil, []string{noWayIn(def.Name)}, e.decide(c, take)
	}
	had := slices.Clone(r.ports)
	undo := func() {
		for _, pub := range r.ports[len(had):] {
			e.closeOpen(def, pub, func(leads) bool { return true })
		}
		r.ports = had
	}
	wish.Default = publishOptions(def, ways).Default
	requests, err := publish.Requests(wish)
	if err != nil {
		return nil, nil, invalid("%w", err)
	}
	for _, q := range requests {
		if err := e.openRequest(def, r, q, 0, ways); err != nil {
			undo()
			return nil, nil, err
		}
	}
	if err := e.decide(c, take); err != nil {
		undo()
		return nil, nil, err
	}
	ports := network.PortMap{}
	for _, b := range r.bindings() {
		if slices.Contains(asked, b.id()) {
			ports[b.Port] = append(ports[b.Port], b.wire())
		}
	}
	return ports, nil, nil
}

// noWayIn warns of published ports of a container that nothing leads to.
func noWayIn(name string) string {
	return fmt.Sprintf("container %s is on no network that leads outside: nothing is published until it is connected to one", name)
}

// publishesInVain: the container publishes ports, and is on internal networks only; e.mu is
// held.
func (e *Engine) publishesInVain(def *ContainerDef) bool {
	if len(def.HostConfig.PortBindings) == 0 && !def.HostConfig.PublishAllPorts || len(def.Attachments) == 0 {
		return false
	}
	return !slices.ContainsFunc(def.Attachments, func(a Attachment) bool {
		n := e.networks[a.NetworkID]
		return n == nil || !n.def.isBridge() || !n.def.Internal
	})
}

// takeWish makes o what the container publishes. The maps are new ones: others may
// be reading the old.
func (c *ContainerDef) takeWish(o publish.Options) {
	c.HostConfig.PortBindings, c.HostConfig.PublishAllPorts = o.Bindings, o.All
}

// wire is a binding as clients see it.
func (b Binding) wire() network.PortBinding {
	return network.PortBinding{HostIP: b.Host.Addr(), HostPort: itoa(int(b.Host.Port()))}
}

// askedPorts are the wishes of o that are in more.
func askedPorts(o publish.Options, more network.PortMap) []publish.ID {
	var out []publish.ID
	requests, _ := publish.Requests(publish.Options{Bindings: more}) // checked already
	for _, q := range requests {
		if o.Has(q.ID) {
			out = append(out, q.ID)
		}
	}
	return out
}

// portsText lists container ports for an event: "53/udp,80/tcp".
func portsText(m network.PortMap) string {
	var out []string
	for p := range m {
		out = append(out, p.String())
	}
	slices.Sort(out)
	return strings.Join(out, ",")
}
