package lifecycle

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Model is what there should be: Docker's rules, written down a second time and without any of the work.
//
// What the program chooses by itself (ids, addresses, random ports) is empty until it has been seen; from then on it
// has to stay.
type Model struct {
	Nets  map[string]*Net // by name
	Ctrs  map[string]*Ctr // by name
	Taken map[hostPort]bool
	// Holder is the number of the namespace that somebody made for containers to join, 0 when there is none; Made
	// counts them.
	Holder, Made int
}

// Net is a network.
type Net struct {
	Name, ID   string
	Predefined bool
	Shape      shape
	V4, V6     netip.Prefix
}

// Ctr is a container.
type Ctr struct {
	Name, ID string
	Mode     string
	Joined   string // id of the container whose network it shares
	Holder   int    // number of the namespace that it joins
	AutoRm   bool
	Ports    []portSpec
	Status   string // created, running or exited
	Atts     []Att
	// Out: published ports lead to it. Bound is what is bound then; entries without a port are not known yet.
	Out   bool
	Bound []binding
}

// Att is a container's place on a network.
type Att struct {
	NetID  string
	Net    string     // its name, also when it is gone
	Static netip.Addr // asked for
	Alias  string
	// While the container runs; zero until seen.
	V4, V6    netip.Addr
	MAC       string
	Endpoint  string // id
	Interface string
}

const (
	created = "created"
	running = "running"
	exited  = "exited"
)

// NewModel is a fresh install.
func NewModel() *Model {
	return &Model{
		Nets:  map[string]*Net{"bridge": {Name: "bridge", Predefined: true}},
		Ctrs:  map[string]*Ctr{},
		Taken: map[hostPort]bool{},
	}
}

// Clone returns a copy that shares nothing that changes.
func (m *Model) Clone() *Model {
	c := &Model{Nets: map[string]*Net{}, Ctrs: map[string]*Ctr{}, Taken: maps.Clone(m.Taken), Holder: m.Holder, Made: m.Made}
	for k, n := range m.Nets {
		n := *n
		c.Nets[k] = &n
	}
	for k, x := range m.Ctrs {
		x := *x
		x.Atts, x.Bound = slices.Clone(x.Atts), slices.Clone(x.Bound)
		c.Ctrs[k] = &x
	}
	return c
}

// net finds a network by id.
func (m *Model) net(id string) *Net {
	for _, n := range m.Nets {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// ctrByID finds a container by id.
func (m *Model) ctrByID(id string) *Ctr {
	for _, c := range m.Ctrs {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// sorted returns the containers by name.
func (m *Model) sorted() []*Ctr {
	return slices.SortedFunc(maps.Values(m.Ctrs), func(a, b *Ctr) int { return strings.Compare(a.Name, b.Name) })
}

func (m *Model) sortedNets() []*Net {
	return slices.SortedFunc(maps.Values(m.Nets), func(a, b *Net) int { return strings.Compare(a.Name, b.Name) })
}

// att finds the container's place on a network.
func (c *Ctr) att(netID string) *Att {
	for i := range c.Atts {
		if c.Atts[i].NetID == netID {
			return &c.Atts[i]
		}
	}
	return nil
}

// follow leads a container's places on networks that are gone to those that have their names now.
func (m *Model) follow(c *Ctr) {
	for i, a := range c.Atts {
		if n := m.Nets[a.Net]; n != nil && m.net(a.NetID) == nil && c.att(n.ID) == nil {
			c.Atts[i].NetID = n.ID
		}
	}
}

func (c *Ctr) running() bool { return c.Status == running }

// members are the running containers with an endpoint on a network.
func (m *Model) members(netID string) []*Ctr {
	var out []*Ctr
	for _, c := range m.sorted() {
		if c.running() && c.att(netID) != nil {
			out = append(out, c)
		}
	}
	return out
}

// shape is a kind of network to create. %d in a subnet stands for the network's number.
type shape struct {
	v4, v6   string // subnets asked for
	dual     bool   // --ipv6 without a subnet for it
	only6    bool   // --ipv4=false
	internal bool
}

// shapes are few, but such that networks overlap each other, run out of addresses, and lack families.
var shapes = []shape{
	{},
	{v4: "10.77.%d.0/29"}, // five addresses for containers
	{v4: "10.78.%d.0/24", v6: "fd00:78:%d::/64"},
	{internal: true},
	{v6: "fd00:79:%d::/64", only6: true},
	{v4: "10.77.0.0/16"}, // overlaps with all of the second kind
	{dual: true},
	{v4: "10.80.%d.0/24", internal: true, dual: true},
}

// subnets are those that network number n of the shape asks for.
func (s shape) subnets(n int) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range []string{s.v4, s.v6} {
		if text != "" {
			out = append(out, netip.MustParsePrefix(strings.Replace(text, "%d", strconv.Itoa(n), 1)))
		}
	}
	return out
}

// has4 and has6: the families of the shape's networks.
func (s shape) has4() bool { return !s.only6 }
func (s shape) has6() bool { return s.dual || s.v6 != "" }

// capacity is how many containers the IPv4 subnet takes.
func capacity(p netip.Prefix) int {
	if p.Bits() < 20 {
		return 4000
	}
	return 1<<(32-p.Bits()) - 3 // the edges and the gateway
}
