package stack

import "sync/atomic"

// DropReason is why a frame was not passed on.
type DropReason uint8

// The reasons. The names are what inspect shows.
const (
	DropNone        DropReason = iota
	DropMalformed              // lengths or headers do not hold
	DropHeader                 // virtio header does not fit the frame
	DropSourceMAC              // sent from another MAC than the port's
	DropSourceIP               // sent from an address that is not the port's
	DropNeighbor               // ARP or ND on behalf of others, RA, redirect, DHCP offer
	DropEtherType              // neither IPv4, IPv6 nor ARP
	DropNoIPv6                 // IPv6 on a network without
	DropUnknown                // for a MAC or address that nobody has
	DropMulticast              // a group that nobody here needs
	DropProtocol               // a protocol that the gateway does not carry
	DropDevice                 // the receiving device did not take it
	DropNoHandler              // for the outside, on a network that has no way there
	DropPaced                  // connections, floods or claims above the port's rate
	DropFragments              // a header cut apart, overlapping, over quota, too late
	DropSourceRoute            // wants its receiver to send it on
	DropDestination            // for a loopback, unspecified or IPv4-mapped address
	DropICMPError              // an ICMP error about others' packets
	DropTooBig                 // longer than the network's MTU, and not to be segmented
	DropICC                    // for another container, on a network that keeps them apart
	DropFlows                  // more flows to other networks than the port may have
	numDropReasons
)

var dropNames = [numDropReasons]string{
	"", "malformed", "virtio_header", "source_mac", "source_address", "neighbor", "ethertype",
	"no_ipv6", "unknown_destination", "multicast", "protocol", "device", "no_outside", "paced",
	"fragments", "source_route", "destination", "icmp_error", "too_big", "icc", "flows",
}

func (r DropReason) String() string { return dropNames[r] }

// counters of one port. From its container's side they are turned round.
type counters struct {
	rxFrames, rxBytes atomic.Uint64 // from the container
	txFrames, txBytes atomic.Uint64 // to the container
	drops             [numDropReasons]atomic.Uint64
}

// PortStats are a port's counters since it was made, as the switch sees them:
// received is what the container sent.
type PortStats struct {
	Name              string
	RxFrames, RxBytes uint64
	TxFrames, TxBytes uint64
	Drops             map[string]uint64 // by reason; only those that occurred
	// What the port keeps now, within its Limits: packets that wait for
	// fragments, the bytes of memory they are accounted with, and addresses
	// learned behind it.
	FragmentDatagrams, FragmentBytes, Stations int
	// CrossTCP, CrossUDP and CrossEcho are flows of its making to other networks.
	CrossTCP, CrossUDP, CrossEcho int
}

// Stats are a network's counters.
type Stats struct {
	Name  string
	Ports []PortStats
}

func (c *counters) read(name string) PortStats {
	s := PortStats{
		Name:     name,
		RxFrames: c.rxFrames.Load(), RxBytes: c.rxBytes.Load(),
		TxFrames: c.txFrames.Load(), TxBytes: c.txBytes.Load(),
	}
	for r := range c.drops {
		if n := c.drops[r].Load(); n > 0 {
			if s.Drops == nil {
				s.Drops = map[string]uint64{}
			}
			s.Drops[DropReason(r).String()] = n
		}
	}
	return s
}
