package lifecycle

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// hostPort is a port of the host that somebody holds.
type hostPort struct {
	Proto string
	Addr  netip.Addr
	Port  uint16
}

func (p hostPort) String() string {
	return fmt.Sprintf("%s %v", p.Proto, netip.AddrPortFrom(p.Addr, p.Port))
}

// excludes: not both can be bound.
func (p hostPort) excludes(q hostPort) bool {
	return p.Proto == q.Proto && p.Port == q.Port && p.Addr.Is4() == q.Addr.Is4() &&
		(p.Addr == q.Addr || p.Addr.IsUnspecified() || q.Addr.IsUnspecified())
}

// binding is a published port: the container's, and where the host listens for it. Port 0 is not known yet.
type binding struct {
	Container uint16
	hostPort
}

func (b binding) String() string { return fmt.Sprintf("%d/%s->%v", b.Container, b.Proto, b.hostPort) }

// portSpec is something to publish: the host's ports first to last, 0 for any.
type portSpec struct {
	proto       string
	container   uint16
	host        string // address; "" all
	first, last uint16
}

// portSpecs are such that some of them exclude others.
var portSpecs = []portSpec{
	{"tcp", 80, "", 8001, 8001},
	{"tcp", 80, "", 8002, 8002},
	{"udp", 53, "", 8001, 8001},
	{"tcp", 81, "127.0.0.1", 8003, 8003},
	{"tcp", 82, "", 8003, 8003},
	{"tcp", 83, "", 8001, 8004},
	{"tcp", 84, "", 0, 0},
	{"udp", 85, "127.0.0.1", 8002, 8002},
	{"udp", 86, "", 0, 0},
}

// fixedPorts are the ports that somebody else on the host takes from time to time.
var fixedPorts = []uint16{8001, 8002, 8003, 8004}

func (s portSpec) hosts() []netip.Addr {
	if s.host != "" {
		return []netip.Addr{netip.MustParseAddr(s.host)}
	}
	return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
}

// hostPorts is the host's side as Docker writes it.
func (s portSpec) hostPorts() string {
	switch {
	case s.first == 0:
		return ""
	case s.first == s.last:
		return strconv.Itoa(int(s.first))
	}
	return fmt.Sprintf("%d-%d", s.first, s.last)
}

func (s portSpec) freedom() int {
	if s.first == 0 {
		return 1 << 16
	}
	return int(s.last) - int(s.first)
}

// at lists what the spec binds with a host port.
func (s portSpec) at(port uint16) []binding {
	var out []binding
	for _, h := range s.hosts() {
		out = append(out, binding{s.container, hostPort{s.proto, h, port}})
	}
	return out
}

// place chooses host ports for a container's specs as the program should: fixed ones first, the first free one of a
// range, random ones stay 0. before are the ports of a life that goes on. It is false when something is taken.
func (m *Model) place(c *Ctr, before []binding) ([]binding, bool) {
	return m.placeMore(c, c.Ports, before, nil)
}

// placeMore does that for some of a container's specs, which has own already.
func (m *Model) placeMore(c *Ctr, specs []portSpec, before, own []binding) ([]binding, bool) {
	specs = slices.Clone(specs)
	slices.SortStableFunc(specs, func(a, b portSpec) int {
		return cmp.Or(cmp.Compare(a.freedom(), b.freedom()), cmp.Compare(a.container, b.container), cmp.Compare(a.proto, b.proto))
	})
	out := slices.Clone(own)
	for _, s := range specs {
		first, last := s.first, s.last
		if i := slices.IndexFunc(before, func(b binding) bool { return b.Container == s.container && b.Proto == s.proto }); i >= 0 && s.freedom() > 0 {
			first, last = before[i].Port, before[i].Port
		}
		if first == 0 {
			out = append(out, s.at(0)...)
			continue
		}
		placed := false
		for port := first; port <= last && !placed; port++ {
			if m.free(c, s.at(port), out) {
				out, placed = append(out, s.at(port)...), true
			}
		}
		if !placed {
			return nil, false
		}
	}
	return out, true
}

// publish is Docker's -p for a container that is there: all of the ports or none.
func (m *Model) publish(c *Ctr, op Op) string {
	var more []portSpec
	for _, i := range op.Ports {
		if s := portSpecs[i]; !slices.Contains(c.Ports, s) && !slices.Contains(more, s) {
			more = append(more, s)
		}
	}
	if c.running() && c.Out {
		bound, free := m.placeMore(c, more, nil, c.Bound)
		if !free {
			return forbidden
		}
		c.Bound = bound
	}
	c.Ports = slices.Concat(c.Ports, more)
	return ok
}

func (m *Model) unpublish(c *Ctr, op Op) string {
	for _, i := range op.Ports {
		if !slices.Contains(c.Ports, portSpecs[i]) {
			return notFound
		}
	}
	for _, i := range op.Ports {
		s := portSpecs[i]
		c.Ports = slices.DeleteFunc(slices.Clone(c.Ports), func(other portSpec) bool { return other == s })
		c.Bound = slices.DeleteFunc(slices.Clone(c.Bound), func(b binding) bool {
			return b.Container == s.container && b.Proto == s.proto && (s.freedom() > 0 || b.Port == s.first)
		})
	}
	return ok
}

// free: nobody but c itself has any of want, and c does not want it twice.
func (m *Model) free(c *Ctr, want, own []binding) bool {
	for _, w := range want {
		for p := range m.Taken {
			if p.excludes(w.hostPort) {
				return false
			}
		}
		for _, b := range own {
			if b.excludes(w.hostPort) {
				return false
			}
		}
		for _, other := range m.Ctrs {
			if other.ID == c.ID || !other.running() {
				continue
			}
			for _, b := range other.Bound {
				if b.excludes(w.hostPort) {
					return false
				}
			}
		}
	}
	return true
}
