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
)

// ErrPoolOverlap: a subnet shares addresses with another network or with a
// route of the host.
var ErrPoolOverlap = errors.New("Pool overlaps with other one on this address space") //nolint:staticcheck // Docker's wording

// NetworkCreate implements api.NetworkBackend.
func (e *Engine) NetworkCreate(_ context.Context, req network.CreateRequest) (network.CreateResponse, error) {
	e.netOp.Lock()
	defer e.netOp.Unlock()
	def, err := newNetworkDef(req)
	if err != nil {
		return network.CreateResponse{}, err
	}
	if e.networkByName(def.Name) != nil {
		return network.CreateResponse{}, conflict("network with name %s already exists", def.Name)
	}
	def.ID, def.Created = newID(), e.now()
	if err := e.chooseSubnets(def); err != nil {
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
		return nil, notFound("plugin %q not found: footbridge has the driver bridge", req.Driver)
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
		EnableIPv4: req.EnableIPv4 == nil || *req.EnableIPv4,
		Options:    maps.Clone(req.Options), Labels: maps.Clone(req.Labels),
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
	if err := def.takeSubnets(wish); err != nil {
		return nil, err
	}
	_, has6 := def.subnet(false)
	switch {
	case req.EnableIPv6 != nil:
		def.EnableIPv6 = *req.EnableIPv6
	default: // whoever gives an IPv6 subnet means it
		def.EnableIPv6 = has6
	}
	if has6 && !def.EnableIPv6 {
		return nil, invalid("an IPv6 subnet was given for a network without IPv6: leave it out or give --ipv6")
	}
	if _, has4 := def.subnet(true); has4 && !def.EnableIPv4 {
		return nil, invalid("an IPv4 subnet was given for a network without IPv4: leave it out or leave out --ipv4=false")
	}
	if !def.EnableIPv4 && !def.EnableIPv6 {
		return nil, invalid("IPv4 or IPv6 must be enabled")
	}
	return def, options.settle(def)
}

func checkNetworkName(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return invalid("invalid network name: name is empty")
	case name == "default" || strings.HasPrefix(name, "container:") || strings.HasPrefix(name, "ns:"):
		return invalid("invalid network name %q: it has a meaning of its own as --network %s", name, name)
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
func (n *NetworkDef) takeSubnets(wish []network.IPAMConfig) error {
	for _, w := range wish {
		if !w.Subnet.IsValid() {
			continue
		}
		p := w.Subnet
		if p.Addr().Is4In6() {
			return invalid("invalid subnet %v: write it as an IPv4 subnet", p)
		}
		if p.Addr().IsLinkLocalUnicast() {
			return invalid("invalid subnet %v: link-local addresses belong to each interface alone; choose a private subnet, for example 10.20.0.0/24 or fd00:20::/64", p)
		}
		if p != p.Masked() {
			return invalid("invalid network config: invalid subnet %v: it should be %v", p, p.Masked())
		}
		if other, ok := n.subnet(p.Addr().Is4()); ok {
			return invalid("a bridge network has one subnet a family: %v or %v, not both", other.Prefix, p)
		}
		n.Subnets = append(n.Subnets, SubnetDef{Prefix: p})
	}
	for _, w := range wish {
		if w.IPRange.IsValid() {
			s, err := n.subnetFor(w, w.IPRange.Addr(), "range", w.IPRange)
			if err != nil {
				return err
			}
			s.Range = w.IPRange.Masked()
		}
		if w.Gateway.IsValid() {
			s, err := n.subnetFor(w, w.Gateway, "gateway", w.Gateway)
			if err != nil {
				return err
			}
			s.Gateway = w.Gateway
		}
		for name, a := range w.AuxAddress {
			if !oneWord(name) {
				return invalid("invalid name %q of an auxiliary address: it is one word", name)
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
	_, _, err := pools(&NetworkDef{Name: n.Name, Subnets: slices.Clone(n.Subnets)})
	if err != nil {
		return invalid("invalid network config: %w", err)
	}
	return nil
}

func (n *NetworkDef) subnetFor(w network.IPAMConfig, a netip.Addr, what string, value fmt.Stringer) (*SubnetDef, error) {
	for i := range n.Subnets {
		s := &n.Subnets[i]
		if s.Prefix.Contains(a) && (!w.Subnet.IsValid() || w.Subnet == s.Prefix) {
			return s, nil
		}
	}
	if len(n.Subnets) == 0 {
		return nil, invalid("no matching subnet for %s %v: give the subnet too (--subnet)", what, value)
	}
	var have []string
	for _, s := range n.Subnets {
		have = append(have, s.Prefix.String())
	}
	return nil, invalid("no matching subnet for %s %v: it is not inside %s", what, value, strings.Join(have, " or "))
}

// chooseSubnets checks the subnets asked for against what is taken, chooses
// those that were not, and settles the gateways.
func (e *Engine) chooseSubnets(n *NetworkDef) error {
	taken, err := e.takenRanges()
	if err != nil {
		return err
	}
	for _, s := range n.Subnets {
		for _, t := range taken {
			if t.prefix.Overlaps(s.Prefix) {
				return forbidden("invalid pool request: %w: %v overlaps %s; choose another --subnet, or none to have a free one chosen",
					ErrPoolOverlap, s.Prefix, t)
			}
		}
	}
	prefixes := make([]netip.Prefix, len(taken))
	for i, t := range taken {
		prefixes[i] = t.prefix
	}
	if _, ok := n.subnet(true); !ok && n.EnableIPv4 {
		p, err := ipam.NextSubnet(ipam.DefaultBases(), prefixes)
		if err != nil {
			return forbidden("%w: networks and routes of this host take all of them; remove networks that are not used (`footbridge network prune`) or give --subnet", err)
		}
		n.Subnets = append(n.Subnets, SubnetDef{Prefix: p, Auto: true})
	}
	if _, ok := n.subnet(false); !ok && n.EnableIPv6 {
		p, err := ipam.RandomULA(prefixes)
		if err != nil {
			return fmt.Errorf("network %s: %w", n.Name, err)
		}
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

// takenRange is a range of addresses that a new network may not have.
type takenRange struct {
	prefix netip.Prefix
	by     string
}

func (t takenRange) String() string { return fmt.Sprintf("%v of %s", t.prefix, t.by) }

// takenRanges lists the subnets of all networks and the routes of the host.
func (e *Engine) takenRanges() ([]takenRange, error) {
	var out []takenRange
	e.mu.Lock()
	for _, n := range e.networks {
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

// addPredefined makes the networks that always exist, if they do not yet.
func (e *Engine) addPredefined() error {
	e.netOp.Lock()
	defer e.netOp.Unlock()
	for _, p := range []struct{ name, driver string }{
		{network.NetworkBridge, driverBridge}, {network.NetworkHost, driverHost}, {network.NetworkNone, driverNull},
	} {
		if e.networkByName(p.name) != nil {
			continue
		}
		def := &NetworkDef{
			ID: newID(), Name: p.name, Driver: p.driver, Created: e.now(), EnableIPv4: true, MTU: defaultMTU, Predefined: true,
		}
		if p.driver == driverBridge {
			def.Options = map[string]string{
				optDefaultBridge: "true", optICC: "true", optMasquerade: "true", optHostBinding4: "0.0.0.0", optMTU: fmt.Sprint(defaultMTU),
			}
			if err := e.chooseSubnets(def); err != nil {
				// Routes may take everything; there has to be a default
				// network all the same, and Docker's own is the least surprise.
				e.log.Warn("the default network overlaps what the host can reach", "error", err)
				def.Subnets = []SubnetDef{{Prefix: ipam.DefaultBases()[0].Prefix, Auto: true}}
				if _, _, err := pools(def); err != nil {
					return err
				}
			}
		}
		if err := e.addNetwork(def); err != nil {
			return err
		}
	}
	return nil
}
