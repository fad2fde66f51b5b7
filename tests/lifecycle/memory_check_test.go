package lifecycle

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/portfwd"
)

// Check implements Stage.
func (s *memory) Check(m *Model, _ view) (bad []string) {
	fail := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	s.mu.Lock()
	defer s.mu.Unlock()
	planes := map[string]*memPlane{}
	for p := range s.life.planes {
		if planes[p.spec.ID] != nil {
			fail("network %s has two data planes", p.spec.Name)
		}
		planes[p.spec.ID] = p
	}
	for _, n := range m.sortedNets() {
		p := planes[n.ID]
		delete(planes, n.ID)
		members := m.members(n.ID)
		if (p != nil) != (len(members) > 0) {
			fail("network %s has %d endpoints, and a data plane: %v", n.Name, len(members), p != nil)
		}
		if p != nil {
			bad = append(bad, p.check(m, n, members)...)
		}
	}
	for _, p := range planes {
		fail("network %s is gone, and its data plane is there", p.spec.Name)
	}
	bad = append(bad, s.checkPorts(m)...)
	bad = append(bad, s.checkProcesses(m)...)
	return append(bad, checkFolders(m, s.path("run"), s.path("state"))...)
}

// check compares a network's data plane with the model.
func (p *memPlane) check(m *Model, n *Net, members []*Ctr) (bad []string) {
	fail := func(format string, args ...any) {
		bad = append(bad, fmt.Sprintf("network %s: ", n.Name)+fmt.Sprintf(format, args...))
	}
	if p.spec.Gateway4.Masked() != n.V4 || p.spec.Gateway6.Masked() != n.V6 || p.spec.Internal != n.Shape.internal || p.spec.Resolves == n.Predefined || p.spec.Name != n.Name {
		fail("its data plane is %+v", p.spec)
	}
	ports, names, views := maps.Clone(p.ports), maps.Clone(p.names), maps.Clone(p.views)
	for _, c := range members {
		a := c.att(n.ID)
		l, there := ports[a.Endpoint]
		delete(ports, a.Endpoint)
		var addrs []netip.Addr
		var prefixes []netip.Prefix
		for _, x := range []struct {
			a netip.Addr
			p netip.Prefix
		}{{a.V4, n.V4}, {a.V6, n.V6}} {
			if x.a.IsValid() {
				addrs = append(addrs, x.a)
				prefixes = append(prefixes, netip.PrefixFrom(x.a, x.p.Bits()))
			}
		}
		route4, route6 := m.gateways(c)
		if !there || l.Container != c.Name || fmt.Sprintf("%x", l.MAC) != strings.ReplaceAll(a.MAC, ":", "") || !slices.Equal(l.Addresses, prefixes) ||
			l.Default4 != (route4 == n.ID) || l.Default6 != (route6 == n.ID) {
			fail("%s's endpoint is %+v (%v), should be %+v with default routes %v %v", c.Name, l, there, *a, route4 == n.ID, route6 == n.ID)
		}
		var want []string
		if !n.Predefined {
			want = append(want, c.Name)
			if a.Alias != "" {
				want = append(want, a.Alias)
			}
			want = append(want, c.ID[:12], c.ID) // the latter cannot be asked for, and is for links
		}
		have := names[a.Endpoint]
		delete(names, a.Endpoint)
		if !slices.Equal(have.names, want) || !slices.Equal(have.addrs, addrs) {
			fail("%s is known as %v, should be %v at %v", c.Name, have, want, addrs)
		}
		var others []string
		for _, o := range c.Atts {
			if on := m.net(o.NetID); o.NetID != n.ID && !on.Predefined {
				others = append(others, o.NetID)
			}
		}
		for _, addr := range addrs {
			if !sameSet(views[addr].Networks, others) {
				fail("%s at %v sees the names of networks %v, should of %v", c.Name, addr, views[addr].Networks, others)
			}
			delete(views, addr)
		}
	}
	if len(ports)+len(names)+len(views) > 0 {
		fail("left on its data plane: endpoints %v, names %v, views %v", ports, names, views)
	}
	return bad
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// gateways are the ids of the networks that a container's default routes go over.
func (m *Model) gateways(c *Ctr) (v4, v6 string) {
	for _, n := range m.sortedNets() {
		if c.att(n.ID) == nil || n.Shape.internal {
			continue
		}
		if v4 == "" && n.Shape.has4() {
			v4 = n.ID
		}
		if v6 == "" && n.Shape.has6() {
			v6 = n.ID
		}
	}
	return v4, v6
}

// checkPorts compares who has the host's ports with the model, and where they lead.
func (s *memory) checkPorts(m *Model) (bad []string) {
	left := maps.Clone(s.taken)
	leads := map[hostPort]portfwd.Mapping{}
	for p := range s.life.planes {
		maps.Copy(leads, p.listeners)
	}
	for p := range m.Taken {
		if left[p] != (somebody{}) {
			bad = append(bad, fmt.Sprintf("somebody's port %v is %v", p, left[p]))
		}
		delete(left, p)
	}
	for _, c := range m.sorted() {
		route4, route6 := m.gateways(c)
		for _, b := range c.Bound {
			to, other := c.att(route4), c.att(route6)
			if b.Addr.Is6() {
				to, other = other, to
			}
			if to == nil {
				to = other
			}
			l, there := leads[b.hostPort]
			delete(left, b.hostPort)
			if !there || l.Owner != c.Name || l.Container.Port() != b.Container || to == nil || l.Container.Addr() != to.V4 && l.Container.Addr() != to.V6 {
				bad = append(bad, fmt.Sprintf("%s's port %v leads to %v (%v), should lead to %v", c.Name, b, l, there, to))
			}
		}
	}
	for p, whose := range left {
		bad = append(bad, fmt.Sprintf("port %v is bound (%T) for nobody", p, whose))
	}
	return bad
}

func (s *memory) checkProcesses(m *Model) (bad []string) {
	left := maps.Clone(s.procs)
	for _, c := range m.sorted() {
		if !c.running() {
			continue
		}
		dir := s.path("run", "c", c.ID[:12])
		if p := left[dir]; p == nil || p.status().Status != shim.Running {
			bad = append(bad, fmt.Sprintf("container %s should run and has processes: %v", c.Name, p != nil))
		}
		delete(left, dir)
	}
	for _, p := range left {
		bad = append(bad, fmt.Sprintf("processes of container %.12s are left", p.spec.ID))
	}
	return bad
}

// Clean implements Stage.
func (s *memory) Clean(ctx context.Context) (bad []string) {
	if bad := removeAll(ctx, s.engine); len(bad) > 0 {
		return bad
	}
	s.mu.Lock()
	for p, whose := range s.taken {
		if whose == (somebody{}) {
			delete(s.taken, p)
		}
	}
	s.mu.Unlock()
	_, bad = settle(ctx, s, func(v view) (*Model, []string) { return NewModel().judge(v) })
	if len(bad) > 0 {
		return bad
	}
	if s.alone {
		if goroutines, files, ok := backTo(s.goroutines, s.files); !ok {
			return []string{fmt.Sprintf("%d goroutines and %d descriptors, %d and %d at the start", goroutines, files, s.goroutines, s.files)}
		}
	}
	return nil
}

// removeAll removes every container and network, as a user would.
func removeAll(ctx context.Context, d Docker) (bad []string) {
	v, err := look(ctx, d)
	if err != nil {
		return []string{err.Error()}
	}
	for _, name := range slices.Sorted(maps.Keys(v.Ctrs)) {
		if err := d.ContainerRemove(ctx, name, api.RemoveOptions{Force: true}); err != nil && classOf(err) != notFound {
			bad = append(bad, fmt.Sprintf("rm -f %s: %v", name, err))
		}
	}
	if _, err := d.NetworksPrune(ctx, nil); err != nil {
		bad = append(bad, fmt.Sprintf("network prune: %v", err))
	}
	return bad
}
