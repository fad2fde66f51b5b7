package engine

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/engine/ipam"
)

// Config is what a user settles once for all networks, by Docker's names in
// footbridge.toml or in the daemon's flags. The zero value is Docker's defaults.
type Config struct {
	// Pools are where networks without subnets of their own get them from
	// (default-address-pools); without one of a family, Docker's pools for IPv4 and
	// random unique local ones for IPv6.
	Pools []ipam.Base
	// Default is the network bridge.
	Default DefaultNetwork
	// NetworkOptions are options of networks that do not give them themselves, by
	// driver (default-network-opts). They do not hold for the default network.
	NetworkOptions map[string]map[string]string
	// Resolvers are asked instead of the host's, by containers and networks that
	// have none of their own (dns, dns-search, dns-opts).
	Resolvers Resolvers
	// HostGateway are the addresses that "host-gateway" stands for
	// (host-gateway-ips); none = the gateways of the container's networks.
	HostGateway []netip.Addr
}

// Resolvers are parts of a resolv.conf. Empty ones leave the host's.
type Resolvers struct {
	Servers []netip.Addr
	Search  []string
	Options []string
}

// DefaultNetwork is the network bridge as far as it can be settled.
type DefaultNetwork struct {
	// Subnet4 and Subnet6 are the subnets with the gateways' addresses in them (bip,
	// bip6), for example 192.168.5.1/24; zero = one of the pools.
	Subnet4, Subnet6 netip.Prefix
	// Range4 and Range6 are where containers get their addresses from (fixed-cidr,
	// fixed-cidr-v6); without a subnet, also that.
	Range4, Range6 netip.Prefix
	IPv6           bool
	MTU            int        // bytes; 0 = 1500
	NoICC          bool       // icc = false
	Publish        netip.Addr // where ports are published that name no address (ip)
	Names          bool       // containers are known by name
}

// Check says what is wrong with the configuration, by the keys of footbridge.toml.
func (c *Config) Check() error {
	wrong := func(key, format string, args ...any) error {
		return fmt.Errorf("invalid configuration: %s: %w", key, fmt.Errorf(format, args...))
	}
	for i, p := range c.Pools {
		if err := p.Check(); err != nil {
			return wrong("default-address-pools", "%w", err)
		}
		for _, other := range c.Pools[:i] {
			if p.Prefix.Overlaps(other.Prefix) {
				return wrong("default-address-pools", "%v and %v overlap", other.Prefix, p.Prefix)
			}
		}
	}
	for driver, options := range c.NetworkOptions {
		if driver != driverBridge {
			return wrong("default-network-opts", "unknown driver %q: footbridge has bridge", driver)
		}
		if _, err := parseOptions(options); err != nil {
			return wrong("default-network-opts", "%w", err)
		}
	}
	for _, a := range c.Resolvers.Servers {
		if a.IsUnspecified() || a.IsMulticast() || a.Is4In6() {
			return wrong("dns", "%v is not an address of a server", a)
		}
	}
	for _, a := range c.HostGateway {
		if !mayBeHost(a) || a.IsUnspecified() {
			return wrong("host-gateway-ips", "%v is not an address that a container could reach", a)
		}
	}
	if a := c.Default.Publish; a.IsValid() && !mayBeHost(a.WithZone("")) {
		return wrong("ip", "%v is not an address of a host", a)
	}
	if err := checkResolver(c.Resolvers.Search, nil); err != nil {
		return wrong("dns-search", "%w", err)
	}
	if err := checkResolver(nil, c.Resolvers.Options); err != nil {
		return wrong("dns-opts", "%w", err)
	}
	return c.Default.check(wrong)
}

// mayBeHost: the address is one that a host may have, as a hosts file can say it.
func mayBeHost(a netip.Addr) bool {
	return a.IsValid() && !a.IsMulticast() && a != broadcast && !a.Is4In6() && a.Zone() == ""
}

func (d *DefaultNetwork) check(wrong func(key, format string, args ...any) error) error {
	if d.MTU != 0 {
		if err := readMTU(&netOptions{}, fmt.Sprint(d.MTU)); err != nil {
			return wrong("mtu", "%w", err)
		}
		if d.IPv6 && d.MTU < minMTU6 {
			return wrong("mtu", "an IPv6 link carries at least %d bytes (RFC 8200)", minMTU6)
		}
	}
	for _, f := range []struct {
		is4         bool
		bip, fixed  netip.Prefix
		bipKey, key string
	}{{true, d.Subnet4, d.Range4, "bip", "fixed-cidr"}, {false, d.Subnet6, d.Range6, "bip6", "fixed-cidr-v6"}} {
		family := map[bool]string{true: "IPv4", false: "IPv6"}[f.is4]
		for key, p := range map[string]netip.Prefix{f.bipKey: f.bip, f.key: f.fixed} {
			switch {
			case !p.IsValid():
			case p.Addr().Is4() != f.is4 || p.Addr().Is4In6():
				return wrong(key, "%v is not an %s address with a length", p, family)
			case !f.is4 && !d.IPv6:
				return wrong(key, "it needs ipv6 = true")
			}
		}
		if f.bip.IsValid() && f.bip.IsSingleIP() {
			return wrong(f.bipKey, "%v leaves no address for containers", f.bip)
		}
		subnet, rng := d.subnet(f.is4)
		if !subnet.IsValid() {
			continue
		}
		s := SubnetDef{Prefix: subnet.Masked(), Range: rng}
		if subnet != subnet.Masked() {
			s.Gateway = subnet.Addr()
		}
		key := f.bipKey
		if rng.IsValid() {
			key = f.key
		}
		if rng != rng.Masked() {
			return wrong(key, "%v should be %v", rng, rng.Masked())
		}
		if err := checkSubnet(s.Prefix); err != nil {
			return wrong(key, "%w", err)
		}
		if _, _, err := pools(&NetworkDef{Name: network.NetworkBridge, Subnets: []SubnetDef{s}}); err != nil {
			return wrong(key, "%w", err)
		}
	}
	return nil
}

// withDefaults is a request with the options that the configuration has for it.
func (c *Config) withDefaults(req network.CreateRequest) network.CreateRequest {
	driver := req.Driver
	if driver == "" {
		driver = driverBridge
	}
	options := maps.Clone(req.Options)
	if options == nil {
		options = map[string]string{}
	}
	for k, v := range c.NetworkOptions[driver] {
		if !givesOption(req.Options, k) {
			options[k] = v
		}
	}
	// What the request itself says counts more, and would look wrong beside it.
	if req.EnableIPv4 != nil {
		delete(options, optEnable4)
	}
	if req.EnableIPv6 != nil {
		delete(options, optEnable6)
	}
	req.Options = options
	return req
}

// givesOption reports whether options have one, in any spelling.
func givesOption(options map[string]string, key string) bool {
	_, ok := options[key]
	switch key {
	case optMTU:
		_, short := options[optMTUShort]
		return ok || short
	case optMTUShort:
		_, long := options[optMTU]
		return ok || long
	}
	return ok
}

// nextSubnet chooses a free subnet of a family out of the pools; of that length, unless
// bits is 0.
func (c *Config) nextSubnet(is4 bool, bits int, taken []netip.Prefix) (netip.Prefix, error) {
	bases := c.bases(is4)
	if len(bases) == 0 {
		return ipam.RandomULA(bits, taken)
	}
	return ipam.NextSubnet(ipam.Resized(bases, bits), taken)
}

// bases are the pools of a family; none = random unique local subnets.
func (c *Config) bases(is4 bool) []ipam.Base {
	bases := slices.DeleteFunc(slices.Clone(c.Pools), func(b ipam.Base) bool { return b.Prefix.Addr().Is4() != is4 })
	if len(bases) == 0 && is4 {
		return ipam.DefaultBases()
	}
	return bases
}

// inPools reports whether a subnet may have been chosen by nextSubnet.
func (c *Config) inPools(p netip.Prefix) bool {
	bases := c.bases(p.Addr().Is4())
	if len(bases) == 0 {
		return p.Addr().IsPrivate()
	}
	return slices.ContainsFunc(bases, func(b ipam.Base) bool { return ipam.Contains(b.Prefix, p) && p.Bits() == b.Bits })
}

// resolvers are the host's, or what the configuration says instead.
func (e *Engine) resolvers() dns.Config {
	c, own := e.upstream.Config(), &e.opts.Config.Resolvers
	if len(own.Servers) > 0 {
		c.Servers = nil
		for _, a := range own.Servers {
			c.Servers = append(c.Servers, netip.AddrPortFrom(a, 53))
		}
	}
	if len(own.Search) > 0 {
		c.Search = slices.DeleteFunc(slices.Clone(own.Search), func(d string) bool { return d == "." })
	}
	if len(own.Options) > 0 {
		c.Options = slices.Clone(own.Options)
	}
	return c
}
