package engine

import (
	"crypto/rand"
	"net/netip"

	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// autoconfigured gives the MAC and the IPv6 address of a new endpoint with that IPv4
// address, on a network that advertises its gateway: the address that a kernel makes of
// the subnet and the MAC, so that what a container has by SLAAC is what it has by
// footbridge. The address is invalid where it would follow from something else: the
// network does not advertise, its addresses have a range, its subnet is not a /64, or
// somebody has the address. e.mu is held.
func (n *netw) autoconfigured(ipv4 netip.Addr, mac network.HardwareAddr, e *Engine) (network.HardwareAddr, netip.Addr) {
	o := n.def.options()
	s, ok := n.def.subnet(false)
	if !ok || !o.rules.RA || s.Prefix.Bits() != 64 || s.Range.IsValid() || s.First.IsValid() {
		return mac, netip.Addr{}
	}
	chosen := mac
	if len(chosen) == 0 {
		chosen = n.freeMAC(ipv4)
	}
	a, ok := packet.MAC(chosen).SLAAC(s.Prefix)
	if !ok || n.ownerOfMore(a, e) != "" || n.v6.Take(a) != nil {
		return mac, netip.Addr{}
	}
	n.v6.Release(a) // for takeAddr
	return chosen, a
}

// freeMAC gives a MAC that nobody has on the network: the one that follows from the IPv4
// address, if there is one.
func (n *netw) freeMAC(ipv4 netip.Addr) network.HardwareAddr {
	m := packet.MAC{0x02, 0x42}
	if ipv4.IsValid() {
		m = packet.MACFromIPv4(ipv4)
	} else {
		_, _ = rand.Read(m[2:]) // never fails
	}
	for n.macs[string(m[:])] != "" || string(m[:]) == string(n.gatewayMAC()) {
		_, _ = rand.Read(m[2:])
	}
	return m[:]
}
