package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/footbridge-net/footbridge/engine/ipam"
)

// Limits bound what one container can make the daemon hold, on one network. A
// zero field means the default of the package that keeps the limit.
//
// They are options of a network, and hold for each container on it by itself; a
// driver option of an endpoint, of the same name, counts more.
type Limits struct {
	HalfOpen             int `json:",omitzero"` // TCP connections to the outside that wait for an answer
	TCP                  int `json:",omitzero"` // TCP connections to the outside
	UDP                  int `json:",omitzero"` // UDP mappings to the outside
	Echo                 int `json:",omitzero"` // ICMP echo ids to the outside
	Fragments            int `json:",omitzero"` // bytes of IP fragments that wait for the others of their datagram
	FragmentDatagrams    int `json:",omitzero"` // datagrams of which fragments wait
	DNS                  int `json:",omitzero"` // questions under way to the host's resolvers
	PublishedConnections int `json:",omitzero"` // TCP connections to its published ports
	PublishedUDP         int `json:",omitzero"` // UDP flows to its published ports
}

// limitPrefix begins the keys of limits, among the options of a network and the
// driver options of an endpoint.
const limitPrefix = "com.footbridge.limit."

// limit is one of the Limits as an option.
type limit struct {
	name      string
	least     int
	most      int
	unit      string
	fieldOf   func(*Limits) *int
	leastsWhy string // "" = one is needed for anything to work
}

// The limits by their names. The upper bounds are beyond what one process can
// hold: they only catch slips of the pen, and keep sums within an int.
var limits = []limit{
	{"half_open", 1, 1 << 16, "connections", func(l *Limits) *int { return &l.HalfOpen }, ""},
	{"tcp", 1, 1 << 20, "connections", func(l *Limits) *int { return &l.TCP }, ""},
	{"udp", 1, 1 << 20, "mappings", func(l *Limits) *int { return &l.UDP }, ""},
	{"echo", 1, 1 << 16, "ids", func(l *Limits) *int { return &l.Echo }, ""},
	{"fragments", 1 << 16, 1 << 30, "bytes", func(l *Limits) *int { return &l.Fragments }, "one whole datagram"},
	{"fragment_datagrams", 1, 1 << 16, "datagrams", func(l *Limits) *int { return &l.FragmentDatagrams }, ""},
	{"dns", 1, 1 << 16, "questions", func(l *Limits) *int { return &l.DNS }, ""},
	{"published_connections", 1, 1 << 20, "connections", func(l *Limits) *int { return &l.PublishedConnections }, ""},
	{"published_udp", 1, 1 << 20, "flows", func(l *Limits) *int { return &l.PublishedUDP }, ""},
}

// parseLimits takes the limits out of options and leaves alone what has another
// prefix. The error names the option, its value and the range.
func parseLimits(options map[string]string) (Limits, error) {
	var l Limits
	for _, key := range slices.Sorted(maps.Keys(options)) {
		name, ok := strings.CutPrefix(key, limitPrefix)
		if !ok {
			continue
		}
		i := slices.IndexFunc(limits, func(l limit) bool { return l.name == name })
		if i < 0 {
			return Limits{}, fmt.Errorf("unknown limit %q: known are %s", key, strings.Join(limitNames(), ", "))
		}
		known := limits[i]
		n, err := strconv.Atoi(options[key])
		if err != nil || n < known.least || n > known.most {
			why := ""
			if known.leastsWhy != "" {
				why = " (" + known.leastsWhy + ")"
			}
			return Limits{}, fmt.Errorf("invalid limit %s=%q: it is a number of %s, %d%s to %d", key, options[key], known.unit, known.least, why, known.most)
		}
		*known.fieldOf(&l) = n
	}
	return l, nil
}

func limitNames() []string {
	names := make([]string, len(limits))
	for i, l := range limits {
		names[i] = limitPrefix + l.name
	}
	return names
}

// or returns l with what it does not set taken from base.
func (l Limits) or(base Limits) Limits {
	for _, known := range limits {
		if f := known.fieldOf(&l); *f == 0 {
			*f = *known.fieldOf(&base)
		}
	}
	return l
}

// endpointLimits are the limits of a container on a network. Both were checked
// when they were made; the error is that of a record that another version wrote.
func endpointLimits(n *NetworkDef, a *Attachment) (Limits, error) {
	base, err := parseLimits(n.Options)
	if err != nil {
		return Limits{}, fmt.Errorf("network %s: %w", n.Name, err)
	}
	own, err := parseLimits(a.DriverOpts)
	if err != nil {
		return Limits{}, fmt.Errorf("endpoint on network %s: %w", n.Name, err)
	}
	return own.or(base), nil
}

// Driver options of an endpoint that is to carry more than its own addresses.
const (
	// optAddresses are addresses besides its own that the container may send
	// from and is asked for: of a service that moves between containers, of
	// containers inside the container.
	optAddresses = "com.footbridge.endpoint.addresses"
	// optNested lets frames of other stations than the container's own through:
	// those of a bridge inside it.
	optNested = "com.footbridge.endpoint.nested"
)

// maxMore bounds the prefixes of optAddresses: every frame of the container is
// held against them.
const maxMore = 64

// More is what an endpoint may carry beside its own, because somebody said so.
type More struct {
	// Addresses are in the network's subnets; single ones are prefixes of full
	// length.
	Addresses []netip.Prefix `json:",omitempty"`
	Nested    bool           `json:",omitzero"`
}

// checkDriverOpts refuses driver options of an endpoint on network n that are not
// known or make no sense.
func checkDriverOpts(n *NetworkDef, options map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(options)) {
		switch {
		case k == optIfname && !validIfname(options[k]):
			return fmt.Errorf("invalid interface name %q: 1 to 15 letters, digits, '-', '_' and '.', and not lo", options[k])
		case k == optIfname, k == optSysctls, k == optAddresses, k == optNested, strings.HasPrefix(k, limitPrefix):
		default:
			return fmt.Errorf("unknown driver option %q: known are %s, %s, %s, %s and limits (%s*)", k, optIfname, optSysctls, optAddresses, optNested, limitPrefix)
		}
	}
	if _, err := parseSysctls(options); err != nil {
		return err
	}
	if _, err := parseLimits(options); err != nil {
		return err
	}
	_, err := parseMore(n, options)
	return err
}

// parseMore reads optAddresses and optNested of an endpoint on network n.
func parseMore(n *NetworkDef, options map[string]string) (More, error) {
	var m More
	switch v := options[optNested]; v {
	case "", "false":
	case "true":
		m.Nested = true
	default:
		return More{}, fmt.Errorf("invalid driver option %s=%q: it is true or false", optNested, v)
	}
	list := options[optAddresses]
	for word := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
		p, err := parseMoreAddress(n, word)
		if err != nil {
			return More{}, fmt.Errorf("invalid driver option %s=%q: %w", optAddresses, list, err)
		}
		if !slices.Contains(m.Addresses, p) {
			m.Addresses = append(m.Addresses, p)
		}
		if len(m.Addresses) > maxMore {
			return More{}, fmt.Errorf("invalid driver option %s: more than %d addresses; give a prefix that holds them", optAddresses, maxMore)
		}
	}
	if _, given := options[optAddresses]; given && len(m.Addresses) == 0 {
		return More{}, fmt.Errorf("invalid driver option %s=%q: it is a list of addresses and prefixes, with ';' between them", optAddresses, list)
	}
	return m, nil
}

// parseMoreAddress reads one address or prefix, which must be the network's and
// not the gateway's.
func parseMoreAddress(n *NetworkDef, word string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(word)
	if err != nil {
		a, aerr := netip.ParseAddr(word)
		if aerr != nil {
			return p, fmt.Errorf("%q is neither an address nor a prefix", word)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	a := p.Addr()
	if a.Is4In6() {
		return p, fmt.Errorf("%s: write it as a plain IPv4 or IPv6 address", word)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%s: as a prefix it should be %v", word, p.Masked())
	}
	s, ok := n.subnet(a.Is4())
	switch {
	case !ok || !s.Prefix.Contains(a) || p.Bits() < s.Prefix.Bits():
		return p, fmt.Errorf("%s is not inside a subnet of network %s (%s)", word, n.Name, n.subnetList())
	case s.Gateway.IsValid() && p.Contains(s.Gateway):
		return p, fmt.Errorf("%s holds the gateway's address %v", word, s.Gateway)
	case p.IsSingleIP() && a.Is4() && s.Prefix.Bits() < 31 && (a == s.Prefix.Addr() || a == ipam.Last(s.Prefix)):
		return p, fmt.Errorf("%s is no station's address in %v", word, s.Prefix)
	}
	return p, nil
}

func (n *NetworkDef) subnetList() string {
	var have []string
	for _, s := range n.Subnets {
		have = append(have, s.Prefix.String())
	}
	return strings.Join(have, ", ")
}

// takeOptions settles what an endpoint may carry and hold, by the options of its
// network and its own; e.mu is held. Two containers may have the same more
// addresses: that is how a service moves from one to the other. None may have
// another's own.
func (n *netw) takeOptions(id string, ep *Endpoint, a *Attachment, e *Engine) (err error) {
	if ep.Limits, err = endpointLimits(&n.def, a); err != nil {
		return invalid("%w", err)
	}
	if ep.More, err = parseMore(&n.def, a.DriverOpts); err != nil {
		return invalid("%w", err)
	}
	for other, theirs := range n.members {
		for _, taken := range theirs.addresses() {
			if other != id && ep.More.holds(taken) {
				return forbidden("%w: %v on network %s, which the option %s claims, is %s; leave it out",
					ipam.ErrTaken, taken, n.def.Name, optAddresses, n.ownerOf(taken, e))
			}
		}
	}
	return nil
}

// moreAddresses are what containers on the network claim beside their own; e.mu
// is held.
func (n *netw) moreAddresses() []netip.Prefix {
	var out []netip.Prefix
	for _, ep := range n.members {
		out = append(out, ep.More.Addresses...)
	}
	return out
}

// ownerOfMore says who claims an address beside its own, "" if nobody does; e.mu
// is held.
func (n *netw) ownerOfMore(a netip.Addr, e *Engine) string {
	for id, ep := range n.members {
		if c := e.containers[id]; ep.More.holds(a) && c != nil {
			return fmt.Sprintf("claimed for container %q", c.def.Name)
		}
	}
	return ""
}

// holds reports whether a is one of m's addresses.
func (m More) holds(a netip.Addr) bool {
	return slices.ContainsFunc(m.Addresses, func(p netip.Prefix) bool { return p.Contains(a) })
}
