package engine

import (
	"strings"

	"github.com/moby/moby/api/types/events"
)

// A network can be removed while a container on it does not run. The container keeps its place there: a new network of
// the name serves it if it asked for it by name, and until then it can be taken from the one that is gone.

// networkOf returns the network of an attachment: the one that it was made for or, where that one is gone, the one that
// has its name now; nil if there is none. e.mu is held.
func (e *Engine) networkOf(a Attachment) *netw {
	if n := e.networks[a.NetworkID]; n != nil || a.ByID {
		return n
	}
	if n := e.networkNamed(a.Network); n != nil && n.def.isBridge() {
		return n
	}
	return nil
}

// networkName is what a container's network is called: a gone one as it was, unless another has the name. e.mu is held.
func (e *Engine) networkName(d *ContainerDef, a Attachment) string {
	if n := e.networkOf(a); n != nil {
		return n.def.Name
	}
	for _, other := range d.Attachments {
		if n := e.networkOf(other); n != nil && n.def.Name == a.Network {
			return short(a.NetworkID)
		}
	}
	if a.Network == "" { // noted by a version that did not keep it
		return short(a.NetworkID)
	}
	return a.Network
}

// followNames leads a container's places on networks that are gone to those that have their names now; c.op is held.
// One that runs has none: a network with endpoints is not removed.
func (e *Engine) followNames(c *ctr) error {
	def := e.snapshot(c)
	moved := false
	e.mu.Lock()
	for i, a := range def.Attachments {
		if n := e.networkOf(a); n != nil && n.def.ID != a.NetworkID && def.attachment(n.def.ID) == nil {
			def.Attachments[i].NetworkID, moved = n.def.ID, true
		}
	}
	e.mu.Unlock()
	if !moved {
		return nil
	}
	return e.decide(c, func(d *ContainerDef) { d.Attachments = def.Attachments })
}

// errGoneNetwork: the container's network was removed while it did not run; e.mu is held.
func (e *Engine) errGoneNetwork(d *ContainerDef, a Attachment) error {
	name := e.networkName(d, a)
	return notFound("network %s not found: it was removed after container %s was put on it; take the container from it (`footbridge network disconnect %s %s`), and connect it to another one (`footbridge network connect NETWORK %s`)",
		name, d.Name, name, d.Name, d.Name)
}

// goneNetwork finds a container's place on a network that is gone by the network's name, its id or the beginning of
// that; nil if there is none. e.mu is held.
func (e *Engine) goneNetwork(d *ContainerDef, term string) *Attachment {
	var byID []*Attachment
	for i := range d.Attachments {
		switch a := &d.Attachments[i]; {
		case e.networks[a.NetworkID] != nil:
		case a.NetworkID == term || a.Network == term:
			return a
		case term != "" && strings.HasPrefix(a.NetworkID, term):
			byID = append(byID, a)
		}
	}
	if len(byID) == 1 {
		return byID[0]
	}
	return nil
}

// disconnectGone takes a container from a network that is gone, if it has a place there.
func (e *Engine) disconnectGone(networkTerm, containerTerm string) (found bool, err error) {
	leave, err := e.enter()
	if err != nil {
		return false, err
	}
	defer leave()
	c, unlock, err := e.lockContainer(containerTerm)
	if err != nil {
		return false, err
	}
	defer unlock()
	e.mu.Lock()
	a := e.goneNetwork(c.def, networkTerm)
	if a == nil {
		e.mu.Unlock()
		return false, nil
	}
	n := &NetworkDef{ID: a.NetworkID, Name: a.Network, Driver: driverBridge}
	e.mu.Unlock()
	if err := e.decide(c, func(d *ContainerDef) { d.dropAttachment(n.ID) }); err != nil {
		return true, err
	}
	e.networkEvent(events.ActionDisconnect, n, c.def)
	return true, nil
}
