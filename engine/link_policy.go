package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/engine/plane"
)

// What links open on a network whose containers are kept apart (enable_icc=false): who is
// linked to another reaches that one's exposed ports.
//
//	--link of A to B, both on the network --> exceptions of A's endpoint, one for each
//	                                          run of B's exposed ports and each family
//
// They are made again whenever an endpoint comes or goes, before the endpoint's port
// carries anything: nobody inherits what was opened for who had its address before.

// maxExceptions bounds what the links of one endpoint open: the worker looks through them
// for each packet that could be let in, and is told all of them in one message.
const maxExceptions = 512

// linkRules are the exceptions that a data plane has now. netw.linkMu guards them.
type linkRules struct {
	plane      Plane
	byEndpoint map[string][]plane.Exception
}

// applyLinks makes the network's exceptions what links and endpoints say now, those of the
// container gone left out. It is called without e.mu.
func (e *Engine) applyLinks(n *netw, gone string) error {
	o := n.def.options()
	if !o.rules.NoICC {
		return nil
	}
	n.linkMu.Lock()
	defer n.linkMu.Unlock()
	n.planeMu.Lock()
	p := n.plane
	n.planeMu.Unlock()
	if p == nil {
		n.links = linkRules{}
		return nil
	}
	if n.links.plane != p {
		n.links = linkRules{plane: p, byEndpoint: map[string][]plane.Exception{}}
	}
	e.mu.Lock()
	want := e.linkExceptions(n, gone)
	e.mu.Unlock()
	for id, list := range want {
		if len(list) > maxExceptions { // refused where it could be; here others depend on it
			e.log.Warn("links open only a part of the exposed ports", "network", n.def.Name, "endpoint", short(id), "ranges", len(list), "at_most", maxExceptions)
			want[id] = list[:maxExceptions]
		}
	}
	have := n.links.byEndpoint
	// What is to be closed first.
	for _, id := range slices.Sorted(maps.Keys(have)) {
		if len(want[id]) > 0 {
			continue
		}
		if err := p.SetExceptions(id, nil); err != nil {
			return fmt.Errorf("network %s: close what a link has opened: %w", n.def.Name, err)
		}
		delete(have, id)
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if slices.Equal(have[id], want[id]) {
			continue
		}
		if err := p.SetExceptions(id, want[id]); err != nil {
			return fmt.Errorf("network %s: open the ports of links: %w", n.def.Name, err)
		}
		have[id] = want[id]
	}
	return nil
}

// checkExceptions refuses links of a new endpoint that open too much.
func (e *Engine) checkExceptions(l *link) error {
	if o := l.n.def.options(); !o.rules.NoICC {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.linkExceptions(l.n, "")[l.ep.ID]); n > maxExceptions {
		return conflict("links on network %s would open %d ranges of ports, counted for each family, and at most %d can be: let their targets expose fewer ports, or adjacent ones", l.n.def.Name, n, maxExceptions)
	}
	return nil
}

// relink applies links to a container whose exposed ports have changed; c.op is held.
func (e *Engine) relink(c *ctr) {
	e.mu.Lock()
	r := c.run
	e.mu.Unlock()
	if r == nil {
		return
	}
	for _, l := range r.links {
		if err := e.applyLinks(l.n, ""); err != nil {
			e.log.Warn("links not brought up to date", "container", c.def.Name, "error", err)
		}
	}
}

// linkExceptions lists the network's exceptions by the id of the endpoint that they let
// out; e.mu is held.
func (e *Engine) linkExceptions(n *netw, gone string) map[string][]plane.Exception {
	out := map[string][]plane.Exception{}
	for id, ep := range n.members {
		c := e.containers[id]
		if c == nil || ep == nil || id == gone {
			continue
		}
		for _, target := range e.linkTargets(c.def, n) {
			to := n.members[target]
			if to == nil || target == gone || target == id {
				continue
			}
			for _, ports := range exposedRanges(e.containers[target].def) {
				for _, pair := range [][2]netip.Addr{{ep.IPv4, to.IPv4}, {ep.IPv6, to.IPv6}} {
					if pair[0].IsValid() && pair[1].IsValid() {
						out[ep.ID] = append(out[ep.ID], plane.Exception{From: pair[0], To: pair[1], PortRange: ports})
					}
				}
			}
		}
	}
	return out
}

// linkTargets are the ids of those members of a network that a container is linked to, in
// the order of its links; e.mu is held.
func (e *Engine) linkTargets(def *ContainerDef, n *netw) []string {
	var out []string
	add := func(id string) {
		if e.containers[id] != nil && n.members[id] != nil && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	if n.def.Predefined {
		for _, l := range def.Links {
			add(l.Target)
		}
		return out
	}
	a := def.attachment(n.def.ID)
	if a == nil {
		return nil
	}
	for _, l := range a.Links {
		name, _, err := parseLink(l)
		if err != nil {
			continue // was refused when it was made
		}
		for _, id := range slices.Sorted(maps.Keys(n.members)) {
			if e.isCalled(id, n.members[id], name) {
				add(id)
			}
		}
	}
	return out
}

// isCalled reports whether a member of a network is who a link names: by its name, an alias
// or its id, short or whole. A few digits of an id are not enough: "db" begins many. e.mu
// is held.
func (e *Engine) isCalled(id string, ep *Endpoint, name string) bool {
	c := e.containers[id]
	return c != nil && ep != nil && (c.def.Name == name || id == name || short(id) == name || slices.Contains(ep.Names, name))
}

// exposedRanges are the ports that a container exposes, published ones among them, as
// runs.
func exposedRanges(def *ContainerDef) []plane.PortRange {
	var ports []network.Port
	for p := range def.Config.ExposedPorts {
		ports = append(ports, p)
	}
	for p := range def.HostConfig.PortBindings {
		ports = append(ports, p)
	}
	var out []plane.PortRange
	for _, proto := range []network.IPProtocol{network.TCP, network.UDP, network.SCTP} {
		var nums []uint16
		for _, p := range ports {
			if p.Proto() == proto && p.Num() != 0 {
				nums = append(nums, p.Num())
			}
		}
		slices.Sort(nums)
		for _, num := range slices.Compact(nums) {
			if i := len(out) - 1; i >= 0 && out[i].Proto == string(proto) && out[i].Last == num-1 {
				out[i].Last = num
				continue
			}
			out = append(out, plane.PortRange{Proto: string(proto), First: num, Last: num})
		}
	}
	return out
}
