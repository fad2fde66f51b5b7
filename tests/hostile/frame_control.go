package main

import (
	"encoding/binary"
	"net/netip"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// Messages by which one station tells others where to send their packets.

// option is an option of neighbour discovery, filled up to a multiple of eight bytes (RFC 4861 4.6).
func option(kind uint8, value ...byte) []byte {
	n := (len(value) + 2 + 7) / 8
	b := make([]byte, 8*n)
	b[0], b[1] = kind, byte(n)
	copy(b[2:], value)
	return b
}

// Options of neighbour discovery.
const (
	optSourceMAC = 1
	optTargetMAC = 2
	optPrefix    = 3
	optMTU       = 5
	optRDNSS     = 25
	optUnknown   = 253 // for experiments (RFC 4727): carries a mark, and receivers skip it
)

// routerAdvert says that src is a router, for a prefix of /64, and a name server if one is given (RFC 4861 4.2, RFC 8106).
func routerAdvert(src netip.Addr, mac packet.MAC, prefix, nameServer netip.Addr, mark []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, 0) // reachable time
	b = binary.BigEndian.AppendUint32(b, 0)    // retransmission
	b = append(b, option(optSourceMAC, mac[:]...)...)
	if prefix.IsValid() {
		p := prefix.As16()
		value := []byte{64, 0xc0}
		value = binary.BigEndian.AppendUint32(value, 86400)
		value = binary.BigEndian.AppendUint32(value, 86400)
		b = append(b, option(optPrefix, append(append(value, 0, 0, 0, 0), p[:]...)...)...)
	}
	if nameServer.IsValid() {
		n := nameServer.As16()
		value := binary.BigEndian.AppendUint32([]byte{0, 0}, 3600)
		b = append(b, option(optRDNSS, append(value, n[:]...)...)...)
	}
	b = append(b, option(optUnknown, mark...)...)
	const hopLimit, lifetime = 64, 9000
	return icmpPacket(src, packet.AllNodes, packet.NDRouterAdvert, 0, hopLimit<<24|lifetime, b)
}

// neighborAdvert says that target is at mac; to a group it is unsolicited (RFC 4861 4.4).
func neighborAdvert(src, dst, target netip.Addr, mac packet.MAC, mark []byte) []byte {
	const solicited, override = 0x40000000, 0x20000000
	word := uint32(override)
	if !dst.IsMulticast() {
		word |= solicited
	}
	t := target.As16()
	b := append(t[:], option(optTargetMAC, mac[:]...)...)
	return icmpPacket(src, dst, packet.NDNeighborAdvert, 0, word, append(b, option(optUnknown, mark...)...))
}

// neighborSolicit asks for target and says, by the way, that src is at mac.
func neighborSolicit(src, dst, target netip.Addr, mac packet.MAC, mark []byte) []byte {
	t := target.As16()
	b := append(t[:], option(optSourceMAC, mac[:]...)...)
	return icmpPacket(src, dst, packet.NDNeighborSolicit, 0, 0, append(b, option(optUnknown, mark...)...))
}

// redirect says that the way to a destination begins at another router (RFC 792; RFC 4861 4.5). quoted is a packet that
// the victim has sent.
func redirect(src, dst, better, destination netip.Addr, mac packet.MAC, quoted, mark []byte) []byte {
	if src.Is4() {
		b := better.As4()
		return icmpPacket(src, dst, packet.ICMPRedirect, 1, binary.BigEndian.Uint32(b[:]), append(quoted, mark...))
	}
	t, d := better.As16(), destination.As16()
	b := append(t[:], d[:]...)
	b = append(b, option(optTargetMAC, mac[:]...)...)
	return icmpPacket(src, dst, packet.NDRedirect, 0, 0, append(b, option(optUnknown, mark...)...))
}

// Operations of DHCP (RFC 2132 9.6) and messages of DHCPv6 (RFC 8415 7.3).
const (
	dhcpOffer, dhcpACK        = 2, 5
	dhcpv6Advertise, dhcpv6OK = 2, 7
)

// dhcpAnswer is what a DHCP server says: an address, itself as the router and the name server (RFC 2131 2).
func dhcpAnswer(server, offered netip.Addr, client packet.MAC, operation byte, mark []byte) []byte {
	b := make([]byte, 236, 300)
	b[0], b[1], b[2] = 2, 1, 6 // answer, Ethernet, length of its addresses
	copy(b[16:], offered.AsSlice())
	copy(b[20:], server.AsSlice())
	copy(b[28:], client[:])
	b = append(b, 99, 130, 83, 99, 53, 1, operation)
	for _, code := range []byte{54, 3, 6} { // server, router, name server
		b = append(append(b, code, 4), server.AsSlice()...)
	}
	b = append(append(b, 224, byte(len(mark))), mark...) // for private use
	return append(b, 255)
}

// dhcpv6Answer offers a name server by DHCPv6 (RFC 8415, RFC 3646).
func dhcpv6Answer(kind byte, server netip.Addr, mark []byte) []byte {
	b := []byte{kind, 1, 2, 3}
	add := func(code uint16, value []byte) {
		b = binary.BigEndian.AppendUint16(b, code)
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
		b = append(b, value...)
	}
	add(2, []byte{0, 3, 0, 1, 2, 0x42, 1, 2, 3, 4}) // the server's id
	add(23, server.AsSlice())                       // name servers
	add(65000, mark)                                // unassigned
	return b
}

// arp is an ARP packet for any purpose, behind its Ethernet header; a mark follows as padding.
func arp(dst packet.MAC, src packet.MAC, a packet.ARP, mark []byte) []byte {
	f := packet.ARPFrame(dst, a)
	copy(f[6:12], src[:])
	return append(f, mark...)
}
