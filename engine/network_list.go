package engine

import (
	"context"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/ipam"
	"github.com/footbridge-net/footbridge/engine/store"
)

// NetworkList implements api.NetworkBackend.
func (e *Engine) NetworkList(_ context.Context, f api.Filters) ([]network.Summary, error) {
	if err := f.Check("dangling", "driver", "id", "label", "label!", "name", "scope", "type"); err != nil {
		return nil, err
	}
	var dangling, wantDangling bool
	for _, v := range f.Values("dangling") {
		b, err := strconv.ParseBool(v)
		if err != nil || wantDangling && b != dangling {
			return nil, invalid("invalid filter 'dangling=%s': invalid value for filter 'dangling': must be \"true\" (or \"1\"), or \"false\" (or \"0\")", v)
		}
		dangling, wantDangling = b, true
	}
	for _, v := range f.Values("type") {
		if v != "custom" && v != "builtin" {
			return nil, invalid("invalid filter 'type=%s': invalid value for filter 'type': must be 'builtin' or 'custom'", v)
		}
	}
	ids, err := patterns(f, "id")
	if err != nil {
		return nil, err
	}
	names, err := patterns(f, "name")
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	out := []network.Summary{}
	for _, n := range e.sortedNetworks() {
		d := &n.def
		if f.Match("driver", func(v string) bool { return v == d.Driver }) &&
			ids.match(d.ID) && names.match(d.Name) &&
			f.Match("scope", func(v string) bool { return v == "local" }) &&
			f.Match("type", func(v string) bool { return (v == "builtin") == d.Predefined }) &&
			f.MatchLabels(d.Labels) &&
			(!wantDangling || dangling == (!d.Predefined && len(n.members) == 0)) {
			out = append(out, network.Summary{Network: d.wire()})
		}
	}
	return out, nil
}

// patternList are the values of a filter; one of them has to fit, if there are any.
type patternList []*regexp.Regexp

// patterns reads the values of a term, which are regular expressions, as Docker's are:
// a part of a name is one.
func patterns(f api.Filters, term string) (patternList, error) {
	var out patternList
	for _, v := range f.Values(term) {
		p, err := regexp.Compile(v)
		if err != nil {
			return nil, invalid("invalid filter '%s=%s': it is a part of a %s, or a regular expression: %w", term, shown(v), term, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func (l patternList) match(text string) bool {
	return len(l) == 0 || slices.ContainsFunc(l, func(p *regexp.Regexp) bool { return p.MatchString(text) })
}

// wire turns a definition into Docker's JSON.
func (n *NetworkDef) wire() network.Network {
	w := network.Network{
		Name: n.Name, ID: n.ID, Created: n.Created, Scope: "local", Driver: n.Driver,
		EnableIPv4: n.EnableIPv4, EnableIPv6: n.EnableIPv6,
		Internal: n.Internal, Attachable: n.Attachable,
		IPAM:    network.IPAM{Driver: "default"},
		Options: maps.Clone(n.Options), Labels: maps.Clone(n.Labels),
	}
	if w.Options == nil {
		w.Options = map[string]string{}
	}
	if w.Labels == nil {
		w.Labels = map[string]string{}
	}
	if !n.Predefined {
		w.IPAM.Options = map[string]string{}
	}
	for _, s := range n.Subnets {
		w.IPAM.Config = append(w.IPAM.Config, network.IPAMConfig{
			Subnet: s.Prefix, IPRange: s.Range, Gateway: s.Gateway, AuxAddress: maps.Clone(s.Aux),
		})
	}
	return w
}

// NetworkInspect implements api.NetworkBackend.
func (e *Engine) NetworkInspect(_ context.Context, nameOrID string, o api.NetworkInspectOptions) (network.Inspect, error) {
	if o.Scope != "" && o.Scope != "local" {
		return network.Inspect{}, notFound("network %s not found: scope %s has none here", nameOrID, o.Scope)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n, err := e.findNetwork(nameOrID)
	if err != nil {
		return network.Inspect{}, err
	}
	out := network.Inspect{Network: n.def.wire(), Containers: map[string]network.EndpointResource{}}
	for id, ep := range n.members {
		c := e.containers[id]
		if c == nil || ep == nil {
			continue // being made or unmade
		}
		r := network.EndpointResource{Name: c.def.Name, EndpointID: ep.ID, MacAddress: ep.MAC}
		if s, ok := n.def.subnet(true); ok && ep.IPv4.IsValid() {
			r.IPv4Address = netip.PrefixFrom(ep.IPv4, s.Prefix.Bits())
		}
		if s, ok := n.def.subnet(false); ok && ep.IPv6.IsValid() {
			r.IPv6Address = netip.PrefixFrom(ep.IPv6, s.Prefix.Bits())
		}
		out.Containers[id] = r
	}
	if n.def.isBridge() {
		subnets := network.SubnetStatuses{}
		for _, p := range []*ipam.Pool{n.v4, n.v6} {
			if p != nil {
				subnets[p.Subnet()] = network.SubnetStatus{IPsInUse: p.InUse(), DynamicIPsAvailable: p.Free()}
			}
		}
		out.Status = &network.Status{IPAM: network.IPAMStatus{Subnets: subnets}}
	}
	return out, nil
}

// NetworkRemove implements api.NetworkBackend.
func (e *Engine) NetworkRemove(_ context.Context, nameOrID string) error {
	e.netOp.Lock()
	defer e.netOp.Unlock()
	e.mu.Lock()
	n, err := e.findNetwork(nameOrID)
	if err == nil && n.def.Predefined {
		err = forbidden("%s is a pre-defined network and cannot be removed", n.def.Name)
	}
	if err == nil {
		err = e.activeError(n)
	}
	if err != nil {
		e.mu.Unlock()
		return err
	}
	return e.removeNetworkLocked(n)
}

// removeNetworkLocked forgets a network without endpoints. It is called with
// e.netOp and e.mu held and releases the latter.
func (e *Engine) removeNetworkLocked(n *netw) error {
	// First out of the table, so that no container can join while the disk is
	// waited for; back again if that fails.
	delete(e.networks, n.def.ID)
	e.mu.Unlock()
	if err := e.store.Save(store.Delete(store.Networks, n.def.ID)); err != nil {
		e.mu.Lock()
		e.networks[n.def.ID] = n
		e.mu.Unlock()
		return err
	}
	e.publishPolicy()
	e.networkEvent(events.ActionDestroy, &n.def, nil)
	return nil
}

// NetworksPrune implements api.NetworkBackend.
func (e *Engine) NetworksPrune(_ context.Context, f api.Filters) (network.PruneReport, error) {
	if err := f.Check("label", "label!", "until"); err != nil {
		return network.PruneReport{}, err
	}
	until := e.now()
	if values := f.Values("until"); len(values) > 1 {
		return network.PruneReport{}, invalid("invalid filter: 'until' cannot be specified more than once")
	} else if len(values) == 1 {
		var err error
		if until, err = parseUntil(values[0], e.now()); err != nil {
			return network.PruneReport{}, err
		}
	}
	e.netOp.Lock()
	defer e.netOp.Unlock()
	var report network.PruneReport
	e.mu.Lock()
	candidates := e.sortedNetworks()
	e.mu.Unlock()
	for _, n := range candidates {
		e.mu.Lock()
		if n.def.Predefined || len(n.members) > 0 || n.def.Created.After(until) || !f.MatchLabels(n.def.Labels) {
			e.mu.Unlock()
			continue
		}
		if err := e.removeNetworkLocked(n); err != nil {
			return report, err
		}
		report.NetworksDeleted = append(report.NetworksDeleted, n.def.Name)
	}
	e.events.publish(events.NetworkEventType, events.ActionPrune, "", map[string]string{"reclaimed": "0"})
	return report, nil
}

// parseUntil reads a filter's time: a Go duration before now, RFC 3339, or unix
// seconds.
func parseUntil(v string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(v); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, v, time.Local); err == nil {
			return t, nil
		}
	}
	seconds, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return time.Time{}, invalid("invalid filter 'until=%s': it is a duration (10m), a time (2026-01-02T15:04:05) or unix seconds", v)
	}
	return time.UnixMicro(int64(seconds * 1e6)), nil
}
