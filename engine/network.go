package engine

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/moby/moby/api/types/events"

	"github.com/footbridge-net/footbridge/engine/ipam"
)

// netw is a network with what belongs to it at run time. The fields above
// plane are guarded by Engine.mu.
type netw struct {
	def    NetworkDef
	v4, v6 *ipam.Pool
	macs   map[string]string // MAC -> id of the container that has it
	// members are the containers whose endpoints exist, or are being made or
	// unmade, on this network: its addresses are taken as long as one is here.
	members map[string]*Endpoint

	// plane is guarded by planeMu, which is taken after a container's op lock
	// and never together with Engine.mu.
	planeMu sync.Mutex
	plane   Plane
	users   int

	// links is guarded by linkMu, which is taken before planeMu and Engine.mu.
	linkMu sync.Mutex
	links  linkRules
}

func newNetwork(def *NetworkDef) (*netw, error) {
	n := &netw{def: *def, macs: make(map[string]string), members: make(map[string]*Endpoint)}
	var err error
	n.v4, n.v6, err = pools(&n.def)
	return n, err
}

// networkByName returns the network of that exact name, or nil.
func (e *Engine) networkByName(name string) *netw {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.networks {
		if n.def.Name == name {
			return n
		}
	}
	return nil
}

// findNetwork resolves a name, an id or the beginning of an id; e.mu is held.
func (e *Engine) findNetwork(term string) (*netw, error) {
	if n, ok := e.networks[term]; ok {
		return n, nil
	}
	var matches []*netw
	for _, n := range e.networks {
		if n.def.Name == term {
			return n, nil
		}
		if term != "" && strings.HasPrefix(n.def.ID, term) {
			matches = append(matches, n)
		}
	}
	switch len(matches) {
	case 1:
		return matches[0], nil
	case 0:
		return nil, notFound("network %s not found", shown(term))
	}
	return nil, invalid("network %s is ambiguous (%d matches found based on ID prefix): give more of the id", term, len(matches))
}

// sortedNetworks returns all networks by name; e.mu is held.
func (e *Engine) sortedNetworks() []*netw {
	out := make([]*netw, 0, len(e.networks))
	for _, n := range e.networks {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b *netw) int {
		return cmp.Or(strings.Compare(a.def.Name, b.def.Name), strings.Compare(a.def.ID, b.def.ID))
	})
	return out
}

// ownSubnets lists the subnets of every network: what no container may reach
// through its gateway.
func (e *Engine) ownSubnets() []netip.Prefix {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []netip.Prefix
	for _, n := range e.networks {
		for _, s := range n.def.Subnets {
			out = append(out, s.Prefix)
		}
	}
	return out
}

// activeError says who keeps a network from being removed; e.mu is held.
func (e *Engine) activeError(n *netw) error {
	var who []string
	for id, ep := range n.members {
		name := short(id)
		if c, ok := e.containers[id]; ok {
			name = c.def.Name
		}
		epID := ""
		if ep != nil {
			epID = short(ep.ID)
		}
		who = append(who, fmt.Sprintf("name:%q id:%q", name, epID))
	}
	if len(who) == 0 {
		return nil
	}
	slices.Sort(who)
	return forbidden("error while removing network: network %s has active endpoints (%s): disconnect or remove these containers first",
		n.def.Name, strings.Join(who, ", "))
}

// networkEvent publishes an event of a network; c may be nil.
func (e *Engine) networkEvent(action events.Action, n *NetworkDef, c *ContainerDef) {
	attr := map[string]string{"name": n.Name, "type": n.Driver}
	if c != nil {
		attr["container"] = c.ID
	}
	e.events.publish(events.NetworkEventType, action, n.ID, attr)
}
