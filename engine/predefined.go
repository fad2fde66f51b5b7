package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"

	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/ipam"
)

// addPredefined makes the networks that always exist, if they do not yet, and the
// default one what the configuration says.
func (e *Engine) addPredefined() error {
	e.netOp.Lock()
	defer e.netOp.Unlock()
	for _, p := range []struct{ name, driver string }{
		{network.NetworkBridge, driverBridge}, {network.NetworkHost, driverHost}, {network.NetworkNone, driverNull},
	} {
		was := e.networkByName(p.name)
		if was != nil && p.driver != driverBridge {
			continue
		}
		def := &NetworkDef{
			ID: newID(), Name: p.name, Driver: p.driver, Created: e.now(), EnableIPv4: true, MTU: defaultMTU, Predefined: true,
		}
		if was != nil {
			def.ID, def.Created, def.Labels = was.def.ID, was.def.Created, was.def.Labels
		}
		if p.driver == driverBridge {
			if err := e.settleDefault(def, was); err != nil {
				return err
			}
			if was != nil && was.def.sameAs(def) {
				continue
			}
			if users := e.mayUse(def.ID); len(users) > 0 {
				e.notices = append(e.notices, fmt.Sprintf("the configuration of the default network has changed; it holds from the daemon's next start without containers on that network (now %s)", users))
				e.waiting = append(e.waiting, api.Warning{
					Text:   fmt.Sprintf("the configuration of the default network has changed and waits: containers were on that network %s when the daemon started", users),
					Remedy: "stop them, and then the daemon with `footbridge daemon stop`; the next one goes by the configuration",
				})
				continue
			}
		}
		if err := e.addNetwork(def); err != nil {
			return err
		}
	}
	return nil
}

// settleDefault completes the definition of the default network by the configuration.
// What was chosen by itself stays.
func (e *Engine) settleDefault(def *NetworkDef, was *netw) error {
	c := &e.opts.Config.Default
	def.EnableIPv6 = c.IPv6
	if c.MTU != 0 {
		def.MTU = c.MTU
	}
	def.Options = map[string]string{
		optDefaultBridge: "true", optICC: fmt.Sprint(!c.NoICC), optMasquerade: "true", optHostBinding4: "0.0.0.0", optMTU: fmt.Sprint(def.MTU),
	}
	if a := c.Publish; a.IsValid() {
		if a.Is4() {
			def.Options[optHostBinding4] = a.String()
		} else {
			delete(def.Options, optHostBinding4)
			def.Options[optHostBinding6] = a.String()
		}
	}
	if c.Names {
		def.Options[optDNS] = "true"
	}
	for _, is4 := range []bool{true, false} {
		if s, ok := e.defaultSubnet(is4, was); ok && (is4 || c.IPv6) {
			def.Subnets = append(def.Subnets, s)
		}
	}
	err := e.chooseSubnets(def, was)
	if err == nil {
		return nil
	}
	if s, _ := c.subnet(true); s.IsValid() {
		return fmt.Errorf("default network: %w", err)
	}
	// Routes may take everything; there has to be a default network all the same,
	// and Docker's own is the least surprise.
	e.log.Warn("the default network overlaps what the host can reach", "error", err)
	def.EnableIPv6, def.Subnets = false, []SubnetDef{{Prefix: ipam.DefaultBases()[0].Prefix, Auto: true}}
	_, _, err = pools(def)
	return err
}

// defaultSubnet is the subnet of a family that the default network is to have: the
// configuration's, or the one that it has, as long as the pools allow it.
func (e *Engine) defaultSubnet(is4 bool, was *netw) (SubnetDef, bool) {
	subnet, rng := e.opts.Config.Default.subnet(is4)
	if subnet.IsValid() {
		s := SubnetDef{Prefix: subnet.Masked(), Range: rng}
		if subnet != subnet.Masked() {
			s.Gateway = subnet.Addr()
		}
		return s, true
	}
	if was == nil {
		return SubnetDef{}, false
	}
	s, ok := was.def.subnet(is4)
	return SubnetDef{Prefix: s.Prefix, Auto: true}, ok && s.Auto && e.opts.Config.inPools(s.Prefix)
}

// sameAs reports whether two definitions of the default network are the same.
func (n *NetworkDef) sameAs(o *NetworkDef) bool {
	return n.EnableIPv6 == o.EnableIPv6 && n.MTU == o.MTU && maps.Equal(n.Options, o.Options) &&
		slices.EqualFunc(n.Subnets, o.Subnets, func(a, b SubnetDef) bool {
			return a.Prefix == b.Prefix && a.Range == b.Range && a.Gateway == b.Gateway && a.Auto == b.Auto
		})
}

// mayUse lists the containers that may live with an endpoint on a network: what has
// survived is not known yet.
func (e *Engine) mayUse(networkID string) []string {
	var out []string
	for _, c := range e.allContainers() {
		a := c.def.attachment(networkID)
		if a == nil || a.Endpoint == nil || !c.def.running() {
			continue
		}
		if _, err := os.Lstat(e.runtimeDir(c.def.ID)); err == nil {
			out = append(out, c.def.Name)
		}
	}
	slices.Sort(out)
	return out
}

// subnet returns what the configuration says of a family: the subnet with the gateway's
// address, and the range.
func (d *DefaultNetwork) subnet(is4 bool) (subnet, rng netip.Prefix) {
	subnet, rng = d.Subnet4, d.Range4
	if !is4 {
		subnet, rng = d.Subnet6, d.Range6
	}
	if !subnet.IsValid() {
		subnet = rng
	}
	return subnet, rng
}
