package stack

import (
	"encoding/binary"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// Ports that DHCP servers and relays send from, and clients listen at (RFC 2131
// 4.1, RFC 8415 7.2). Clients take an answer to theirs from whatever port.
const (
	dhcpServer, dhcpClient     = 67, 68
	dhcpv6Server, dhcpv6Client = 547, 546
)

// leads reports whether t, the transport part of a packet, would tell others where to
// send theirs: a router advertisement, a redirect, an answer of a DHCP server. Only
// gateways do that. It sees what a fragment carries that is a first one; others carry no
// header that a receiver would believe (hides).
func leads(ip *packet.IP, t []byte) bool {
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
		return t[0] == packet.ICMPRedirect || t[0] == packet.ICMPRouterAdvert
	case ip.Proto == packet.ProtoICMPv6 && ip.Src.Is6():
		return t[0] == packet.NDRouterAdvert || t[0] == packet.NDRedirect || t[0] == packet.RouterRenumbering
	}
	return false
}
