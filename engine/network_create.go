package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/engine/ipam"
	"github.com/footbridge-net/footbridge/engine/store"
	"github.com/footbridge-net/footbridge/internal/absent"
)

// ErrPoolOverlap: a subnet shares addresses with another network or with a
// route of the host.
var ErrPoolOverlap = errors.New("Pool overlaps with other one on this address space") //nolint:staticcheck // Docker's wording

// NetworkCreate implements api.NetworkBackend.
func (e *Engine) NetworkCreate(_ context.Context, req network.CreateRequest) (network.CreateResponse, error) {
	e.netOp.Lock()
	defer e.netOp.Unlock()
	def, err := newNetworkDef(e.opts.Config.withDefaults(req))
	if err != nil {
		return network.CreateResponse{}, err
	}
	if e.networkByName(def.Name) != nil {
		return network.CreateResponse{}, conflict("network with name %s already exists", def.Name)
	}
	def.ID, def.Created = newID(), e.now()
	if err := e.checkOutbound(def); err != nil {
		return network.CreateResponse{}, err
	}
	if err := e.chooseSubnets(def, nil); err != nil {
		return network.CreateResponse{}, err
	}
	if err := e.addNetwork(def); err != nil {
		return network.CreateResponse{}, err
	}
	e.networkEvent(events.ActionCreate, def, nil)
	res := network.CreateResponse{ID: def.ID}
	if _, ok := def.Options[optBridgeName]; ok {
		res.Warning = "The option " + optBridgeName + " is discarded: footbridge's networks have no kernel bridge to name"
	}
	return res, nil
}

// newNetworkDef checks what can be checked without the other networks, and
// returns a definition with the subnets that were asked for.
func newNetworkDef(req network.CreateRequest) (*NetworkDef, error) {
	if err := checkNetworkName(req.Name); err != nil {
		return nil, err
	}
	switch req.Driver {
	case "", driverBridge:
		req.Driver = driverBridge
	case driverHost, driverNull:
		return nil, forbidden("only one instance of \"%s\" network is allowed, and it is there", req.Driver)
	default:
		return nil, notFound("plugin %q not found: %s", req.Driver, absent.NetworkDriver(req.Driver))
	}
	switch {
	case req.Scope != "" && req.Scope != "local":
		return nil, invalid("network scope %q is not available: footbridge's networks are local to this host", req.Scope)
	case req.Ingress || req.ConfigOnly || (req.ConfigFrom != nil && req.ConfigFrom.Network != ""):
		return nil, invalid("ingress and config-only networks are not available: create network %s with its own options", req.Name)
	}
	options, err := parseOptions(req.Options)
	if err != nil {
		return nil, err
	}
	if err := checkLabels(req.Labels); err != nil {
		return nil, err
	}
	def := &NetworkDef{
		Name: req.Name, Driver: req.Driver, Internal: req.Internal, Attachable: req.Attachable,
		Options: maps.Clone(req.Options), Labels: maps.Clone(req.Labels),
	}
	var wish []network.IPAMConfig
	if req.IPAM != nil {
		if d := req.IPAM.Driver; d != "" && d != "default" {
			return nil, notFound("IPAM plugin %q not found: footbridge has its own only (\"default\")", d)
		}
		if len(req.IPAM.Options) > 0 {
			return nil, invalid("IPAM options are not available: leave out --ipam-opt")
		}
		wish = req.IPAM.Config
	}
	if err := def.takeSubnets(wish, &options); err != nil {
		return nil, err
	}
	_, has6 := def.subnet(false)
	def.EnableIPv4 = first(true, req.EnableIPv4, options.enable4)
	def.EnableIPv6 = first(has6, req.EnableIPv6, options.enable6) // whoever gives an IPv6 subnet means it
	if has6 && !def.EnableIPv6 {
		return nil, invalid("an IPv6 subnet was given for a network without IPv6: leave it out or give --ipv6")
	}
	if _, has4 := def.subnet(true); has4 && !def.EnableIPv4 {
		return nil, invalid("an IPv4 subnet was given for a network without IPv4: leave it out or leave out --ipv4=false")
	}
	if !def.EnableIPv4 && !def.EnableIPv6 {
		return nil, invalid("IPv4 or IPv6 must be enabled: leave out --ipv4=false, or give --ipv6")
	}
	return def, options.settle(def)
}

// first is the first of choices that was made, else otherwise.
func first(otherwise bool, choices ...*bool) bool {
	for _, c := range choices {
		if c != nil {
			return *c
		}
	}
	return otherwise
}

func checkNetworkName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return invalid("invalid network name: name is empty")
	case name == network.NetworkDefault: // it stands for the network bridge
		return forbidden("operation is not permitted on predefined %s network", name)
	case name == "container" || strings.HasPrefix(name, "container:") || strings.HasPrefix(name, "ns:"):
		return forbidden("network name %q is reserved and cannot be created: it has a meaning of its own as --network %s", name, name)
	case isPredefinedName(name):
		return forbidden("operation is not permitted on predefined %s network", name)
	case !validName(name):
		return invalid("invalid network name %q: only [a-zA-Z0-9][a-zA-Z0-9_.-]* are allowed", name)
	}
	return nil
}

func isPredefinedName(name string) bool {
	return name == network.NetworkBridge || name == network.NetworkHost || name == network.NetworkNone
}

// takeSubnets takes over the subnets of a request. Ranges, gateways and
// auxiliary addresses without a subnet in their own entry are put to the one
// that holds them, as Docker's command line does.
func (n *NetworkDef) takeSubnets(wish []network.IPAMConfig, o *netOptions) error {
	for _, w := range wish {
		if !w.Subnet.IsValid() {
			continue
		}
		if err := checkSubnet(w.Subnet); err != nil {
			return err
		}
		if other, ok := n.subnet(w.Subnet.Addr().Is4()); ok {
			return forbidden("bridge driver doesn't support multiple subnets of one family: %v or %v, not both", other.Prefix, w.Subnet)
		}
		n.Subnets = append(n.Subnets, SubnetDef{Prefix: w.Subnet})
	}
	for _, w := range wish {
		if err := n.takeRange(w); err != nil {
			return err
		}
		if w.Gateway.IsValid() {
			s, err := n.subnetFor(w, w.Gateway, "gateway", w.Gateway)
			if err != nil {
				return err
			}
			if s.Gateway.IsValid() && s.Gateway != w.Gateway {
				return invalid("cannot configure multiple gateways (%v, %v) for the same subnet (%v)", s.Gateway, w.Gateway, s.Prefix)
			}
			s.Gateway = w.Gateway
		}
		for _, name := range slices.Sorted(maps.Keys(w.AuxAddress)) {
			a := w.AuxAddress[name]
			switch {
			case !oneWord(name):
				return invalid("invalid name %q of an auxiliary address: it is one word", name)
			case name == auxDefaultGateway4 || name == auxDefaultGateway6:
				return invalid("the auxiliary address %s is not available: containers go out by the network's own gateway", name)
			}
			s, err := n.subnetFor(w, a, "aux-address", a)
			if err != nil {
				return err
			}
			if s.Aux == nil {
				s.Aux = map[string]netip.Addr{}
			}
			s.Aux[name] = a
		}
	}
	for _, r := range o.ranges {
		s, err := n.subnetFor(network.IPAMConfig{}, r.first, "range", r)
		switch {
		case err != nil:
			return err
		case s.Range.IsValid():
			return invalid("cannot configure multiple ranges (%v, %v) on the same subnet (%v)", s.Range, r, s.Prefix)
		case s.sized():
			return errSized("range", r)
		}
		s.First, s.Last = r.first, r.last
	}
	if err := o.checkKept(n); err != nil {
		return err
	}
	check := &NetworkDef{Name: n.Name, Options: n.Options}
	for _, s := range n.Subnets {
		if !s.sized() { // those get their addresses later
			check.Subnets = append(check.Subnets, s)
		}
	}
	if _, _, err := pools(check); err != nil {
		return invalid("invalid network config: %w", err)
	}
	return nil
}

// By these names Docker takes another address than the gateway's for the containers'
// default routes.
const (
	auxDefaultGateway4 = "DefaultGatewayIPv4"
	auxDefaultGateway6 = "DefaultGatewayIPv6"
)

// checkSubnet refuses what containers cannot have. An unspecified address asks for any
// subnet of that length.
func checkSubnet(p netip.Prefix) error {
	switch {
	case p.Addr().Is4In6():
		return invalid("invalid subnet %v: write it as an IPv4 subnet", p)
	case p.Addr().IsLinkLocalUnicast():
		return invalid("invalid subnet %v: link-local addresses belong to each interface alone; choose a private subnet, for example 10.20.0.0/24 or fd00:20::/64", p)
	case p != p.Masked():
		return invalid("invalid network config: invalid subnet %v: it should be %v", p, p.Masked())
	}
	return nil
}

// sized: only the length was asked for, the subnet is still to be chosen.
func (s *SubnetDef) sized() bool { return s.Prefix.Addr().IsUnspecified() && s.Prefix.Bits() > 0 }

func errSized(what string, value fmt.Stringer) error {
	return invalid("invalid network config: %s %v: give the subnet that it is in, not its size alone", what, value)
}

// takeRange takes over the range of an entry.
func (n *NetworkDef) takeRange(w network.IPAMConfig) error {
	r := w.IPRange
	if !r.IsValid() {
		return nil
	}
	s, err := n.subnetFor(w, r.Addr(), "range", r)
	switch {
	case err != nil:
		return err
	case r.Bits() < s.Prefix.Bits():
		return invalid("invalid network config: invalid ip-range %v: CIDR block is bigger than its parent subnet %v", r, s.Prefix)
	case r != r.Masked():
		return invalid("invalid network config: invalid ip-range %v: it should be %v", r, r.Masked())
	case s.Range.IsValid() && s.Range != r:
		return invalid("cannot configure multiple ranges (%v, %v) on the same subnet (%v)", s.Range, r, s.Prefix)
	}
	s.Range = r
	return nil
}

// subnetFor finds the subnet that a is in: that of its own entry w, if there is one.
func (n *NetworkDef) subnetFor(w network.IPAMConfig, a netip.Addr, what string, value fmt.Stringer) (*SubnetDef, error) {
	for i := range n.Subnets {
		s := &n.Subnets[i]
		if !s.Prefix.Contains(a) || w.Subnet.IsValid() && w.Subnet != s.Prefix {
			continue
		}
		if s.sized() {
			return nil, errSized(what, value)
		}
		return s, nil
	}
	switch {
	case w.Subnet.IsValid() && w.Subnet.Addr().Is4() != a.Is4():
		return nil, invalid("invalid network config: invalid %s %v: parent subnet %v is of the other address family", what, value, w.Subnet)
	case w.Subnet.IsValid():
		return nil, invalid("invalid network config: invalid %s %v: parent subnet %v doesn't contain this address", what, value, w.Subnet)
	case len(n.Subnets) == 0:
		return nil, invalid("no matching subnet for %s %v: give the subnet too (--subnet)", what, value)
	}
	return nil, invalid("no matching subnet for %s %v: it is not inside %s", what, value, n.subnetList())
}

// chooseSubnets checks the subnets asked for against what is taken, chooses
// those that were not, and settles the gateways. was is the network so far, or nil:
// what it has it may keep.
func (e *Engine) chooseSubnets(n *NetworkDef, was *netw) error {
	taken, err := e.takenRanges(was)
	if err != nil {
		return err
	}
	for _, s := range n.Subnets {
		if s.sized() || was != nil && slices.ContainsFunc(was.def.Subnets, func(old SubnetDef) bool { return old.Prefix == s.Prefix }) {
			continue
		}
		for _, t := range taken {
			if t.prefix.Overlaps(s.Prefix) {
				wish := "--subnet"
				if n.Predefined {
					wish = e.opts.Config.Default.subnetKey(s.Prefix.Addr().Is4()) + " in the configuration"
				}
				return forbidden("invalid pool request: %w: %v overlaps %s; choose another %s, or none to have a free one chosen",
					ErrPoolOverlap, s.Prefix, t, wish)
			}
		}
	}
	prefixes := make([]netip.Prefix, len(taken))
	for i, t := range taken {
		prefixes[i] = t.prefix
	}
	for _, is4 := range []bool{true, false} {
		s, ok := n.subnet(is4)
		if is4 && !n.EnableIPv4 || !is4 && !n.EnableIPv6 || ok && !s.sized() {
			continue
		}
		bits := 0
		if ok {
			bits = s.Prefix.Bits()
		}
		p, err := e.opts.Config.nextSubnet(is4, bits, prefixes)
		switch {
		case errors.Is(err, ipam.ErrNoSubnet) && bits > 0:
			return forbidden("%w: no free subnet of length %d is left in the address pools; remove networks that are not used (`footbridge network prune`) or give --subnet", err, bits)
		case errors.Is(err, ipam.ErrNoSubnet):
			return forbidden("%w: networks and routes of this host take all of them; remove networks that are not used (`footbridge network prune`) or give --subnet", err)
		case err != nil:
			return fmt.Errorf("network %s: %w", n.Name, err)
		}
		n.Subnets = slices.DeleteFunc(n.Subnets, func(s SubnetDef) bool { return s.Prefix.Addr().Is4() == is4 })
		n.Subnets = append(n.Subnets, SubnetDef{Prefix: p, Auto: true})
	}
	slices.SortStableFunc(n.Subnets, func(a, b SubnetDef) int {
		return a.Prefix.Addr().BitLen() - b.Prefix.Addr().BitLen()
	})
	if _, _, err := pools(n); err != nil { // settles the gateways
		return invalid("invalid network config: %w", err)
	}
	return nil
}

// subnetKey is the key of the configuration that the default network's subnet of a family comes from.
func (d *DefaultNetwork) subnetKey(is4 bool) string {
	switch {
	case is4 && d.Subnet4.IsValid():
		return "bip"
	case is4:
		return "fixed-cidr"
	case d.Subnet6.IsValid():
		return "bip6"
	}
	return "fixed-cidr-v6"
}

// takenRange is a range of addresses that a new network may not have.
type takenRange struct {
	prefix netip.Prefix
	by     string
}

func (t takenRange) String() string { return fmt.Sprintf("%v of %s", t.prefix, t.by) }

// takenRanges lists the subnets of all networks but own and the routes of the host.
func (e *Engine) takenRanges(own *netw) ([]takenRange, error) {
	var out []takenRange
	e.mu.Lock()
	for _, n := range e.networks {
		if n == own {
			continue
		}
		for _, s := range n.def.Subnets {
			out = append(out, takenRange{s.Prefix, "network " + n.def.Name})
		}
	}
	e.mu.Unlock()
	routes, err := e.opts.HostRoutes()
	for _, r := range routes {
		by := "a route of this host"
		if r.Device != "" {
			by += " (device " + r.Device + ")"
		}
		out = append(out, takenRange{r.Prefix, by})
	}
	return out, err
}

// addNetwork writes the definition to disk and makes it known.
func (e *Engine) addNetwork(def *NetworkDef) error {
	n, err := newNetwork(def)
	if err != nil {
		return err
	}
	if err := e.store.Save(store.Put(store.Networks, def.ID, def)); err != nil {
		return err
	}
	e.mu.Lock()
	e.networks[def.ID] = n
	e.mu.Unlock()
	e.publishPolicy()
	return nil
}
