package stack

import "github.com/footbridge-net/footbridge/internal/packet"

// guard decides whether the port's container may send the frame, by what the
// engine gave the port: its MAC and its addresses. It parses the IP header for
// those behind it.
func (in *incoming) guard(etherType uint16) DropReason {
	p := in.port
	if packet.Source(in.frame) != p.mac {
		return DropSourceMAC
	}
	body := in.frame[packet.EthernetLen:]
	in.ip = packet.IP{}
	switch etherType {
	case packet.TypeIPv4:
		ip, err := packet.ParseIP(body)
		if err != nil || !ip.Src.Is4() {
			return DropMalformed
		}
		in.ip = ip
		if !p.owns(ip.Src) {
			return DropSourceIP
		}
	case packet.TypeIPv6:
		if !p.net.hasIPv6() {
			return DropNoIPv6
		}
		ip, err := packet.ParseIP(body)
		if err != nil || !ip.Src.Is6() {
			return DropMalformed
		}
		in.ip = ip
		return in.guardIPv6(body)
	case packet.TypeARP:
		a, err := packet.ParseARP(body)
		if err != nil {
			return DropMalformed
		}
		// An unspecified sender is a probe (RFC 5227).
		if a.SenderMAC != p.mac || (!p.owns(a.SenderIP) && !a.SenderIP.IsUnspecified()) {
			return DropNeighbor
		}
	default:
		return DropEtherType
	}
	return DropNone
}

func (in *incoming) guardIPv6(body []byte) DropReason {
	p, ip := in.port, &in.ip
	isICMP := ip.Proto == packet.ProtoICMPv6 && ip.IsFirst()
	switch {
	case p.owns(ip.Src) || ip.Src == p.linkLocal:
	case ip.Src.IsUnspecified() && isICMP: // duplicate address detection, MLD
	default:
		return DropSourceIP
	}
	if !isICMP {
		return DropNone
	}
	t := body[ip.HeaderLen:ip.Len]
	if len(t) == 0 {
		return DropMalformed
	}
	switch t[0] {
	case packet.NDRouterAdvert, packet.NDRedirect:
		return DropNeighbor
	case packet.NDNeighborAdvert:
		target, mac, hasMAC, err := packet.ParseNeighbor(t, ip)
		if err != nil {
			return DropMalformed
		}
		if (!p.owns(target) && target != p.linkLocal) || (hasMAC && mac != p.mac) {
			return DropNeighbor
		}
	case packet.NDNeighborSolicit:
		_, mac, hasMAC, err := packet.ParseNeighbor(t, ip)
		if err != nil {
			return DropMalformed
		}
		if hasMAC && mac != p.mac {
			return DropNeighbor
		}
	}
	return DropNone
}
