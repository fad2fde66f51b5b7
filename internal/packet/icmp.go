package packet

import (
	"encoding/binary"
	"net/netip"
)

// Types and codes of ICMP (RFC 792) and ICMPv6 (RFC 4443) that a gateway reads
// or sends.
const (
	ICMPEchoReply      = 0
	ICMPUnreachable    = 3
	ICMPRedirect       = 5
	ICMPEchoRequest    = 8
	ICMPRouterAdvert   = 9 // RFC 1256
	ICMPTimeExceeded   = 11
	ICMPv6Unreachable  = 1
	ICMPv6TooBig       = 2
	ICMPv6TimeExceeded = 3
	ICMPv6EchoRequest  = 128
	ICMPv6EchoReply    = 129

	ICMPCodeNet        = 0 // network unreachable
	ICMPCodeHost       = 1
	ICMPCodePort       = 3
	ICMPCodeFragment   = 4  // fragmentation needed
	ICMPCodeProhibit   = 13 // communication administratively prohibited
	ICMPv6CodeNoRoute  = 0
	ICMPv6CodeProhib   = 1
	ICMPv6CodeAddr     = 3
	ICMPv6CodePort     = 4
	ICMPCodeReassembly = 1 // time exceeded, of both versions: fragments did not come
)

// ICMPLen is the size of an ICMP header in bytes.
const ICMPLen = 8

// ICMPError is an ICMP error of either version, as it goes to a container.
type ICMPError struct {
	Type, Code uint8
	// Info is the second word of the header: the MTU in bytes of "too big"
	// and "fragmentation needed", else 0.
	Info uint32
}

// Errors that mean the same in both versions.
func errorFor(v4 bool, t4, c4, t6, c6 uint8) ICMPError {
	if v4 {
		return ICMPError{Type: t4, Code: c4}
	}
	return ICMPError{Type: t6, Code: c6}
}

// PortUnreachable is the error for a datagram nobody listens for.
func PortUnreachable(v4 bool) ICMPError {
	return errorFor(v4, ICMPUnreachable, ICMPCodePort, ICMPv6Unreachable, ICMPv6CodePort)
}

// HostUnreachable is the error for an address that does not answer.
func HostUnreachable(v4 bool) ICMPError {
	return errorFor(v4, ICMPUnreachable, ICMPCodeHost, ICMPv6Unreachable, ICMPv6CodeAddr)
}

// NetUnreachable is the error for an address without a route.
func NetUnreachable(v4 bool) ICMPError {
	return errorFor(v4, ICMPUnreachable, ICMPCodeNet, ICMPv6Unreachable, ICMPv6CodeNoRoute)
}

// Prohibited is the error for a destination that policy closes.
func Prohibited(v4 bool) ICMPError {
	return errorFor(v4, ICMPUnreachable, ICMPCodeProhibit, ICMPv6Unreachable, ICMPv6CodeProhib)
}

// TimeExceeded is the error for a packet whose time to live ran out.
func TimeExceeded(v4 bool) ICMPError {
	return errorFor(v4, ICMPTimeExceeded, 0, ICMPv6TimeExceeded, 0)
}

// ReassemblyTimeout is the error for a packet of which fragments did not come in
// time.
func ReassemblyTimeout(v4 bool) ICMPError {
	e := TimeExceeded(v4)
	e.Code = ICMPCodeReassembly
	return e
}

// TooBig is the error for a packet larger than the path's MTU in bytes.
func TooBig(v4 bool, mtu uint32) ICMPError {
	e := errorFor(v4, ICMPUnreachable, ICMPCodeFragment, ICMPv6TooBig, 0)
	e.Info = mtu
	return e
}

// MayAnswer reports whether an ICMP error may be sent about the packet b, from
// which ip was parsed: never about ICMP errors and redirects, nor about later
// fragments, nor about what went to or came from more than one station (RFC
// 1122 3.2.2, RFC 4443 2.4 e). The broadcast address of a subnet is for the
// caller to know.
func MayAnswer(b []byte, ip *IP) bool {
	if !ip.IsFirst() || !isOneStation(ip.Src) || ip.Dst.IsMulticast() || ip.Dst == broadcast4 {
		return false
	}
	t := b[ip.HeaderLen:ip.Len]
	switch {
	case ip.Src.Is4() && ip.Proto == ProtoICMP:
		return len(t) > 0 && isQuery4(t[0])
	case !ip.Src.Is4() && ip.Proto == ProtoICMPv6:
		return len(t) > 0 && t[0] >= firstInformational && t[0] != NDRedirect
	}
	return true
}

// QuotedBy gives the addresses of the packet that an ICMP error is about, t being the
// ICMP message of the packet that ip describes. isError is false for other
// messages; of an error that quotes no IP header of its own version the addresses
// are invalid.
func QuotedBy(t []byte, ip *IP) (src, dst netip.Addr, isError bool) {
	if len(t) == 0 || !ip.IsFirst() {
		return src, dst, false
	}
	v4 := ip.Src.Is4()
	switch {
	case v4 && ip.Proto == ProtoICMP:
		isError = t[0] != ICMPRedirect && !isQuery4(t[0])
	case !v4 && ip.Proto == ProtoICMPv6:
		isError = t[0] < firstInformational
	}
	if !isError || len(t) < ICMPLen {
		return src, dst, isError
	}
	q := t[ICMPLen:]
	switch {
	case v4 && len(q) >= IPv4Len && q[0]>>4 == 4:
		src, dst = netip.AddrFrom4([4]byte(q[12:16])), netip.AddrFrom4([4]byte(q[16:20]))
	case !v4 && len(q) >= IPv6Len && q[0]>>4 == 6:
		src, dst = netip.AddrFrom16([16]byte(q[8:24])), netip.AddrFrom16([16]byte(q[24:40]))
	}
	return src, dst, true
}

// firstInformational is the first type of ICMPv6 that is not an error
// (RFC 4443 2.1).
const firstInformational = 128

// isQuery4 reports whether an ICMP type is a question or an answer to one. What
// is not known counts as an error: silence cannot loop.
func isQuery4(t uint8) bool {
	switch t {
	case ICMPEchoReply, ICMPEchoRequest,
		9, 10, // router discovery (RFC 1256)
		13, 14, 15, 16, 17, 18: // timestamp, information, address mask
		return true
	}
	return false
}

var broadcast4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func isOneStation(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && a != broadcast4
}

// Limits of the quoted packet: RFC 1812 4.3.2.3 (576 bytes in all) and
// RFC 4443 2.4 (1280 bytes in all).
const (
	maxQuote4 = 576 - IPv4Len - ICMPLen
	maxQuote6 = 1280 - IPv6Len - ICMPLen
)

// ICMPErrorFrame gives the frame that tells the sender of the packet quoted
// (from its IP header on) of error e; from is who says so, of the same family.
func ICMPErrorFrame(dstMAC, srcMAC MAC, from, to netip.Addr, e ICMPError, quoted []byte) []byte {
	if to.Is4() {
		quoted = quoted[:min(len(quoted), maxQuote4)]
	} else {
		quoted = quoted[:min(len(quoted), maxQuote6)]
	}
	b, m := icmpFrame(dstMAC, srcMAC, from, to, ICMPLen+len(quoted))
	m[0], m[1] = e.Type, e.Code
	binary.BigEndian.PutUint32(m[4:8], e.Info)
	copy(m[ICMPLen:], quoted)
	putICMPSum(m, from, to)
	return b
}

// EchoFrame gives the frame of an echo reply from src to dst with the given
// identifier, sequence number and data.
func EchoFrame(dstMAC, srcMAC MAC, src, dst netip.Addr, id, seq uint16, data []byte) []byte {
	b, m := icmpFrame(dstMAC, srcMAC, src, dst, ICMPLen+len(data))
	m[0] = ICMPEchoReply
	if !dst.Is4() {
		m[0] = ICMPv6EchoReply
	}
	binary.BigEndian.PutUint16(m[4:6], id)
	binary.BigEndian.PutUint16(m[6:8], seq)
	copy(m[ICMPLen:], data)
	putICMPSum(m, src, dst)
	return b
}

func icmpFrame(dstMAC, srcMAC MAC, src, dst netip.Addr, n int) (frame, message []byte) {
	if dst.Is4() {
		frame = make([]byte, EthernetLen+IPv4Len+n)
		PutEthernet(frame, dstMAC, srcMAC, TypeIPv4)
		PutIPv4(frame[EthernetLen:], src, dst, ProtoICMP, defaultTTL, IPv4Len+n)
		return frame, frame[EthernetLen+IPv4Len:]
	}
	frame = make([]byte, EthernetLen+IPv6Len+n)
	PutEthernet(frame, dstMAC, srcMAC, TypeIPv6)
	PutIPv6(frame[EthernetLen:], src, dst, ProtoICMPv6, defaultTTL, n)
	return frame, frame[EthernetLen+IPv6Len:]
}

func putICMPSum(m []byte, src, dst netip.Addr) {
	var initial uint16
	if !dst.Is4() {
		initial = PseudoSum(src, dst, ProtoICMPv6, len(m))
	}
	m[2], m[3] = 0, 0
	binary.BigEndian.PutUint16(m[2:4], ^Sum(m, initial))
}

// Echo is an ICMP echo request that a container sent.
type Echo struct {
	Src, Dst netip.Addr
	ID, Seq  uint16
	TTL, TOS uint8
	// DontFragment is Datagram's.
	DontFragment bool
	// Data and IP are valid only until the function that was given the Echo
	// returns; IP is the packet from its IP header on.
	Data, IP []byte
}

// ParseEcho reads the ICMP message t of the packet that ip describes; ok is
// false if it is not an echo request of ip's own version.
func ParseEcho(t []byte, ip *IP) (e Echo, ok bool) {
	proto, request := uint8(ProtoICMP), uint8(ICMPEchoRequest)
	if ip.Src.Is6() {
		proto, request = ProtoICMPv6, ICMPv6EchoRequest
	}
	if ip.Proto != proto {
		return Echo{}, false
	}
	if len(t) < ICMPLen || t[0] != request || t[1] != 0 {
		return Echo{}, false
	}
	return Echo{
		Src: ip.Src, Dst: ip.Dst, TTL: ip.TTL, TOS: ip.TOS, DontFragment: ip.DontFragment,
		ID: binary.BigEndian.Uint16(t[4:6]), Seq: binary.BigEndian.Uint16(t[6:8]),
		Data: t[ICMPLen:],
	}, true
}
