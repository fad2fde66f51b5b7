package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// dialTarget is a container on a network, as somebody on the host dials it.
type dialTarget struct {
	n         *netw
	container string
	addrs     []netip.Addr
}

// Dial implements api.Dialer.
func (e *Engine) Dial(_ context.Context, req api.DialRequest) (func(*fdpass.Handle) error, error) {
	t, err := e.findDialTarget(req)
	if err != nil {
		return nil, err
	}
	var to []netip.AddrPort
	for _, a := range t.addrs {
		if t.n.def.gateway(a.Is4()).IsValid() {
			to = append(to, netip.AddrPortFrom(a, req.Port))
		}
	}
	if len(to) == 0 {
		return nil, forbidden("network %s has no gateway address, from which container %s could be reached: its gateway mode is isolated", t.n.def.Name, t.container)
	}
	return func(h *fdpass.Handle) error {
		t.n.planeMu.Lock()
		p := t.n.plane
		t.n.planeMu.Unlock()
		if p == nil {
			return errors.Join(notFound("container %s is not on network %s any more", t.container, t.n.def.Name), h.Close())
		}
		return p.Join(h, t.container, to)
	}, nil
}

// findDialTarget finds who is meant. A name is looked for as the network's resolver
// does, then among containers.
func (e *Engine) findDialTarget(req api.DialRequest) (dialTarget, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	networks := e.sortedNetworks()
	host := req.Host
	if req.Network != "" {
		n, err := e.findNetwork(req.Network)
		if err != nil {
			return dialTarget{}, err
		}
		networks = []*netw{n}
	} else if name, network, ok := cutLast(host, "."); ok && e.networkNamed(network) != nil {
		// "web.backend", as reverse lookups say.
		if _, err := netip.ParseAddr(host); err != nil {
			networks, host = []*netw{e.networkNamed(network)}, name
		}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return e.dialAddress(networks, a.Unmap(), req.Network)
	}
	for _, n := range networks {
		if t, ok := e.dialName(n, host); ok {
			return t, nil
		}
	}
	c := e.exactContainer(host)
	if c == nil {
		return dialTarget{}, notFound("no container is known as %s%s: see `footbridge network inspect`", shown(host), onNetwork(req.Network))
	}
	if c.run == nil {
		return dialTarget{}, conflict("container %s is not running: start it with `footbridge start %s`", c.def.Name, c.def.Name)
	}
	links := slices.Clone(c.run.links)
	if g := chooseGateways(links); g.v4 != nil { // the one that it answers the outside by
		links = append([]*link{g.v4}, links...)
	}
	for _, l := range links {
		if slices.Contains(networks, l.n) {
			return dialTarget{l.n, c.def.Name, l.ep.addresses()}, nil
		}
	}
	if req.Network != "" {
		return dialTarget{}, notFound("container %s is not connected to network %s", c.def.Name, shown(req.Network))
	}
	return dialTarget{}, notFound("container %s is not connected to any network", c.def.Name)
}

func onNetwork(name string) string {
	if name == "" {
		return ""
	}
	return " on network " + shown(name)
}

// networkNamed is networkByName with e.mu held.
func (e *Engine) networkNamed(name string) *netw {
	for _, n := range e.networks {
		if n.def.Name == name {
			return n
		}
	}
	return nil
}

// cutLast is strings.Cut at the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// dialAddress finds who has an address; e.mu is held.
func (e *Engine) dialAddress(networks []*netw, a netip.Addr, only string) (dialTarget, error) {
	for _, n := range networks {
		for id, ep := range n.members {
			if c := e.containers[id]; ep != nil && c != nil && c.run != nil && (slices.Contains(ep.addresses(), a) || ep.More.holds(a)) {
				return dialTarget{n, c.def.Name, []netip.Addr{a}}, nil
			}
		}
	}
	return dialTarget{}, notFound("no running container has the address %v%s: only addresses of containers can be dialed", a, onNetwork(only))
}

// dialName finds a name of a network; of several containers that share it any one;
// e.mu is held.
func (e *Engine) dialName(n *netw, name string) (dialTarget, bool) {
	var found []dialTarget
	for id, ep := range n.members {
		c := e.containers[id]
		if ep != nil && c != nil && c.run != nil && slices.ContainsFunc(ep.Names, func(x string) bool { return strings.EqualFold(x, name) }) {
			found = append(found, dialTarget{n, c.def.Name, ep.addresses()})
		}
	}
	if len(found) == 0 {
		return dialTarget{}, false
	}
	return found[rand.IntN(len(found))], true
}
