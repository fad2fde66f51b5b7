package engine

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/engine/worker"
)

// endpointNames lists the names under which a container is known on a network,
// the first one being what its address leads back to. A name that the user did not
// give is none.
func endpointNames(n *NetworkDef, c *ContainerDef, a Attachment) []string {
	if !n.resolves() {
		return nil
	}
	var names []string
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if c.Named {
		add(c.Name)
	}
	for _, alias := range a.Aliases {
		add(alias)
	}
	if c.Named {
		add(short(c.ID))
	}
	add(c.Config.Hostname)
	return names
}

// addNames makes the endpoint known by its names, and gives the container its
// own view of names where it has one.
func (e *Engine) addNames(def *ContainerDef, l *link, links []*link) error {
	l.named = true
	view := e.viewOf(def, l, links)
	for _, a := range l.ep.addresses() {
		if err := l.plane.SetView(a, view); err != nil {
			return err
		}
	}
	names := l.ep.Names
	if l.n.def.resolves() {
		// No question can hold a label as long as the id. It is for links: their aliases
		// may stand for a container without a name of its own (knownAs).
		names = append(slices.Clip(names), def.ID)
	}
	return l.plane.SetNames(l.ep.ID, names, l.ep.addresses())
}

func (e *Engine) removeNames(l *link) {
	if !l.named {
		return
	}
	err := l.plane.RemoveNames(l.ep.ID)
	for _, a := range l.ep.addresses() {
		err = errors.Join(err, l.plane.SetView(a, worker.View{}))
	}
	if err != nil {
		e.log.Warn("names not taken away", "network", l.n.def.Name, "error", err)
	}
	l.named = false
}

// resolver is where containers of the network ask for names in a family: at the gateway
// or, where there is none, at an address of its own. Zero means nowhere.
func (n *NetworkDef) resolver(is4 bool) netip.Addr {
	if g := n.gateway(is4); g.IsValid() {
		return g.Addr()
	}
	if _, ok := n.subnet(is4); !ok || !n.resolves() {
		return netip.Addr{}
	}
	if is4 {
		return plane.Resolver4
	}
	return plane.Resolver6
}
