package packet

import (
	"encoding/binary"
	"net/netip"
)

// Datagram is a UDP datagram that a container sent, or several of one flow and
// size that its kernel left for the device to segment, or that were put together.
type Datagram struct {
	Src, Dst netip.AddrPort
	// Payload is valid only until the function that was given the Datagram
	// returns.
	Payload []byte
	// SegmentSize is 0 for one datagram. Otherwise Payload is to be sent as
	// datagrams of that many bytes, of which the last may be shorter.
	SegmentSize int
	// TTL is the time to live or hop limit the container gave it, TOS its type of
	// service or traffic class.
	TTL, TOS uint8
	// DontFragment: the container wants to be told when it is too big for the path,
	// and not to have it cut.
	DontFragment bool
	// IP is the packet from its IP header on, to be quoted in ICMP errors: of several that were
	// put together, the first. It is as short-lived as Payload.
	IP []byte
}

// ParseUDP reads the UDP header at the start of t, the transport part of the
// packet that ip describes. It returns ErrMalformed if lengths do not hold.
func ParseUDP(t []byte, ip *IP) (src, dst netip.AddrPort, payload []byte, err error) {
	if len(t) < UDPLen {
		return src, dst, nil, ErrMalformed
	}
	n := int(binary.BigEndian.Uint16(t[4:6]))
	if n < UDPLen || n > len(t) {
		return src, dst, nil, ErrMalformed
	}
	src = netip.AddrPortFrom(ip.Src, binary.BigEndian.Uint16(t[0:2]))
	dst = netip.AddrPortFrom(ip.Dst, binary.BigEndian.Uint16(t[2:4]))
	return src, dst, t[UDPLen:n], nil
}

// UDPHeaderLen is the room that PutUDPPartial needs for a family, in bytes.
func UDPHeaderLen(a netip.Addr) int {
	if a.Is4() {
		return EthernetLen + IPv4Len + UDPLen
	}
	return EthernetLen + IPv6Len + UDPLen
}

// defaultTTL is Linux's default time to live (net.ipv4.ip_default_ttl).
const defaultTTL = 64

// PutUDPPartial writes the Ethernet, IP and UDP headers of a datagram with
// payload bytes of data to b, and returns their length. The UDP checksum holds
// the pseudo-header's sum only: the frame must travel with NEEDS_CSUM set,
// starting at the returned length minus UDPLen, offset 6. src and dst are of
// one family; payload is at most 65507 (IPv4) or 65527 (IPv6) bytes.
func PutUDPPartial(b []byte, dstMAC, srcMAC MAC, src, dst netip.AddrPort, payload int) int {
	udpLen := UDPLen + payload
	n := EthernetLen
	if dst.Addr().Is4() {
		PutEthernet(b, dstMAC, srcMAC, TypeIPv4)
		PutIPv4(b[n:], src.Addr(), dst.Addr(), ProtoUDP, defaultTTL, IPv4Len+udpLen)
		n += IPv4Len
	} else {
		PutEthernet(b, dstMAC, srcMAC, TypeIPv6)
		PutIPv6(b[n:], src.Addr(), dst.Addr(), ProtoUDP, defaultTTL, udpLen)
		n += IPv6Len
	}
	u := b[n : n+UDPLen]
	binary.BigEndian.PutUint16(u[0:2], src.Port())
	binary.BigEndian.PutUint16(u[2:4], dst.Port())
	binary.BigEndian.PutUint16(u[4:6], uint16(udpLen))
	binary.BigEndian.PutUint16(u[6:8], PseudoSum(src.Addr(), dst.Addr(), ProtoUDP, udpLen))
	return n + UDPLen
}
