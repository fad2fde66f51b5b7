package engine

import "net/netip"

// closed are the ranges of addresses that no container reaches through its
// gateway, whatever the network.
var closed = func() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8",          // "this host": Linux takes it for loopback
		"127.0.0.0/8",        // the host's own services
		"169.254.0.0/16",     // link-local, and the metadata services of clouds
		"224.0.0.0/4",        // multicast
		"255.255.255.255/32", // broadcast
		"::/128", "::1/128",
		"fe80::/10",
		"ff00::/8",
		"fd00:ec2::254/128", // the metadata service of EC2 over IPv6
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}()

// Ranges of IPv6 whose addresses carry an IPv4 address that the host's network
// may unpack: what is in them is judged too.
var (
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	sixTo = netip.MustParsePrefix("2002::/16")
	v4Old = netip.MustParsePrefix("::/96") // IPv4-compatible, RFC 4291 section 2.5.5.1
)

// allow says whether a container may reach an address outside. It is called on
// packet goroutines: no lock, no allocation.
func (e *Engine) allow(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || !e.open(a) {
		return false
	}
	if a.Is4() {
		return true
	}
	b := a.As16()
	switch {
	case nat64.Contains(a), v4Old.Contains(a):
		return e.open(netip.AddrFrom4([4]byte(b[12:])))
	case sixTo.Contains(a):
		return e.open(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return true
}

func (e *Engine) open(a netip.Addr) bool {
	for _, p := range closed {
		if p.Contains(a) {
			return false
		}
	}
	// The networks of footbridge reach each other through published ports only.
	for _, p := range *e.blocked.Load() {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// publishPolicy makes the subnets of all networks known to allow.
func (e *Engine) publishPolicy() {
	subnets := e.ownSubnets()
	e.blocked.Store(&subnets)
}
