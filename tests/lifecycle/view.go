package lifecycle

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// view is what the API shows.
type view struct {
	Nets map[string]network.Inspect
	Ctrs map[string]container.InspectResponse
}

// look asks for everything. What goes away while it is asked for is left out.
func look(ctx context.Context, d Docker) (view, error) {
	v := view{map[string]network.Inspect{}, map[string]container.InspectResponse{}}
	nets, err := d.NetworkList(ctx, nil)
	if err != nil {
		return v, err
	}
	for _, n := range nets {
		if n.Driver != "bridge" {
			continue
		}
		in, err := d.NetworkInspect(ctx, n.ID, api.NetworkInspectOptions{})
		if classOf(err) == notFound {
			continue
		}
		if err != nil {
			return v, err
		}
		v.Nets[in.Name] = in
	}
	ctrs, err := d.ContainerList(ctx, api.ListOptions{All: true})
	if err != nil {
		return v, err
	}
	for _, c := range ctrs {
		in, err := d.ContainerInspect(ctx, c.ID)
		if classOf(err) == notFound {
			continue
		}
		if err != nil {
			return v, err
		}
		name := strings.TrimPrefix(in.Name, "/")
		if _, twice := v.Ctrs[name]; twice {
			name += " once more"
		}
		v.Ctrs[name] = in
	}
	return v, nil
}

// attsOf lists where a container is, by id of the network.
func attsOf(in container.InspectResponse) map[string]Att {
	out := map[string]Att{}
	if in.HostConfig.NetworkMode.IsHost() || in.HostConfig.NetworkMode.IsNone() {
		return out // shown as networks, and are none
	}
	for name, s := range in.NetworkSettings.Networks {
		a := Att{NetID: s.NetworkID, Net: name, V4: s.IPAddress, V6: s.GlobalIPv6Address, Endpoint: s.EndpointID}
		if s.IPAMConfig != nil {
			a.Static = s.IPAMConfig.IPv4Address
		}
		if len(s.Aliases) > 0 {
			a.Alias = s.Aliases[0]
		}
		if a.Endpoint != "" {
			a.MAC = s.MacAddress.String()
		}
		out[s.NetworkID] = a
	}
	return out
}

// boundOf lists a container's published ports.
func boundOf(in container.InspectResponse) []binding {
	var out []binding
	for p, bs := range in.NetworkSettings.Ports {
		for _, b := range bs {
			host, err := strconv.ParseUint(b.HostPort, 10, 16)
			if err != nil {
				continue // what is not there is missed by the comparison
			}
			out = append(out, binding{p.Num(), hostPort{string(p.Proto()), b.HostIP, uint16(host)}})
		}
	}
	slices.SortFunc(out, func(a, b binding) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// matchNet compares a network with what it should be; what was not known is taken over.
func matchNet(want *Net, in network.Inspect) (*Net, []string) {
	n := *want
	var bad []string
	fail := func(format string, args ...any) {
		bad = append(bad, fmt.Sprintf("network %s: ", n.Name)+fmt.Sprintf(format, args...))
	}
	if n.ID == "" {
		n.ID = in.ID
	}
	if n.ID != in.ID {
		fail("has the id %.12s and had %.12s", in.ID, n.ID)
	}
	var v4, v6 netip.Prefix
	for _, c := range in.IPAM.Config {
		if c.Subnet.Addr().Is4() {
			v4 = c.Subnet
		} else {
			v6 = c.Subnet
		}
	}
	if !n.V4.IsValid() && n.Shape.has4() {
		n.V4 = v4
	}
	if !n.V6.IsValid() && n.Shape.has6() {
		n.V6 = v6
	}
	if v4 != n.V4 || v6 != n.V6 || in.Internal != n.Shape.internal || v4.IsValid() != n.Shape.has4() || v6.IsValid() != n.Shape.has6() {
		fail("has %v and %v (internal %v), should have %v and %v (%v)", v4, v6, in.Internal, n.V4, n.V6, n.Shape.internal)
	}
	return &n, bad
}

// matchCtr compares a container with what it should be; what was not known is taken over.
func matchCtr(m *Model, want *Ctr, in container.InspectResponse) (*Ctr, []string) {
	c := *want
	c.Atts, c.Bound = slices.Clone(want.Atts), nil
	var bad []string
	fail := func(format string, args ...any) {
		bad = append(bad, fmt.Sprintf("container %s: ", c.Name)+fmt.Sprintf(format, args...))
	}
	if c.ID == "" {
		c.ID = in.ID
	}
	if c.ID != in.ID {
		fail("has the id %.12s and had %.12s", in.ID, c.ID)
	}
	if string(in.State.Status) != c.Status || in.State.Running != c.running() {
		fail("is %s (running %v), should be %s", in.State.Status, in.State.Running, c.Status)
	}
	if c.running() && in.State.Error != "" {
		fail("runs with flaws: %s", in.State.Error)
	}
	have := attsOf(in)
	if len(have) != len(c.Atts) {
		fail("is on %d networks, should be on %d", len(have), len(c.Atts))
	}
	for i := range c.Atts {
		a := &c.Atts[i]
		h, there := have[a.NetID]
		if !there {
			fail("is not on network %.12s", a.NetID)
			continue
		}
		if h.Net != a.Net || h.Static != a.Static || h.Alias != a.Alias {
			fail("is on %.12s, %s, as %v %q, should be on %s as %v %q", a.NetID, h.Net, h.Static, h.Alias, a.Net, a.Static, a.Alias)
		}
		if !c.running() {
			if h.Endpoint != "" || h.V4.IsValid() || h.V6.IsValid() {
				fail("does not run and has an endpoint on %.12s: %v %v", a.NetID, h.V4, h.V6)
			}
			continue
		}
		n := m.net(a.NetID)
		if n == nil {
			fail("runs on network %.12s that is not there", a.NetID)
			continue
		}
		if a.Endpoint == "" { // not seen before
			static := a.V4
			*a = h
			if static.IsValid() && h.V4 != static {
				fail("has %v on %s, asked for %v", h.V4, n.Name, static)
			}
		}
		if *a != h {
			fail("has %+v on %s, had %+v", h, n.Name, *a)
		}
		if h.V4.IsValid() != n.Shape.has4() || h.V6.IsValid() != n.Shape.has6() || h.Endpoint == "" {
			fail("has %v and %v on %s", h.V4, h.V6, n.Name)
		}
	}
	if have, should := wishes(in), c.wishes(); have != should {
		fail("publishes %s, should publish %s", have, should)
	}
	var worse []string
	c.Bound, worse = matchBound(want.Bound, boundOf(in))
	for _, text := range worse {
		fail("%s", text)
	}
	return &c, bad
}

// wishes is what a container is to publish, as text: in any order, and what is there twice is there once.
func wishes(in container.InspectResponse) string {
	var out []string
	for p, bs := range in.HostConfig.PortBindings {
		for _, b := range bs {
			out = append(out, fmt.Sprint(p, b))
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

func (c *Ctr) wishes() string {
	var out []string
	for _, s := range c.Ports {
		p, b := s.wish()
		out = append(out, fmt.Sprint(p, b))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// matchBound compares published ports; those wanted with port 0 are taken over.
func matchBound(want, have []binding) (bound []binding, bad []string) {
	left := slices.Clone(have)
	take := func(match func(binding) bool) bool {
		i := slices.IndexFunc(left, match)
		if i < 0 {
			return false
		}
		bound = append(bound, left[i])
		left = slices.Delete(left, i, i+1)
		return true
	}
	for _, free := range []bool{false, true} {
		for _, w := range want {
			if (w.Port == 0) != free {
				continue
			}
			if !take(func(h binding) bool {
				return h == w || free && h.Container == w.Container && h.Proto == w.Proto && h.Addr == w.Addr
			}) {
				bad = append(bad, fmt.Sprintf("%v is not bound (bound are %v)", w, have))
			}
		}
	}
	for _, h := range left {
		bad = append(bad, fmt.Sprintf("%v is bound and should not be", h))
	}
	return bound, bad
}

// judge compares all that the API shows with the model, which learns from it when there is nothing to say against it.
func (m *Model) judge(v view) (learned *Model, bad []string) {
	learned = m.Clone()
	for name, n := range m.Nets {
		in, there := v.Nets[name]
		if !there {
			bad = append(bad, fmt.Sprintf("network %s is missing", name))
			continue
		}
		var worse []string
		learned.Nets[name], worse = matchNet(n, in)
		bad = append(bad, worse...)
	}
	for name := range v.Nets {
		if m.Nets[name] == nil {
			bad = append(bad, fmt.Sprintf("network %s should not be there", name))
		}
	}
	for name, c := range m.Ctrs {
		in, there := v.Ctrs[name]
		if !there {
			bad = append(bad, fmt.Sprintf("container %s is missing", name))
			continue
		}
		var worse []string
		learned.Ctrs[name], worse = matchCtr(learned, c, in)
		bad = append(bad, worse...)
	}
	for name := range v.Ctrs {
		if m.Ctrs[name] == nil {
			bad = append(bad, fmt.Sprintf("container %s should not be there", name))
		}
	}
	slices.Sort(bad)
	return learned, append(bad, v.contradictions()...)
}

// contradictions are what cannot be, whatever was asked for.
func (v view) contradictions() (bad []string) {
	subnets := map[netip.Prefix]string{}
	for name, n := range v.Nets {
		for _, c := range n.IPAM.Config {
			for p, other := range subnets {
				if p.Overlaps(c.Subnet) {
					bad = append(bad, fmt.Sprintf("networks %s (%v) and %s (%v) overlap", name, c.Subnet, other, p))
				}
			}
			subnets[c.Subnet] = name
		}
		taken := map[string]string{}
		members := 0
		for cname, c := range v.Ctrs {
			a, on := attsOf(c)[n.ID]
			if !on || a.Endpoint == "" {
				continue
			}
			members++
			r, known := n.Containers[c.ID]
			if !known || r.Name != cname || r.EndpointID != a.Endpoint || r.MacAddress.String() != a.MAC || r.IPv4Address.Addr() != a.V4 || r.IPv6Address.Addr() != a.V6 {
				bad = append(bad, fmt.Sprintf("network %s shows %s as %+v, the container itself as %+v", name, cname, r, a))
			}
			for _, what := range []string{a.V4.String(), a.V6.String(), a.MAC, a.Endpoint} {
				if other := taken[what]; other != "" && what != (netip.Addr{}).String() {
					bad = append(bad, fmt.Sprintf("%s is both %s's and %s's", what, other, cname))
				}
				taken[what] = cname
			}
			for _, addr := range []netip.Addr{a.V4, a.V6} {
				if addr.IsValid() && !slices.ContainsFunc(n.IPAM.Config, func(c network.IPAMConfig) bool {
					return c.Subnet.Contains(addr) && c.Gateway != addr
				}) {
					bad = append(bad, fmt.Sprintf("%s's address %v is none of network %s", cname, addr, name))
				}
			}
		}
		if len(n.Containers) != members {
			bad = append(bad, fmt.Sprintf("network %s shows %d containers, and %d say that they are on it", name, len(n.Containers), members))
		}
		if n.Status != nil {
			for p, s := range n.Status.IPAM.Subnets {
				reserved := uint64(2) // the gateway, and what the subnet begins with
				if p.Addr().Is4() {
					reserved++ // broadcast
				}
				if s.IPsInUse != uint64(members)+reserved {
					bad = append(bad, fmt.Sprintf("network %s: %d addresses of %v are in use by %d containers", name, s.IPsInUse, p, members))
				}
			}
		}
	}
	slices.Sort(bad)
	return bad
}
