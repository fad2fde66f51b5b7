package plane

import (
	"net/netip"

	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/forwarder"
	"github.com/footbridge-net/footbridge/portfwd"
	"github.com/footbridge-net/footbridge/stack"
)

// Limits bound what one endpoint makes its network hold. Zero fields have the
// defaults of the packages that keep them.
type Limits struct {
	// To the outside, and once more to networks that are open to others:
	HalfOpen int `json:",omitzero"` // TCP connections under way
	TCP      int `json:",omitzero"` // TCP connections
	UDP      int `json:",omitzero"` // UDP mappings
	Echo     int `json:",omitzero"` // ids of ping

	Fragments            int `json:",omitzero"` // bytes that wait for the rest of their datagram
	FragmentDatagrams    int `json:",omitzero"` // of which fragments wait
	DNS                  int `json:",omitzero"` // questions to the host's resolvers under way
	PublishedConnections int `json:",omitzero"` // TCP connections to its published ports
	PublishedUDP         int `json:",omitzero"` // UDP flows to its published ports
}

func (l Limits) stack() stack.Limits {
	return stack.Limits{
		FragmentBytes: l.Fragments, FragmentDatagrams: l.FragmentDatagrams,
		CrossHalfOpen: l.HalfOpen, CrossTCP: l.TCP, CrossUDP: l.UDP, CrossEcho: l.Echo,
	}
}

// setLimits makes l known to those who carry the flows of the endpoint known by a.
func (p *Plane) setLimits(a netip.Addr, l Limits) {
	p.dns.SetLimits(a, dns.ClientLimits{Forwards: l.DNS})
	if p.out != nil {
		p.out.SetLimits(a, forwarder.Limits{HalfOpen: l.HalfOpen, TCP: l.TCP, UDP: l.UDP, Echo: l.Echo})
	}
	p.join.SetLimits(a, portfwd.ContainerLimits{Connections: l.PublishedConnections, Flows: l.PublishedUDP})
}

// release ends the endpoint's flows and forgets its limits.
func (p *Plane) release(a netip.Addr) {
	p.dns.Release(a)
	if p.out != nil {
		p.out.ReleaseAddr(a)
	}
	p.join.Release(a)
}
