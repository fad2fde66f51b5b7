package engine

import (
	"github.com/moby/moby/api/types/events"
)

// The network none has no endpoints. Being on it is being on no other network, and a
// container may be taken from it and put there like any other: while it runs nothing
// changes inside.

// connectable refuses, in Docker's words, a network for a container that cannot have
// it, whatever its endpoint would be; c.op is held.
func connectable(d *ContainerDef, n *netw) error {
	mode, err := d.mode()
	if err != nil {
		return err
	}
	shares := mode.kind != modeNetwork && mode.kind != modeNone
	null := n.def.Driver == driverNull
	switch {
	case d.bare():
		return errBare(d.Name, "be connected to further networks")
	case null && d.onNone(), n.def.Driver == driverHost && mode.kind == modeHost:
		return forbidden("endpoint with name %s already exists in network %s", d.Name, n.def.Name)
	case shares:
		return forbidden("container sharing network namespace with another container or host cannot be connected to any other network: container %s has the network mode %s", d.Name, d.HostConfig.NetworkMode)
	case n.def.Driver == driverHost:
		return forbidden("cannot connect container to host network - container must be created in host network mode")
	}
	const alone = "container cannot be connected to multiple networks with one of the networks in private (none) mode"
	switch {
	case d.onNone():
		return forbidden(alone+": take it from that one first (`footbridge network disconnect none %s`)", d.Name)
	case null && len(d.Attachments) > 0:
		return forbidden(alone+": disconnect container %s from its networks first", d.Name)
	}
	return nil
}

// connectNone puts a container without networks on the network none; c.op is held.
func (e *Engine) connectNone(c *ctr, n *netw) error {
	return e.setNone(c, n, true, events.ActionConnect)
}

// disconnectNone takes a container from the network none; c.op is held.
func (e *Engine) disconnectNone(c *ctr, n *netw) error {
	if !c.def.onNone() {
		return forbidden("container %s is not connected to network %s", c.def.Name, n.def.Name)
	}
	return e.setNone(c, n, false, events.ActionDisconnect)
}

func (e *Engine) setNone(c *ctr, n *netw, on bool, action events.Action) error {
	if err := e.decide(c, func(d *ContainerDef) { d.None = &on }); err != nil {
		return err
	}
	e.networkEvent(action, &n.def, c.def)
	return nil
}
