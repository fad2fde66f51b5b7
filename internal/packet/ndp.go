package packet

import (
	"encoding/binary"
	"net/netip"
)

// Types of ICMPv6 that neighbour discovery uses (RFC 4861, 4).
const (
	NDRouterSolicit    = 133
	NDRouterAdvert     = 134
	NDNeighborSolicit  = 135
	NDNeighborAdvert   = 136
	NDRedirect         = 137
	RouterRenumbering  = 138 // RFC 2894
	MLDQuery           = 130
	MLDReport          = 131
	MLDDone            = 132
	MLDv2Report        = 143
	ndHopLimit         = 255 // RFC 4861 7.1.1: others are forged from afar
	ndOptSourceMAC     = 1
	ndOptTargetMAC     = 2
	ndFlagRouter       = 0x80
	ndFlagSolicited    = 0x40
	ndFlagOverride     = 0x20
	ndNeighborLen      = 24 // type, code, checksum, flags, target
	ndNeighborFrameLen = EthernetLen + IPv6Len + ndNeighborLen + 8
)

// AllNodes is the multicast group of all nodes of a link (RFC 4291 2.7.1).
var AllNodes = netip.MustParseAddr("ff02::1")

// ParseNeighbor reads a neighbour solicitation or advertisement, t being the
// ICMPv6 message of the packet that ip describes, and gives the target address.
// A link-layer address option, if there is one, comes back as mac. It returns
// ErrMalformed for what RFC 4861 7.1 and RFC 6980 say must be discarded, apart
// from the checksum, and where two such options contradict each other: who
// checks one and who believes the other must not be two.
func ParseNeighbor(t []byte, ip *IP) (target netip.Addr, mac MAC, hasMAC bool, err error) {
	if len(t) < ndNeighborLen || ip.TTL != ndHopLimit || t[1] != 0 || ip.Fragment || ip.FragmentAt != 0 ||
		(t[0] != NDNeighborSolicit && t[0] != NDNeighborAdvert) {
		return target, mac, false, ErrMalformed
	}
	target = netip.AddrFrom16([16]byte(t[8:24]))
	if target.IsMulticast() {
		return target, mac, false, ErrMalformed
	}
	solicit := t[0] == NDNeighborSolicit
	want := byte(ndOptSourceMAC)
	if !solicit {
		want = ndOptTargetMAC
		if ip.Dst.IsMulticast() && t[4]&ndFlagSolicited != 0 {
			return target, mac, false, ErrMalformed
		}
	}
	for o := t[ndNeighborLen:]; len(o) > 0; {
		if len(o) < 8 {
			return target, mac, false, ErrMalformed
		}
		n := int(o[1]) * 8
		if n == 0 || n > len(o) {
			return target, mac, false, ErrMalformed
		}
		if o[0] == want && n == 8 {
			if hasMAC && mac != MAC(o[2:8]) {
				return target, mac, false, ErrMalformed
			}
			mac, hasMAC = MAC(o[2:8]), true
		}
		o = o[n:]
	}
	// Duplicate address detection: to the group of a target, and nobody to
	// answer to.
	if solicit && ip.Src.IsUnspecified() && (hasMAC || !isSolicitedNode(ip.Dst)) {
		return target, mac, false, ErrMalformed
	}
	return target, mac, hasMAC, nil
}

// isSolicitedNode reports whether a is in ff02::1:ff00:0/104 (RFC 4291 2.7.1).
func isSolicitedNode(a netip.Addr) bool {
	b := a.As16()
	return [13]byte(b[:13]) == [13]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff}
}

// NeighborAdvertFrame gives the frame by which mac says that it has target
// (RFC 4861 4.4): solicited when dst is a unicast address, else to the group.
func NeighborAdvertFrame(dstMAC, mac MAC, dst, target netip.Addr) []byte {
	return advertFrame(dstMAC, mac, dst, target, ndFlagOverride)
}

// RouterNeighborAdvertFrame is NeighborAdvertFrame for a router's own address. A host that
// hears of its router without the flag takes it for one no more, and forgets its default
// route (RFC 4861 7.3.3).
func RouterNeighborAdvertFrame(dstMAC, mac MAC, dst, target netip.Addr) []byte {
	return advertFrame(dstMAC, mac, dst, target, ndFlagOverride|ndFlagRouter)
}

func advertFrame(dstMAC, mac MAC, dst, target netip.Addr, flags byte) []byte {
	b := make([]byte, ndNeighborFrameLen)
	PutEthernet(b, dstMAC, mac, TypeIPv6)
	ip := b[EthernetLen:]
	PutIPv6(ip, target, dst, ProtoICMPv6, ndHopLimit, ndNeighborLen+8)
	m := ip[IPv6Len:]
	m[0] = NDNeighborAdvert
	m[4] = flags
	if !dst.IsMulticast() {
		m[4] |= ndFlagSolicited
	}
	t := target.As16()
	copy(m[8:24], t[:])
	m[24], m[25] = ndOptTargetMAC, 1
	copy(m[26:32], mac[:])
	binary.BigEndian.PutUint16(m[2:4], ^Sum(m, PseudoSum(target, dst, ProtoICMPv6, len(m))))
	return b
}

// NeighborSolicitFrame gives the frame by which the station with mac and the
// address src asks who has target (RFC 4861 4.3).
func NeighborSolicitFrame(mac MAC, src, target netip.Addr) []byte {
	group := target.As16()
	copy(group[:], []byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff})
	dst := netip.AddrFrom16(group)
	b := make([]byte, ndNeighborFrameLen)
	PutEthernet(b, MulticastMAC(dst), mac, TypeIPv6)
	ip := b[EthernetLen:]
	PutIPv6(ip, src, dst, ProtoICMPv6, ndHopLimit, ndNeighborLen+8)
	m := ip[IPv6Len:]
	m[0] = NDNeighborSolicit
	t := target.As16()
	copy(m[8:24], t[:])
	m[24], m[25] = ndOptSourceMAC, 1
	copy(m[26:32], mac[:])
	binary.BigEndian.PutUint16(m[2:4], ^Sum(m, PseudoSum(src, dst, ProtoICMPv6, len(m))))
	return b
}

// MulticastMAC gives the Ethernet group of an IPv4 or IPv6 multicast address
// (RFC 1112 6.4, RFC 2464 7).
func MulticastMAC(a netip.Addr) MAC {
	if a.Is4() {
		b := a.As4()
		return MAC{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}
	}
	b := a.As16()
	return MAC{0x33, 0x33, b[12], b[13], b[14], b[15]}
}
