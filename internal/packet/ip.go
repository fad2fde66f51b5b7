package packet

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Protocol numbers of IP (IANA).
const (
	ProtoHopByHop = 0
	ProtoICMP     = 1
	ProtoTCP      = 6
	ProtoUDP      = 17
	ProtoRouting  = 43
	ProtoFragment = 44
	ProtoICMPv6   = 58
	ProtoDestOpts = 60
)

// Header sizes in bytes, without options or extension headers.
const (
	IPv4Len = 20
	IPv6Len = 40
	UDPLen  = 8
)

// maxIP is what an IP header's length field can say, in bytes: also of the
// packet that a fragment is a part of.
const maxIP = 0xffff

// ErrMalformed is returned for bytes that are no packet of the kind asked for.
var ErrMalformed = errors.New("malformed packet")

// maxExtensionHeaders bounds the walk through IPv6 extension headers: a real
// packet has at most five of those known here (RFC 8200, 4.1: one of each kind,
// destination options twice), a hostile one as many as fit.
const maxExtensionHeaders = 8

// IP is what a network has to know of an IP packet of either version.
type IP struct {
	Src, Dst netip.Addr
	Proto    uint8 // of what begins at HeaderLen
	TTL      uint8 // or hop limit
	TOS      uint8 // or traffic class
	Fragment bool  // a part of a packet, first or not
	More     bool  // fragments follow
	// DontFragment reports that routers on the way may not cut the packet; those of
	// IPv6 never do.
	DontFragment bool
	Offset       int // of the fragment, in bytes
	HeaderLen    int // bytes from the IP header to the transport header
	Len          int // bytes of the whole packet, as its header says
	// SourceRoute reports that the sender wants the receiver to send the packet
	// on: a source route among IPv4's options (RFC 791 3.1), or an IPv6 routing
	// header that has segments left or is of the abandoned type 0 (RFC 5095).
	SourceRoute bool
	// ID is what fragments of one packet have in common; of IPv6 only where
	// there is a fragment header.
	ID uint32
	// FragmentAt is where IPv6's fragment header begins, and NextAt where the
	// byte is that says so; 0 where there is none. An atomic fragment
	// (RFC 6946) has the header and is no fragment.
	FragmentAt, NextAt int
}

// FragmentHeaderLen is the size of IPv6's fragment header (RFC 8200 4.5), in bytes.
const FragmentHeaderLen = 8

// IsFirst reports whether the transport header is in this packet.
func (p *IP) IsFirst() bool { return !p.Fragment || p.Offset == 0 }

// ParseIP reads the IP header at the start of b; the version is that of the
// first byte. Trailing bytes (Ethernet padding) are allowed and not counted in
// Len. It returns ErrMalformed if lengths do not hold.
func ParseIP(b []byte) (IP, error) {
	if len(b) == 0 {
		return IP{}, ErrMalformed
	}
	switch b[0] >> 4 {
	case 4:
		return parseIPv4(b)
	case 6:
		return parseIPv6(b)
	}
	return IP{}, ErrMalformed
}

func parseIPv4(b []byte) (IP, error) {
	if len(b) < IPv4Len {
		return IP{}, ErrMalformed
	}
	p := IP{
		Src:       netip.AddrFrom4([4]byte(b[12:16])),
		Dst:       netip.AddrFrom4([4]byte(b[16:20])),
		Proto:     b[9],
		TTL:       b[8],
		TOS:       b[1],
		HeaderLen: int(b[0]&0xf) * 4,
		Len:       int(binary.BigEndian.Uint16(b[2:4])),
		ID:        uint32(binary.BigEndian.Uint16(b[4:6])),
	}
	frag := binary.BigEndian.Uint16(b[6:8])
	p.DontFragment = frag&0x4000 != 0
	p.More = frag&0x2000 != 0
	p.Offset = int(frag&0x1fff) * 8
	p.Fragment = p.More || p.Offset != 0
	if p.HeaderLen < IPv4Len || p.Len < p.HeaderLen || p.Len > len(b) || p.Offset+p.Len > maxIP {
		return IP{}, ErrMalformed
	}
	var ok bool
	if p.SourceRoute, ok = optionsRoute(b[IPv4Len:p.HeaderLen]); !ok {
		return IP{}, ErrMalformed
	}
	return p, nil
}

// optionsRoute walks through IPv4's options (RFC 791 3.1) and reports whether one
// is a source route; ok is false if they cannot be read.
func optionsRoute(o []byte) (route, ok bool) {
	const end, nop, loose, strict = 0, 1, 131, 137
	for len(o) > 0 {
		switch o[0] {
		case end:
			return route, true
		case nop:
			o = o[1:]
			continue
		case loose, strict:
			route = true
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			return false, false
		}
		o = o[o[1]:]
	}
	return route, true
}

func parseIPv6(b []byte) (IP, error) {
	if len(b) < IPv6Len {
		return IP{}, ErrMalformed
	}
	p := IP{
		Src:       netip.AddrFrom16([16]byte(b[8:24])),
		Dst:       netip.AddrFrom16([16]byte(b[24:40])),
		Proto:     b[6],
		TTL:       b[7],
		TOS:       b[0]<<4 | b[1]>>4,
		HeaderLen: IPv6Len,
		Len:       IPv6Len + int(binary.BigEndian.Uint16(b[4:6])),

		DontFragment: true,
	}
	if p.Len > len(b) {
		return IP{}, ErrMalformed
	}
	b = b[:p.Len]
	next := 6 // where the byte is that names what comes next
	for n := 0; ; n++ {
		switch p.Proto {
		case ProtoHopByHop, ProtoRouting, ProtoDestOpts, ProtoFragment:
		default:
			return p, nil
		}
		at := p.HeaderLen
		if n == maxExtensionHeaders || len(b) < at+8 {
			return IP{}, ErrMalformed
		}
		switch p.Proto {
		case ProtoHopByHop:
			if n > 0 { // it stands first or not at all (RFC 8200, 4.3)
				return IP{}, ErrMalformed
			}
			p.HeaderLen += (int(b[at+1]) + 1) * 8
		case ProtoRouting:
			if b[at+2] == 0 || b[at+3] != 0 {
				p.SourceRoute = true
			}
			fallthrough
		case ProtoDestOpts:
			p.HeaderLen += (int(b[at+1]) + 1) * 8
		case ProtoFragment:
			// A second one could take back what the first has said.
			if p.FragmentAt != 0 {
				return IP{}, ErrMalformed
			}
			p.FragmentAt, p.NextAt = at, next
			p.ID = binary.BigEndian.Uint32(b[at+4 : at+8])
			frag := binary.BigEndian.Uint16(b[at+2 : at+4])
			p.More = frag&1 != 0
			p.Offset = int(frag &^ 7)
			p.Fragment = p.More || p.Offset != 0
			p.HeaderLen += 8
		}
		p.Proto, next = b[at], at
		if p.HeaderLen > len(b) || p.Offset+p.Len-p.HeaderLen > maxIP {
			return IP{}, ErrMalformed
		}
		if !p.IsFirst() {
			return p, nil // what follows is payload from the middle
		}
	}
}

// PutIPv4 writes an IPv4 header without options to the first IPv4Len bytes of
// b, with its checksum, "don't fragment" set and id 0 (RFC 6864: atomic).
// total is the packet's length in bytes.
func PutIPv4(b []byte, src, dst netip.Addr, proto, ttl uint8, total int) {
	s, d := src.As4(), dst.As4()
	b[0], b[1] = 0x45, 0
	binary.BigEndian.PutUint16(b[2:4], uint16(total))
	binary.BigEndian.PutUint32(b[4:8], 0x4000)
	b[8], b[9], b[10], b[11] = ttl, proto, 0, 0
	copy(b[12:16], s[:])
	copy(b[16:20], d[:])
	binary.BigEndian.PutUint16(b[10:12], ^Sum(b[:IPv4Len], 0))
}

// PutIPv6 writes an IPv6 header to the first IPv6Len bytes of b. payload is
// what follows the header, in bytes.
func PutIPv6(b []byte, src, dst netip.Addr, proto, hops uint8, payload int) {
	s, d := src.As16(), dst.As16()
	b[0], b[1], b[2], b[3] = 0x60, 0, 0, 0
	binary.BigEndian.PutUint16(b[4:6], uint16(payload))
	b[6], b[7] = proto, hops
	copy(b[8:24], s[:])
	copy(b[24:40], d[:])
}
