package stack

import (
	"encoding/binary"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

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
		if in.leads(body) {
			return DropNeighbor
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
	if in.leads(body) {
		return DropNeighbor
	}
	if !isICMP {
		return DropNone
	}
	t := body[ip.HeaderLen:ip.Len]
	if len(t) == 0 {
		return DropMalformed
	}
	switch t[0] {
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

// Ports that DHCP servers and relays send from, and clients listen at (RFC 2131
// 4.1, RFC 8415 7.2). Clients take an answer to theirs from whatever port.
const (
	dhcpServer, dhcpClient     = 67, 68
	dhcpv6Server, dhcpv6Client = 547, 546
)

// leads reports whether the packet would tell others where to send theirs: a
// router advertisement, a redirect, an answer of a DHCP server. Only gateways
// do that.
func (in *incoming) leads(body []byte) bool {
	ip := &in.ip
	t := body[ip.HeaderLen:ip.Len]
	if !ip.IsFirst() || len(t) < 4 {
		return false
	}
	from, to := binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])
	switch {
	case ip.Proto == packet.ProtoUDP && ip.Src.Is4():
		return from == dhcpServer || to == dhcpClient
	case ip.Proto == packet.ProtoUDP:
		return from == dhcpv6Server || to == dhcpv6Client
	case ip.Proto == packet.ProtoICMP && ip.Src.Is4():
		return t[0] == packet.ICMPRedirect
	case ip.Proto == packet.ProtoICMPv6 && ip.Src.Is6():
		return t[0] == packet.NDRouterAdvert || t[0] == packet.NDRedirect
	}
	return false
}

// segmentable reports whether what the virtio header wants to be segmented is what
// the frame carries: otherwise a header behind the real one could stand for
// thousands of datagrams in what vnet.Header.Check sees as a few.
func (in *incoming) segmentable(h vnet.Header) bool {
	if h.GSOType == vnet.GSONone {
		return true
	}
	want := uint8(packet.ProtoTCP)
	if h.Kind() == vnet.GSOUDPL4 {
		want = packet.ProtoUDP
	}
	return in.ip.Proto == want && !in.ip.Fragment && int(h.CsumStart) == packet.EthernetLen+in.ip.HeaderLen
}
