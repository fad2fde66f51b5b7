package engine

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/engine/publish"
	"github.com/footbridge-net/footbridge/portfwd"
)

// publishPorts makes the container's published ports, and returns what is
// really bound. before are the bindings of a life that goes on: random ports stay
// the same then. What was made is in r.listeners also when an error is
// returned; c.op is held.
func (e *Engine) publishPorts(def *ContainerDef, r *run, before []Binding) ([]Binding, error) {
	l := publishLink(r.links)
	r.published = l
	if l == nil {
		return nil, nil // no network that leads outside: nothing can come in
	}
	requests, err := publish.Requests(publish.Options{
		Bindings: def.HostConfig.PortBindings, Exposed: def.Config.ExposedPorts,
		All: def.HostConfig.PublishAllPorts, Default: defaultHosts(&l.n.def),
	})
	if err != nil {
		return nil, invalid("%w", err)
	}
	var out []Binding
	for _, q := range requests {
		var ms []portfwd.Mapping
		for _, h := range q.Hosts {
			to, ok := target(l.ep, h.Is4())
			if !ok {
				continue
			}
			m := portfwd.Mapping{
				Proto: string(q.Port.Proto()), Owner: def.Name,
				Host: netip.AddrPortFrom(h, 0), Container: netip.AddrPortFrom(to, q.Port.Num()),
			}
			if other, ok := target(l.ep, !to.Is4()); ok && other != to {
				m.Other = netip.AddrPortFrom(other, q.Port.Num())
			}
			if q.First == q.Last {
				m.Host = netip.AddrPortFrom(h, q.First)
			}
			ms = append(ms, m)
		}
		first, last := q.First, q.Last
		if was, ok := boundBefore(before, q); ok {
			before = was.rest
			first, last = was.port, was.port
		}
		if first == last {
			for i := range ms {
				ms[i].Host = netip.AddrPortFrom(ms[i].Host.Addr(), first)
			}
			first, last = 0, 0
		}
		listeners, err := l.plane.Publish(ms, first, last)
		if err != nil {
			return out, forbidden("%w", err)
		}
		for _, listener := range listeners {
			r.listeners = append(r.listeners, listener)
			out = append(out, Binding{Port: q.Port, Host: listener.Addr()})
		}
	}
	return out, nil
}

// unpublish closes the container's published ports; c.op is held.
func (e *Engine) unpublish(c *ctr, r *run) {
	for _, l := range r.listeners {
		if err := l.Close(); err != nil {
			e.log.Warn("published port not closed cleanly", "container", c.def.Name, "error", err)
		}
	}
	r.listeners, r.published = nil, nil
}

// publishLink is the endpoint that published ports lead to: the one whose
// gateway the container answers through.
func publishLink(links []*link) *link {
	g := chooseGateways(links)
	if g.v4 != nil {
		return g.v4
	}
	return g.v6
}

// target is the container's address for what comes by a family: of the same
// family where it has one, else of the other.
func target(ep *Endpoint, is4 bool) (netip.Addr, bool) {
	a, other := ep.IPv4, ep.IPv6
	if !is4 {
		a, other = other, a
	}
	if !a.IsValid() {
		a = other
	}
	return a, a.IsValid()
}

// defaultHosts are the host's addresses for a port that names none: all of
// both families, or what the network was told.
func defaultHosts(n *NetworkDef) []netip.Addr {
	if a := n.options().host4; a.IsValid() && !a.IsUnspecified() {
		return []netip.Addr{a}
	}
	out := []netip.Addr{netip.IPv4Unspecified()}
	if hostHasIPv6() {
		out = append(out, netip.IPv6Unspecified())
	}
	return out
}

// hostHasIPv6 reports whether the kernel has IPv6 sockets at all: it may be
// built or booted without, and then 0.0.0.0 is all there is.
func hostHasIPv6() bool {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// earlier is a binding of before and what is left without it.
type earlier struct {
	port uint16
	rest []Binding
}

// boundBefore finds the host port that a request had in the container's life so
// far.
func boundBefore(before []Binding, q publish.Request) (earlier, bool) {
	for _, b := range before {
		if b.Port != q.Port || b.Host.Addr() != q.Hosts[0] {
			continue
		}
		port := b.Host.Port()
		if q.First != 0 && (port < q.First || port > q.Last) {
			continue
		}
		var rest []Binding
		for _, other := range before {
			if other.Port != q.Port || other.Host.Port() != port {
				rest = append(rest, other)
			}
		}
		return earlier{port, rest}, true
	}
	return earlier{}, false
}
