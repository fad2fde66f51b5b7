package portfwd

import (
	"net/netip"
	"slices"
)

// choose gives the address that the container at dst sees for a client: the
// client's own (own is true) or, where that cannot be used, the gateway's of
// dst's family with port 0, for the caller to pick one. ok is false if the
// network has no gateway of that family.
//
// The client's own address cannot be used if
//
//   - it is of the other family;
//   - it means something else inside the container: loopback, unspecified and
//     0.0.0.0/8 (a kernel drops them as martians), link-local (needs a zone);
//   - it is nobody's: multicast, broadcast;
//   - it belongs to the network: the container would answer to a neighbour, or
//     to itself, instead of its gateway, and might trust it as one.
func (f *Forwarder) choose(client netip.AddrPort, dst netip.Addr) (src netip.AddrPort, own, ok bool) {
	if f.usable(client.Addr(), dst) {
		return client, true, true
	}
	gateway := f.gateway4
	if dst.Is6() {
		gateway = f.gateway6
	}
	return netip.AddrPortFrom(gateway, 0), false, gateway.IsValid()
}

func (f *Forwarder) usable(a, dst netip.Addr) bool {
	switch {
	case a.Is4() != dst.Is4(),
		a.Zone() != "",
		a.IsLoopback(), a.IsUnspecified(), a.IsMulticast(),
		a.IsLinkLocalUnicast(),
		a.Is4() && a.As4()[0] == 0,
		a == broadcast4,
		a == dst, a == f.gateway4, a == f.gateway6:
		return false
	}
	return !f.inSubnet(a)
}

func (f *Forwarder) inSubnet(a netip.Addr) bool {
	return slices.ContainsFunc(f.subnets, func(p netip.Prefix) bool { return p.Contains(a) })
}

var broadcast4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})
