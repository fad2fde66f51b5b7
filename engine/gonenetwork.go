package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/events"
)

// A network can be removed while a container on it does not run. The container keeps its place there: a new network of
// the name serves it if it asked for it by name, and until then it can be taken from the one that is gone.

// networkOf returns the network of an attachment: the one that it was made for or, where that one is gone, the one that
// has its name now; nil if there is none. e.mu is held.
func (e *Engine) networkOf(a Attachment) *netw {
	if n := e.networks[a.NetworkID]; n != nil {
		return n
	}
	if n := e.successor(a); n != nil && checkStatic(&n.def, a) == nil {
		return n
	}
	return nil
}

// successor returns the network that has the name of the one that is gone, if that was asked for by it; nil if there is
// none. It may not allow the address that the container asked for: see networkOf. e.mu is held.
func (e *Engine) successor(a Attachment) *netw {
	if n := e.networkNamed(a.Network); n != nil && n.def.isBridge() && !a.ByID {
		return n
	}
	return nil
}

// networkName is what a container's network is called: a gone one as it was, or by its short id where the name means
// another one, too. No two of a container's networks are called the same. e.mu is held.
func (e *Engine) networkName(d *ContainerDef, a Attachment) string {
	if n := e.networks[a.NetworkID]; n != nil {
		return n.def.Name
	}
	another := func(other Attachment) bool { return other.NetworkID != a.NetworkID && other.Network == a.Network }
	switch {
	case a.Network == "", // noted by a version that did not keep it
		e.networkOf(a) != e.networkNamed(a.Network),
		slices.ContainsFunc(d.Attachments, another):
		return short(a.NetworkID)
	}
	return a.Network
}

// nameNetworks notes the names of a container's networks where a version that did not keep them made the places, as long
// as the networks are there; it reports whether there was something to note. e.mu is held, or nobody is served yet.
func (e *Engine) nameNetworks(d *ContainerDef) (noted bool) {
	for i := range d.Attachments {
		a := &d.Attachments[i]
		if n := e.networks[a.NetworkID]; n != nil && a.Network == "" {
			a.Network, noted = n.def.Name, true
		}
	}
	return noted
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
	remedy := fmt.Sprintf("take the container from it (`footbridge network disconnect %s %s`), and connect it to another one (`footbridge network connect NETWORK %s`)",
		name, d.Name, d.Name)
	if n := e.successor(a); n != nil {
		if err := checkStatic(&n.def, a); err != nil {
			return notFound("network %s not found: it was removed after container %s was put on it, and the one that is called %s now does not serve it: %w; or %s",
				name, d.Name, n.def.Name, err, remedy)
		}
	}
	return notFound("network %s not found: it was removed after container %s was put on it; %s", name, d.Name, remedy)
}

// meansGone reports whether a term is the name of a network that is gone and that a container has a place on. Such a
// name counts more than the beginning of another network's id, as "db" and "cafe" may be, and than a network of the
// name that the container is not on.
func (e *Engine) meansGone(networkTerm, containerTerm string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.findContainer(containerTerm)
	if err != nil {
		return false
	}
	if n := e.networkNamed(networkTerm); n != nil && c.def.attachment(n.def.ID) != nil {
		return false
	}
	return slices.ContainsFunc(c.def.Attachments, func(a Attachment) bool {
		return a.Network == networkTerm && e.networkOf(a) == nil
	})
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
