package packet

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// Sum adds b to a ones' complement sum (RFC 1071), not inverted.
func Sum(b []byte, initial uint16) uint16 { return checksum.Checksum(b, initial) }

// PseudoSum is the sum over the pseudo-header of TCP, UDP and ICMPv6
// (RFC 9293 3.1, RFC 8200 8.1), not inverted. length is that of the transport
// header and payload in bytes.
func PseudoSum(src, dst netip.Addr, proto uint8, length int) uint16 {
	var b [40]byte
	var n int
	if src.Is4() {
		s, d := src.As4(), dst.As4()
		n = copy(b[:], s[:])
		n += copy(b[n:], d[:])
	} else {
		s, d := src.As16(), dst.As16()
		n = copy(b[:], s[:])
		n += copy(b[n:], d[:])
	}
	binary.BigEndian.PutUint32(b[n:], uint32(length))
	n += 4
	binary.BigEndian.PutUint32(b[n:], uint32(proto))
	n += 4
	return Sum(b[:n], 0)
}

// HeaderValid verifies the checksum of the IPv4 header (RFC 791 3.1) at the
// start of the IP packet b, from which ip was parsed. IPv6 has none.
func HeaderValid(b []byte, ip *IP) bool {
	return !ip.Src.Is4() || Sum(b[:ip.HeaderLen], 0) == 0xffff
}

// TransportValid verifies the checksum of the TCP, UDP or ICMP message in the
// IP packet b, whose header ip was parsed from. Fragments cannot be verified
// and count as valid, as do other protocols; so does UDP over IPv4 without a
// checksum (RFC 768). UDP is as long as its own header says, which may be less
// than the packet.
func TransportValid(b []byte, ip *IP) bool {
	if ip.Fragment {
		return true
	}
	t := b[ip.HeaderLen:ip.Len]
	var initial uint16
	switch ip.Proto {
	case ProtoICMP:
		if !ip.Src.Is4() {
			return true
		}
	case ProtoUDP:
		if len(t) < UDPLen {
			return false
		}
		n := int(binary.BigEndian.Uint16(t[4:6]))
		if n < UDPLen || n > len(t) {
			return false
		}
		t = t[:n]
		if t[6] == 0 && t[7] == 0 {
			return ip.Src.Is4()
		}
		initial = PseudoSum(ip.Src, ip.Dst, ip.Proto, len(t))
	case ProtoICMPv6:
		if ip.Src.Is4() {
			return true
		}
		initial = PseudoSum(ip.Src, ip.Dst, ip.Proto, len(t))
	case ProtoTCP:
		initial = PseudoSum(ip.Src, ip.Dst, ip.Proto, len(t))
	default:
		return true
	}
	return Sum(t, initial) == 0xffff
}
