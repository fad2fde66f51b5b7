package plane

import (
	"net/netip"
	"sync/atomic"
)

// closed are the ranges of addresses that no container reaches through its
// gateway, whatever the network.
//
// 240.0.0.0/4, which is reserved, is not among them: Linux routes it like any other
// since 2.6.25, as the kernel of Docker's host does, and there are clouds and carriers
// that use it inside. Nothing of the host has such an address unless it was given one,
// and then it is no more private than 10.0.0.0/8.
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

// Policy says which addresses containers may reach through their gateways.
type Policy struct {
	// blocked is replaced and never changed: it is read on packet goroutines.
	blocked atomic.Pointer[[]netip.Prefix]
}

// NewPolicy makes a Policy that closes what is always closed: the host's loopback,
// link-local addresses, metadata services, multicast.
func NewPolicy() *Policy {
	p := &Policy{}
	p.Block(nil)
	return p
}

// Block closes subnets besides, instead of those of the last call: those of
// footbridge's networks, which reach each other through published ports only.
func (p *Policy) Block(subnets []netip.Prefix) { p.blocked.Store(&subnets) }

// Allow says whether a container may reach an address outside. It takes no lock and
// does not allocate.
func (p *Policy) Allow(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || !p.open(a) {
		return false
	}
	if a.Is4() {
		return true
	}
	b := a.As16()
	switch {
	case nat64.Contains(a), v4Old.Contains(a):
		return p.open(netip.AddrFrom4([4]byte(b[12:])))
	case sixTo.Contains(a):
		return p.open(netip.AddrFrom4([4]byte(b[2:6])))
	}
	return true
}

func (p *Policy) open(a netip.Addr) bool {
	for _, c := range closed {
		if c.Contains(a) {
			return false
		}
	}
	for _, b := range *p.blocked.Load() {
		if b.Contains(a) {
			return false
		}
	}
	return true
}
