package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/engine/ipam"
	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/engine/worker"
	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/stack"
	"github.com/footbridge-net/footbridge/tap"
)

// link is an endpoint that is being made, is there, or is being unmade. Each
// field that is set is one more thing to undo; undoing goes backwards.
type link struct {
	n        *netw
	owner    string // the container's id
	want     Attachment
	ep       *Endpoint // addresses reserved
	hasPlane bool      // counted in n.users
	plane    Plane
	port     Port
	named    bool // names and view of names set
	// default4 and default6: the container's default route goes over it.
	default4, default6 bool
	// existing is what the next plug changes of the interface. What the container
	// has made of it since it has it is the container's.
	existing tap.Existing
}

// reserveAll takes names of interfaces and addresses for all attachments of a
// container, or for none. Nothing slow is done.
func (e *Engine) reserveAll(c *ctr) ([]*link, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reserveEach(c)
}

// reserveEach is reserveAll with e.mu held.
func (e *Engine) reserveEach(c *ctr) ([]*link, error) {
	var links []*link
	for _, a := range c.def.Attachments {
		l, err := e.reserve(c, a, links)
		if err != nil {
			for _, l := range links {
				e.unreserve(c, l)
			}
			return nil, err
		}
		links = append(links, l)
	}
	return links, nil
}

// reserve takes an interface name, addresses and a MAC for one endpoint; e.mu
// is held. An attachment that has an endpoint already (a container found again
// after a restart) gets the same ones.
func (e *Engine) reserve(c *ctr, a Attachment, others []*link) (*link, error) {
	n := e.networks[a.NetworkID]
	if n == nil {
		return nil, e.errGoneNetwork(c.def, a)
	}
	if _, ok := n.members[c.def.ID]; ok {
		return nil, forbidden("container %s is already attached to network %s", c.def.Name, n.def.Name)
	}
	before := a.Endpoint
	ep := &Endpoint{ID: newID()}
	if before != nil {
		a.IPv4, a.IPv6, a.MAC = before.IPv4, before.IPv6, before.MAC
		*ep = *before
	} else {
		ep.Interface = freeInterface(&n.def, a, others, c.def.Attachments, c.taken)
		if slices.Contains(c.taken, ep.Interface) {
			return nil, conflict("interface name %s: the namespace of container %s has an interface of that name already: choose another one, or none to have a free one chosen", ep.Interface, c.def.Name)
		}
		if i := slices.IndexFunc(others, func(l *link) bool { return l.ep.Interface == ep.Interface }); i >= 0 {
			return nil, invalid("interface name %s of container %s is its interface's on network %s: choose another one", ep.Interface, c.def.Name, others[i].n.def.Name)
		}
	}
	if err := n.takeOptions(c.def.ID, ep, &a, e); err != nil {
		return nil, err
	}
	var err error
	if ep.IPv4, err = n.takeAddr(n.v4, a.IPv4, e); err != nil {
		return nil, err
	}
	mac := a.MAC
	if !a.noIPv6() {
		want := a.IPv6
		if before == nil && !want.IsValid() {
			mac, want = n.autoconfigured(ep.IPv4, mac, e)
		}
		ep.IPv6, err = n.takeAddr(n.v6, want, e)
	} else if n.v4 == nil || a.IPv6.IsValid() {
		err = invalid("the option %s turns IPv6 off, and the endpoint on network %s needs it", optSysctls, n.def.Name)
	}
	if err == nil {
		err = n.takeMAC(c.def.ID, ep, mac, e)
	}
	if err != nil {
		n.releaseAddrs(ep)
		return nil, err
	}
	ep.Names = endpointNames(&n.def, c.def, a)
	n.members[c.def.ID] = ep
	l := &link{n: n, owner: c.def.ID, want: a, ep: ep}
	if c.def.Foreign != nil && before == nil {
		l.existing = tap.Refuse // what is there is theirs
	}
	return l, nil
}

// unreserve gives back what reserve took; e.mu is held.
func (e *Engine) unreserve(c *ctr, l *link) {
	l.n.releaseAddrs(l.ep)
	delete(l.n.macs, string(l.ep.MAC))
	delete(l.n.members, c.def.ID)
}

func (n *netw) releaseAddrs(ep *Endpoint) {
	if n.v4 != nil {
		n.v4.Release(ep.IPv4)
	}
	if n.v6 != nil {
		n.v6.Release(ep.IPv6)
	}
}

// takeAddr takes the address asked for, or the lowest free one. p is nil for a
// family that the network does not have.
func (n *netw) takeAddr(p *ipam.Pool, want netip.Addr, e *Engine) (netip.Addr, error) {
	switch {
	case p == nil && want.IsValid():
		return netip.Addr{}, invalid("%w", errOutside(&n.def, want))
	case p == nil:
		return netip.Addr{}, nil
	case !want.IsValid():
		a, err := p.NextOutside(n.moreAddresses())
		if err != nil {
			family := "IPv4"
			if p.Subnet().Addr().Is6() {
				family = "IPv6"
			}
			remedy := "remove containers or make a larger network"
			if len(n.members) == 0 {
				remedy = "the network's own leave none for a container; make a larger network"
			}
			return a, forbidden("no available %s addresses on this network's address pools: %s (%s): all of %s are in use: %s",
				family, n.def.Name, n.def.ID, p.Range(), remedy)
		}
		return a, nil
	}
	if owner := n.ownerOfMore(want, e); owner != "" {
		return netip.Addr{}, forbidden("%w: %v on network %s is %s by its option %s; choose another one, or none to have a free one chosen",
			ipam.ErrTaken, want, n.def.Name, owner, optAddresses)
	}
	switch err := p.Take(want); {
	case errors.Is(err, ipam.ErrTaken):
		return netip.Addr{}, forbidden("%w: %v on network %s is %s; choose another one, or none to have a free one chosen",
			ipam.ErrTaken, want, n.def.Name, n.ownerOf(want, e))
	case errors.Is(err, ipam.ErrKept):
		return netip.Addr{}, forbidden("%w: %v on network %s is kept for others by the option %s; choose one outside of that, or none to have a free one chosen",
			ipam.ErrTaken, want, n.def.Name, optDHCPRange)
	case errors.Is(err, ipam.ErrReserved):
		return netip.Addr{}, forbidden("%w: %v is reserved on network %s", ipam.ErrTaken, want, n.def.Name)
	case errors.Is(err, ipam.ErrOutside):
		return netip.Addr{}, invalid("%w", errOutside(&n.def, want))
	case err != nil:
		return netip.Addr{}, err
	}
	return want, nil
}

// ownerOf says whose an address is; e.mu is held.
func (n *netw) ownerOf(a netip.Addr, e *Engine) string {
	for id, ep := range n.members {
		if ep.IPv4 == a || ep.IPv6 == a {
			if c := e.containers[id]; c != nil {
				return fmt.Sprintf("container %q's", c.def.Name)
			}
		}
	}
	return "the gateway's"
}

// takeMAC settles the endpoint's MAC: the one asked for, or the one that
// follows from the address, which is unique on the network where the IPv4
// address is.
func (n *netw) takeMAC(id string, ep *Endpoint, want network.HardwareAddr, e *Engine) error {
	taken := func(m network.HardwareAddr) bool {
		_, ok := n.macs[string(m)]
		return ok || slices.Equal(m, n.gatewayMAC())
	}
	switch {
	case len(want) > 0:
		if taken(want) {
			owner := "the gateway"
			if c := e.containers[n.macs[string(want)]]; c != nil {
				owner = fmt.Sprintf("container %q", c.def.Name)
			}
			return forbidden("MAC address %v is already in use on network %s by %s: choose another one, or none to have one made", want, n.def.Name, owner)
		}
		ep.MAC = slices.Clone(want)
	case ep.IPv4.IsValid():
		m := packet.MACFromIPv4(ep.IPv4)
		ep.MAC = m[:]
	default:
		m := packet.MACFromIPv6(ep.IPv6)
		ep.MAC = m[:]
	}
	// What follows from the address may be what somebody else asked for.
	for taken(ep.MAC) {
		random := make([]byte, 4)
		_, _ = rand.Read(random) // never fails
		ep.MAC = append(network.HardwareAddr{0x02, 0x42}, random...)
	}
	n.macs[string(ep.MAC)] = id
	return nil
}

// gatewayMAC is the address that the switch has as its own.
func (n *netw) gatewayMAC() network.HardwareAddr {
	if g := n.def.gateway(true); g.IsValid() {
		m := packet.MACFromIPv4(g.Addr())
		return m[:]
	}
	if g := n.def.gateway(false); g.IsValid() {
		m := packet.MACFromIPv6(g.Addr())
		return m[:]
	}
	return slices.Clone(stack.NoGatewayMAC[:])
}

// attach makes the endpoint: data plane, interface, names. routes says which
// default routes go over it.
func (e *Engine) attach(ctx context.Context, c *ctr, r *run, l *link, routes gateways) error {
	p, err := e.usePlane(l.n)
	if err != nil {
		return err
	}
	l.plane, l.hasPlane = p, true
	if err := e.checkExceptions(l); err != nil {
		return err
	}
	if err := e.applyLinks(l.n, ""); err != nil {
		return err
	}
	if err := e.plug(ctx, c.def, r, l, routes); err != nil {
		return err
	}
	return e.addNames(c.def, l, r.links)
}

// plug makes the link's interface, or takes it over if it is there, and puts it
// on the network.
func (e *Engine) plug(ctx context.Context, def *ContainerDef, r *run, l *link, routes gateways) error {
	spec, err := l.spec(def, routes)
	if err != nil {
		return err
	}
	var port Port
	if def.bare() {
		port, err = e.plugBare(ctx, r, l, spec)
	} else {
		port, err = l.plane.Attach(ctx, r.ns, spec)
	}
	if err != nil {
		return fmt.Errorf("network %s: %w", l.n.def.Name, err)
	}
	l.existing = tap.Reroute
	l.port, l.default4, l.default6 = port, spec.Default4, spec.Default6
	return nil
}

// spec is the link as the data plane is told.
func (l *link) spec(def *ContainerDef, routes gateways) (worker.Link, error) {
	spec := worker.Link{
		Link: plane.Link{
			Container: def.Name, Interface: l.ep.Interface, MAC: [6]byte(l.ep.MAC),
			Hostname: hostname(def), Search: def.HostConfig.DNSSearch,
		},
		Endpoint: l.ep.ID, Default4: routes.v4 == l, Default6: routes.v6 == l,
	}
	spec.Guard = stack.Guard{Addresses: l.ep.More.Addresses, Nested: l.ep.More.Nested}
	spec.Limits = plane.Limits(l.ep.Limits)
	for _, a := range l.ep.addresses() {
		s, _ := l.n.def.subnet(a.Is4())
		spec.Addresses = append(spec.Addresses, netip.PrefixFrom(a, s.Prefix.Bits()))
	}
	var err error
	if spec.Sysctls, err = parseSysctls(l.want.DriverOpts); err != nil {
		return spec, invalid("network %s: %w", l.n.def.Name, err)
	}
	spec.Existing = l.existing
	if f := def.Foreign; f != nil {
		spec.Guest, spec.Bare = true, f.Bare
		if f.Bare { // addresses and routes are others' to make
			spec.Default4, spec.Default6 = false, false
		}
		spec.Default4 = spec.Default4 && len(f.Own4) == 0
		spec.Default6 = spec.Default6 && len(f.Own6) == 0
	}
	return spec, nil
}

// rerouteLink makes the container's default routes over the link what routes says; what
// goes through it goes on.
func (e *Engine) rerouteLink(ctx context.Context, def *ContainerDef, r *run, l *link, routes gateways) error {
	if def.bare() {
		return nil
	}
	spec, err := l.spec(def, routes)
	if err == nil {
		err = l.plane.Reroute(ctx, r.ns, spec)
	}
	if err != nil {
		return fmt.Errorf("network %s: %w", l.n.def.Name, err)
	}
	l.default4, l.default6 = spec.Default4, spec.Default6
	return nil
}

// detach undoes attach, as far as it came. The addresses stay reserved.
func (e *Engine) detach(l *link) {
	e.removeNames(l)
	if l.port != nil {
		if err := l.port.Close(); err != nil {
			e.log.Warn("endpoint not closed cleanly", "network", l.n.def.Name, "error", err)
		}
		l.port = nil
	}
	if l.hasPlane {
		if err := e.applyLinks(l.n, l.owner); err != nil {
			e.log.Warn("links not brought up to date", "network", l.n.def.Name, "error", err)
		}
		e.leavePlane(l.n)
		l.plane, l.hasPlane = nil, false
	}
}

// gateways are the links that a container's default routes go over; nil = none.
type gateways struct{ v4, v6 *link }

// chooseGateways picks, for each family, the endpoint with the highest
// priority, and of equals the one whose network's name comes first. Internal
// networks lead nowhere.
func chooseGateways(links []*link) gateways {
	ordered := slices.Clone(links)
	slices.SortStableFunc(ordered, func(a, b *link) int {
		return cmp.Or(cmp.Compare(b.want.GwPriority, a.want.GwPriority), strings.Compare(a.n.def.Name, b.n.def.Name))
	})
	var g gateways
	for _, l := range ordered {
		if l.n.def.Internal {
			continue
		}
		if g.v4 == nil && l.ep.IPv4.IsValid() {
			g.v4 = l
		}
		if g.v6 == nil && l.ep.IPv6.IsValid() {
			g.v6 = l
		}
	}
	return g
}

// usePlane returns the network's data plane and makes it if nobody uses it yet.
func (e *Engine) usePlane(n *netw) (Plane, error) {
	n.planeMu.Lock()
	defer n.planeMu.Unlock()
	if n.plane == nil {
		o := n.def.options()
		p, err := e.data.NewPlane(PlaneSpec{
			ID: n.def.ID, Name: n.def.Name, MTU: n.def.MTU, Internal: n.def.Internal, Resolves: n.def.resolves(),
			Gateway4: n.def.gateway(true), Gateway6: n.def.gateway(false), Subnet4: n.def.prefix(true), Subnet6: n.def.prefix(false), Rules: o.rules, Servers: o.servers,
		})
		if err != nil {
			return nil, err
		}
		n.plane = p
	}
	n.users++
	return n.plane, nil
}

// leavePlane ends the data plane when its last user has left.
func (e *Engine) leavePlane(n *netw) {
	n.planeMu.Lock()
	defer n.planeMu.Unlock()
	n.users--
	if n.users > 0 || n.plane == nil {
		return
	}
	if err := n.plane.Close(); err != nil {
		e.log.Warn("data plane not closed cleanly", "network", n.def.Name, "error", err)
	}
	n.plane = nil
}
