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
// passes as it is. A frame's header comes from the container's kernel, but a
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

// minHeaders are the bytes of Ethernet, IP and TCP or UDP headers that a frame
// must have at least when it is to be segmented.
const (
	ethernet    = 14
	minTCPv4    = ethernet + 20 + 20
	minTCPv6    = ethernet + 40 + 20
	minUDPv4    = ethernet + 20 + 8
	maxCsumSlot = 2
)

// Check returns ErrInvalid unless h is consistent with a frame of n bytes
// whose EtherType is etherType: the checksum lies inside the frame, and what
// is to be segmented is of a kind that was negotiated, of the family it says,
// has a segment size, and a checksum to compute.
func (h Header) Check(n int, etherType uint16) error {
	if h.Flags&^(NeedsCsum|DataValid) != 0 {
		return ErrInvalid
	}
	if h.Flags&NeedsCsum != 0 {
		start := int(h.CsumStart)
		if start < ethernet || start+int(h.CsumOffset)+maxCsumSlot > n {
			return ErrInvalid
		}
	}
	least := 0
	switch h.Kind() {
	case GSONone:
		if h.GSOType != GSONone {
			return ErrInvalid
		}
		return nil
	case GSOTCPv4:
		least = minTCPv4
		if etherType != 0x0800 {
			return ErrInvalid
		}
	case GSOTCPv6:
		least = minTCPv6
		if etherType != 0x86dd {
			return ErrInvalid
		}
	case GSOUDPL4:
		least = minUDPv4
		if h.GSOType != GSOUDPL4 || (etherType != 0x0800 && etherType != 0x86dd) {
			return ErrInvalid
		}
	default:
		return ErrInvalid
	}
	if n < least || h.GSOSize == 0 || h.Flags&NeedsCsum == 0 || int(h.HdrLen) > n {
		return ErrInvalid
	}
	return nil
}
