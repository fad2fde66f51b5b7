// Package vnet is the header that the kernel puts before each frame of a TAP
// device opened with IFF_VNET_HDR: struct virtio_net_hdr of
// linux/virtio_net.h, little-endian, 10 bytes.
//
//	 0      1         2        4         6           8
//	+------+---------+--------+---------+-----------+------------+
//	| flags| gso type| hdr_len| gso_size| csum_start| csum_offset|
//	+------+---------+--------+---------+-----------+------------+
//
// The header says what a network card would still have to do: compute one
// checksum, cut a large segment. Between containers nobody does it, the frame
// passes as it is; Cut does it for devices that have no such header. A frame's header comes from the container's kernel, but a
// packet socket can set it to anything: Check refuses what could hurt the
// kernel or stack that reads it next.
//
// Lifetime: nothing is kept. Concurrency: pure functions.
package vnet

import (
	"encoding/binary"
	"errors"
)

// Len is the size of the header in bytes.
const Len = 10

// Flags.
const (
	NeedsCsum = 1 // a checksum is to be computed from CsumStart on
	DataValid = 2 // the checksum is known to be right
)

// Kinds of segmentation; ECN may be or-ed to the TCP ones.
const (
	GSONone  = 0
	GSOTCPv4 = 1
	GSOUDP   = 3 // fragmentation of one datagram; never negotiated here
	GSOTCPv6 = 4
	GSOUDPL4 = 5 // several datagrams of one size
	GSOECN   = 0x80
)

// Header is a decoded header.
type Header struct {
	Flags, GSOType        uint8
	HdrLen, GSOSize       uint16
	CsumStart, CsumOffset uint16
}

// Decode reads the header b.
func Decode(b *[Len]byte) Header {
	return Header{
		Flags: b[0], GSOType: b[1],
		HdrLen:     binary.LittleEndian.Uint16(b[2:]),
		GSOSize:    binary.LittleEndian.Uint16(b[4:]),
		CsumStart:  binary.LittleEndian.Uint16(b[6:]),
		CsumOffset: binary.LittleEndian.Uint16(b[8:]),
	}
}

// Encode writes h to b.
func (h Header) Encode(b *[Len]byte) {
	b[0], b[1] = h.Flags, h.GSOType
	binary.LittleEndian.PutUint16(b[2:], h.HdrLen)
	binary.LittleEndian.PutUint16(b[4:], h.GSOSize)
	binary.LittleEndian.PutUint16(b[6:], h.CsumStart)
	binary.LittleEndian.PutUint16(b[8:], h.CsumOffset)
}

// Kind gives the kind of segmentation without the ECN bit.
func (h Header) Kind() uint8 { return h.GSOType &^ GSOECN }

// ErrInvalid is returned for a header that does not fit its frame.
var ErrInvalid = errors.New("virtio header does not fit its frame")

// What the kernel demands of a header (virtio_net_hdr_to_skb and tun_get_user,
// linux/virtio_net.h and drivers/net/tun.c), in bytes.
const (
	ethernet = 14
	ipv4     = 20
	ipv6     = 40
	tcp      = 20
	udp      = 8
	csumSlot = 2

	tcpCsum = 16 // where the checksum stands in the header
	udpCsum = 6

	// minCsumStart is the kernel's for all frames: it counts the Ethernet
	// header in, and asks for no more than an IPv4 header's length.
	minCsumStart = 20
	// maxCsumStart is far behind any headers; the kernel adds the headroom of
	// its buffer and refuses what then needs more than 16 bits.
	maxCsumStart = 0xf000
	// gsoByFrags is a segment size that means something else to the kernel.
	gsoByFrags = 0xffff
	// maxUDPSegments are the datagrams of one super-datagram since Linux 6.9
	// (UDP_MAX_SEGMENTS; 64 before). It also bounds what one frame can make
	// others do.
	maxUDPSegments = 128
)

// Check returns ErrInvalid unless h is consistent with a frame of n bytes
// whose EtherType is etherType, so that the kernel of a receiving container
// takes it too: header and checksum lie inside the frame, and what is to be
// segmented is of a kind that was negotiated, of the family it says, has whole
// headers, a segment size, and the checksum of its transport to compute.
func (h Header) Check(n int, etherType uint16) error {
	if h.Flags&^(NeedsCsum|DataValid) != 0 || int(h.HdrLen) > n {
		return ErrInvalid
	}
	start, offset := int(h.CsumStart), int(h.CsumOffset)
	if h.Flags&NeedsCsum != 0 &&
		(start < minCsumStart || start > maxCsumStart || start+offset+csumSlot > n) {
		return ErrInvalid
	}
	if h.GSOType == GSONone {
		return nil
	}
	var want uint16 // EtherType
	transport, csum := tcp, tcpCsum
	switch h.GSOType {
	case GSOTCPv4, GSOTCPv4 | GSOECN:
		want = 0x0800
	case GSOTCPv6, GSOTCPv6 | GSOECN:
		want = 0x86dd
	case GSOUDPL4:
		want = etherType // either
		transport, csum = udp, udpCsum
	default:
		return ErrInvalid
	}
	network := ipv6
	if etherType == 0x0800 {
		network = ipv4
	}
	switch {
	case etherType != want || (etherType != 0x0800 && etherType != 0x86dd),
		h.Flags&NeedsCsum == 0,
		h.GSOSize == 0 || h.GSOSize == gsoByFrags,
		start < ethernet+network || start+transport > n || offset != csum,
		h.GSOType == GSOUDPL4 && n-start-transport > int(h.GSOSize)*maxUDPSegments:
		return ErrInvalid
	}
	return nil
}
