package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/engine/publish"
	"github.com/footbridge-net/footbridge/portfwd"
)

// publication is one published port as it is: at first on all addresses of its
// request, later on those that could be had.
type publication struct {
	request publish.Request
	port    uint16 // the host's, once it is known
	open    []openPort
}

// openPort is one of the host's addresses that is listened at.
type openPort struct {
	Listener
	leads leads
}

// leads is where an address leads.
type leads struct {
	over          *link
	plane         Plane      // of over, nil while it waits to be connected again
	at            netip.Addr // the host's
	target, other netip.AddrPort
}

// publishPorts makes the container's published ports what its definition and its
// present networks say, and returns what is really bound. before are the bindings
// of a life that goes on: random ports stay the same then. A container that starts
// has all of its ports or an error; one that runs has those that can be had as well.
// What was made is in r.ports also when an error is returned; c.op is held.
func (e *Engine) publishPorts(def *ContainerDef, r *run, before []Binding) ([]Binding, error) {
	ways := waysIn(r.links)
	requests, err := publish.Requests(publishOptions(def, ways))
	if err != nil {
		return r.bindings(), invalid("%w", err)
	}
	if ways == (gateways{}) {
		requests = nil // no network that leads outside: nothing can come in
	}
	e.closeOther(def, r, requests, ways)
	return e.openPorts(def, r, requests, before, ways)
}

// publishOptions is what a container publishes, with the addresses that its
// networks have for ports that name none.
func publishOptions(def *ContainerDef, ways gateways) publish.Options {
	o := publish.Options{
		Bindings: def.HostConfig.PortBindings, Exposed: def.Config.ExposedPorts, All: def.HostConfig.PublishAllPorts,
	}
	for _, is4 := range []bool{true, false} {
		if l := ways.of(is4); l != nil {
			hosts := slices.DeleteFunc(defaultHosts(&l.n.def), func(a netip.Addr) bool { return a.Is4() != is4 })
			o.Default = append(o.Default, hosts...)
		}
	}
	return o
}

// closeOther closes what is open and not asked for, or does not lead where it should.
func (e *Engine) closeOther(def *ContainerDef, r *run, requests []publish.Request, ways gateways) {
	for _, pub := range r.ports {
		var wanted []leads
		if i := slices.IndexFunc(requests, func(q publish.Request) bool { return q.ID == pub.request.ID }); i >= 0 {
			wanted = requestLeads(requests[i], ways)
		}
		e.closeOpen(def, pub, func(l leads) bool { return !slices.Contains(wanted, l) })
	}
	r.ports = slices.DeleteFunc(r.ports, func(pub *publication) bool {
		return !slices.ContainsFunc(requests, func(q publish.Request) bool { return q.ID == pub.request.ID })
	})
}

// closeOpen closes the addresses of a publication that match.
func (e *Engine) closeOpen(def *ContainerDef, pub *publication, match func(leads) bool) {
	pub.open = slices.DeleteFunc(pub.open, func(o openPort) bool {
		if !match(o.leads) {
			return false
		}
		if err := o.Close(); err != nil {
			e.log.Warn("published port not closed cleanly", "container", def.Name, "port", o.Addr(), "error", err)
		}
		return true
	})
}

// openPorts opens those of requests that are not open yet, and returns what is bound.
func (e *Engine) openPorts(def *ContainerDef, r *run, requests []publish.Request, before []Binding, ways gateways) ([]Binding, error) {
	var failed []error
	before = slices.Clone(before)
	for _, q := range requests {
		was := takeBefore(&before, q)
		if err := e.openRequest(def, r, q, was, ways); err != nil {
			failed = append(failed, err)
			if !def.running() {
				break
			}
		}
	}
	return r.bindings(), joinedPorts(failed)
}

// openRequest opens what is not open yet of one request; was is the host's port that
// it had before, or 0.
func (e *Engine) openRequest(def *ContainerDef, r *run, q publish.Request, was uint16, ways gateways) error {
	i := slices.IndexFunc(r.ports, func(p *publication) bool { return p.request.ID == q.ID })
	pub := &publication{request: q, port: was}
	if i >= 0 {
		pub = r.ports[i]
	}
	first, last := q.First, q.Last
	if pub.port != 0 {
		first, last = pub.port, pub.port
	}
	fixed := uint16(0)
	if first == last {
		fixed, first, last = first, 0, 0
	}
	var missing []leads
	var ps []PublishedPort
	for _, l := range requestLeads(q, ways) {
		if l.over.port == nil || slices.ContainsFunc(pub.open, func(o openPort) bool { return o.leads == l }) {
			continue
		}
		missing = append(missing, l)
		ps = append(ps, PublishedPort{Plane: l.plane, Namespaces: r.listenersIn(def), Mapping: portfwd.Mapping{
			Proto: string(q.Port.Proto()), Owner: def.Name,
			Host: netip.AddrPortFrom(l.at, fixed), Container: l.target, Other: l.other,
		}})
	}
	if len(ps) == 0 {
		return nil // open already, or its network waits to be connected again
	}
	listeners, err := e.data.Publish(ps, first, last)
	if err != nil {
		return forbidden("%w", err)
	}
	for i, l := range listeners {
		pub.port = l.Addr().Port()
		pub.open = append(pub.open, openPort{l, missing[i]})
	}
	if i < 0 {
		r.ports = append(r.ports, pub)
	}
	return nil
}

// requestLeads says where each of a request's addresses leads.
func requestLeads(q publish.Request, ways gateways) []leads {
	var out []leads
	for _, h := range q.Hosts {
		over := ways.of(h.Is4())
		if over == nil {
			continue
		}
		to, ok := target(over.ep, h.Is4())
		if !ok {
			continue
		}
		l := leads{over: over, plane: over.plane, at: h, target: netip.AddrPortFrom(to, q.Port.Num())}
		if other, ok := target(over.ep, !to.Is4()); ok && other != to {
			l.other = netip.AddrPortFrom(other, q.Port.Num())
		}
		out = append(out, l)
	}
	return out
}

// joinedPorts is the errors of several ports as one.
func joinedPorts(failed []error) error {
	if len(failed) < 2 {
		return errors.Join(failed...)
	}
	return fmt.Errorf("%w; and %d more", failed[0], len(failed)-1)
}

// unpublish closes the container's published ports; c.op is held.
func (e *Engine) unpublish(c *ctr, r *run) {
	for _, pub := range r.ports {
		e.closeOpen(c.def, pub, func(leads) bool { return true })
	}
	r.ports = nil
}

// unpublishOver closes what leads over a link; it keeps its port for when there is
// another way; c.op is held.
func (e *Engine) unpublishOver(c *ctr, r *run, over *link) {
	for _, pub := range r.ports {
		e.closeOpen(c.def, pub, func(l leads) bool { return l.over == over })
	}
}

// bindings is what is bound, in the order in which it was asked for.
func (r *run) bindings() []Binding {
	var out []Binding
	for _, pub := range r.ports {
		for _, o := range pub.open {
			out = append(out, Binding{Port: pub.request.Port, Host: o.Addr(), Asked: pub.request.Asked})
		}
	}
	return out
}

// waysIn are the links that published ports lead to, for clients of each family:
// those whose gateways the container answers through. Where a family has none the
// other's serves its clients, too.
func waysIn(links []*link) gateways {
	g := chooseGateways(links)
	if g.v4 == nil {
		g.v4 = g.v6
	}
	if g.v6 == nil {
		g.v6 = g.v4
	}
	return g
}

// wayID is the id of the endpoint that published ports lead to.
func (r *run) wayID() string {
	if l := waysIn(r.links).v4; l != nil {
		return l.ep.ID
	}
	return ""
}

// of is the link of a family.
func (g gateways) of(is4 bool) *link {
	if is4 {
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

// defaultHosts are the host's addresses for a port that names none: what the network
// was told, else all of both families. An address of one family alone means that
// family only, as with Docker.
func defaultHosts(n *NetworkDef) []netip.Addr {
	o := n.options()
	one := func(a netip.Addr) bool { return a.IsValid() && !a.IsUnspecified() }
	var out []netip.Addr
	switch {
	case one(o.host4):
		out = append(out, o.host4)
	case o.host4.IsValid() || !one(o.host6):
		out = append(out, netip.IPv4Unspecified())
	}
	switch {
	case one(o.host6):
		out = append(out, o.host6)
	case (o.host6.IsValid() || !one(o.host4)) && hostHasIPv6():
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

// takeBefore finds the host port that a request had in the container's life so far,
// and takes its bindings out of before; 0 when there is none.
func takeBefore(before *[]Binding, q publish.Request) (port uint16) {
	same := func(b Binding) bool { return b.id() == q.ID }
	i := slices.IndexFunc(*before, same)
	if i < 0 {
		return 0
	}
	port = (*before)[i].Host.Port()
	*before = slices.DeleteFunc(*before, same)
	return port
}
