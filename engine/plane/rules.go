package plane

import (
	"cmp"
	"net/netip"

	"github.com/footbridge-net/footbridge/stack"
)

// Mode is what a network's gateway does for one family, as Docker names it.
type Mode string

// The modes of a gateway.
const (
	// ModeNAT is the default: containers reach the outside by the host's address,
	// and are reached by published ports only.
	ModeNAT Mode = ""
	// ModeNATUnprotected lets containers of other networks reach all ports of the
	// containers by their own addresses besides.
	ModeNATUnprotected Mode = "nat-unprotected"
	// ModeIsolated has no gateway address at all: the network is a switch between
	// its containers. Only internal networks have it.
	ModeIsolated Mode = "isolated"
)

// Rules are what was decided for one network, where networks differ. The zero value
// is a network of defaults.
type Rules struct {
	// NoICC: containers of the network do not reach each other, but for what
	// links allow.
	NoICC        bool `json:",omitzero"`
	Mode4, Mode6 Mode `json:",omitzero"`
	// Outbound is where flows leave the host.
	Outbound Outbound `json:",omitzero"`
	// HostPorts are ports of the host's loopback that containers reach at their
	// gateway's address.
	HostPorts []PortRange `json:",omitempty"`
	// Announce is how containers are told of each other's addresses.
	Announce stack.Announce `json:",omitzero"`
	// DHCP and RA turn on address configuration by protocol.
	DHCP DHCP `json:",omitzero"`
	RA   bool `json:",omitzero"`
	// NoHost: what leads nowhere of the gateway's own addresses meets "network unreachable",
	// ports that are published at all addresses among it.
	NoHost bool `json:",omitzero"`
	// DNS is where names are asked for.
	DNS DNS `json:",omitzero"`
	// NoSplice: clients of published ports that are on the host's loopback go by the
	// gateway as all others do. It is the keeper's to heed: without sockets inside the
	// container nothing is joined there.
	NoSplice bool `json:",omitzero"`
}

// gateway gives the gateway's address of a family with its subnet's length; zero where
// there is none.
func (o *Options) gateway(is4 bool) netip.Prefix {
	mode, gateway := o.Rules.Mode6, o.Gateway6
	if is4 {
		mode, gateway = o.Rules.Mode4, o.Gateway4
	}
	if mode == ModeIsolated {
		return netip.Prefix{}
	}
	return gateway
}

// subnet gives the subnet of a family; zero where the network does not have it.
func (o *Options) subnet(is4 bool) netip.Prefix {
	if is4 {
		return cmp.Or(o.Gateway4, o.Subnet4).Masked()
	}
	return cmp.Or(o.Gateway6, o.Subnet6).Masked()
}

// gateways are the gateway's own addresses.
func (o *Options) gateways() []netip.Addr {
	var out []netip.Addr
	for _, is4 := range []bool{true, false} {
		if g := o.gateway(is4); g.IsValid() {
			out = append(out, g.Addr())
		}
	}
	return out
}

// Outbound is where flows of a network leave the host. Zero fields leave it to the
// host's routes.
type Outbound struct {
	Addr4, Addr6 netip.Addr `json:",omitzero"` // source addresses
	Device       string     `json:",omitzero"` // interface
}

// PortRange is ports of one transport, First to Last.
type PortRange struct {
	Proto       string // "tcp" or "udp"; of an Exception "sctp" too
	First, Last uint16
}

// DHCP says whether addresses are given by DHCP, and which to stations that the
// engine does not know (machines behind an endpoint of nested stations).
type DHCP struct {
	On bool `json:",omitzero"`
	// Range4 and Range6 are kept free of containers, for unknown stations.
	Range4, Range6 netip.Prefix `json:",omitzero"`
	// First4 to Last4 are the same as Range4, where it is no prefix.
	First4, Last4 netip.Addr `json:",omitzero"`
}

// DNS is where a network's names are asked for.
type DNS struct {
	// Addr4 and Addr6 are addresses of the subnets; zero = the gateway's.
	Addr4, Addr6 netip.Addr `json:",omitzero"`
	// More are addresses outside of the subnets where they are asked for as well.
	More []netip.Addr `json:",omitempty"`
	// Off: there are no names; what is sent to Addr4 and Addr6 meets silence.
	Off bool `json:",omitzero"`
}
