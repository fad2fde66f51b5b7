package stack

import (
	"fmt"
	"net/netip"
)

// Defaults of Limits.
const (
	// DefaultFragmentDatagrams: a container's kernel sends a datagram's
	// fragments one after the other, so there are as many incomplete ones as it
	// has threads that send, and those of which a fragment was lost.
	DefaultFragmentDatagrams = 64
	// DefaultFragmentBytes are eight of the largest datagrams. It is also what
	// a hostile container can make the process keep for a minute.
	DefaultFragmentBytes = 512 << 10
	// DefaultStations is more VMs than one container usually runs.
	DefaultStations = 64
	// Flows to other networks: those that a forwarder allows to the outside.
	DefaultCrossHalfOpen = 256
	DefaultCrossTCP      = 57344
	DefaultCrossUDP      = 4096
	DefaultCrossEcho     = 256
)

// Limits bound what one port may keep of everybody's memory. Zero fields are the
// defaults.
type Limits struct {
	// FragmentDatagrams and FragmentBytes are what may wait for the rest of its
	// fragments on the way to the gateway: datagrams, and bytes of memory,
	// bookkeeping included. Beyond them the port's own oldest datagram goes.
	FragmentDatagrams int
	FragmentBytes     int
	// Stations is how many MACs, and how many addresses, are remembered behind
	// a port with a Guard. Beyond it the one goes that was silent longest.
	Stations int
	// Flows that it begins to networks that are open, over a Crossing: TCP
	// connections without an answer, TCP connections, pairs of UDP ports, pings.
	// Beyond them what would begin another is dropped.
	CrossHalfOpen, CrossTCP, CrossUDP, CrossEcho int
}

func (l Limits) withDefaults() Limits {
	or := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	or(&l.FragmentDatagrams, DefaultFragmentDatagrams)
	or(&l.FragmentBytes, DefaultFragmentBytes)
	or(&l.Stations, DefaultStations)
	or(&l.CrossHalfOpen, DefaultCrossHalfOpen)
	or(&l.CrossTCP, DefaultCrossTCP)
	or(&l.CrossUDP, DefaultCrossUDP)
	or(&l.CrossEcho, DefaultCrossEcho)
	return l
}

// Guard says what a port may carry beyond its own MAC and addresses. The zero value adds
// nothing. Whatever it says, a port never has the gateway's or another endpoint's
// MAC or address, and carries no other EtherTypes, tags, router advertisements,
// redirects or DHCP answers.
type Guard struct {
	// Addresses the port may have besides its own, such as the virtual ones of
	// VRRP. Several ports may name the same: who announced an address last, by
	// gratuitous ARP or an unsolicited neighbour advertisement, has it. They
	// must lie in the network's subnets.
	Addresses []netip.Prefix
	// Nested is for a bridge, or VMs, behind the port: it may send from any MAC
	// and any address of the network's subnets that nobody else has or may
	// have by its Addresses. Who is behind it is learned.
	Nested bool
	// Sole, with Nested, is for the port of a network that has no other: whatever address
	// nobody has been heard from yet is behind it, at its own MAC, and whoever has been
	// heard stays where it was, however silent.
	Sole bool
}

// extended reports whether the guard allows anything.
func (g *Guard) extended() bool { return g.Nested || len(g.Addresses) > 0 }

// names reports whether a is among the addresses.
func (g *Guard) names(a netip.Addr) bool {
	for _, p := range g.Addresses {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// check returns ErrGuard for prefixes that the network does not have.
func (g *Guard) check(n *Network) error {
	for _, p := range g.Addresses {
		if !p.IsValid() || !n.holds(p) {
			return fmt.Errorf("address %s: %w", p, ErrGuard)
		}
	}
	return nil
}

// holds reports whether all of p lies in one of the network's subnets.
func (n *Network) holds(p netip.Prefix) bool {
	for _, s := range []netip.Prefix{n.subnet4, n.subnet6} {
		if s.IsValid() && s.Bits() <= p.Bits() && s.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// inSubnets reports whether a is an address that a station of the network may have:
// in a subnet, or link-local where there is IPv6, and neither for all nor for none.
func (n *Network) inSubnets(a netip.Addr) bool {
	switch {
	case a.IsMulticast() || a.IsUnspecified() || a.Is4In6():
		return false
	case a.Is4():
		p := n.subnet4
		return p.IsValid() && p.Contains(a) && a != n.gateway.broadcast && (p.Bits() > 30 || a != p.Masked().Addr())
	case a.IsLinkLocalUnicast():
		return n.hasIPv6()
	}
	p := n.subnet6
	return p.IsValid() && p.Contains(a) && (p.Bits() > 126 || a != p.Masked().Addr())
}
