package packet

import (
	"encoding/binary"
	"net/netip"
)

// What stations send to be configured, and to whom.
var (
	// AllRouters is the multicast group of all routers of a link (RFC 4291 2.7.1).
	AllRouters = netip.MustParseAddr("ff02::2")
	// AllDHCPServers is the multicast group of a link's DHCPv6 servers and relays
	// (RFC 8415 7.1).
	AllDHCPServers = netip.MustParseAddr("ff02::1:2")
	// LimitedBroadcast is the address of all stations of a link (RFC 919 7).
	LimitedBroadcast = broadcast4
)

// rsLen is the size of a router solicitation without options: type, code, checksum
// and four bytes that mean nothing (RFC 4861 4.1).
const rsLen = 8

// ParseRouterSolicit reads a router solicitation, t being the ICMPv6 message of the
// packet that ip describes. A link-layer address option, if there is one, comes back as
// mac. It returns ErrMalformed for what RFC 4861 6.1.1 and RFC 6980 say must be
// discarded, apart from the checksum, and where two such options contradict each other.
func ParseRouterSolicit(t []byte, ip *IP) (mac MAC, hasMAC bool, err error) {
	if len(t) < rsLen || t[0] != NDRouterSolicit || t[1] != 0 || ip.TTL != ndHopLimit || ip.Fragment || ip.FragmentAt != 0 {
		return mac, false, ErrMalformed
	}
	for o := t[rsLen:]; len(o) > 0; {
		if len(o) < 8 {
			return mac, false, ErrMalformed
		}
		n := int(o[1]) * 8
		if n == 0 || n > len(o) {
			return mac, false, ErrMalformed
		}
		if o[0] == ndOptSourceMAC && n == 8 {
			if hasMAC && mac != MAC(o[2:8]) {
				return mac, false, ErrMalformed
			}
			mac, hasMAC = MAC(o[2:8]), true
		}
		o = o[n:]
	}
	if hasMAC && ip.Src.IsUnspecified() {
		return mac, false, ErrMalformed
	}
	return mac, hasMAC, nil
}

// RouterMessageFrame gives the frame of an ICMPv6 message of a router of the link to a
// station on it, or to all: its hop limit says that it has passed no other. The checksum
// is put in.
func RouterMessageFrame(dstMAC, srcMAC MAC, src, dst netip.Addr, message []byte) []byte {
	b := make([]byte, EthernetLen+IPv6Len+len(message))
	PutEthernet(b, dstMAC, srcMAC, TypeIPv6)
	PutIPv6(b[EthernetLen:], src, dst, ProtoICMPv6, ndHopLimit, len(message))
	m := b[EthernetLen+IPv6Len:]
	copy(m, message)
	putICMPSum(m, src, dst)
	return b
}

// UDPFrame gives the frame of a datagram with its whole checksum. DHCP clients read
// frames below their kernel and see no virtio header that tells of a partial one.
// src and dst are of one family.
func UDPFrame(dstMAC, srcMAC MAC, src, dst netip.AddrPort, payload []byte) []byte {
	n := UDPHeaderLen(dst.Addr())
	b := make([]byte, n+len(payload))
	PutUDPPartial(b, dstMAC, srcMAC, src, dst, len(payload))
	copy(b[n:], payload)
	u := b[n-UDPLen:]
	sum := u[6:8]
	pseudo := binary.BigEndian.Uint16(sum)
	sum[0], sum[1] = 0, 0
	if binary.BigEndian.PutUint16(sum, ^Sum(u, pseudo)); sum[0] == 0 && sum[1] == 0 {
		sum[0], sum[1] = 0xff, 0xff // 0 is for "none" (RFC 768)
	}
	return b
}

// SLAAC gives the address that a kernel derives from m in a prefix that a router
// advertises (RFC 4862 5.5.3, modified EUI-64); ok is false where the prefix leaves
// another number of bits than 64, from which none is derived.
func (m MAC) SLAAC(prefix netip.Prefix) (a netip.Addr, ok bool) {
	if !prefix.Addr().Is6() || prefix.Bits() != 64 {
		return netip.Addr{}, false
	}
	b, low := prefix.Addr().As16(), m.LinkLocal().As16()
	copy(b[8:], low[8:])
	return netip.AddrFrom16(b), true
}
