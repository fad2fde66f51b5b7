package vnet

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// Cut does what the header leaves to be done, for devices without virtio headers: it gives
// emit the frames that come of one, complete with their checksums. A buffer is emit's only
// until it returns; frame is changed. It stops at emit's first error.
//
//	h, frame --Check--> one frame: checksum          --> emit
//	                    many: headers + n-th piece   --> emit, emit, ...
//
// It returns ErrInvalid for a header that Check refuses, and for headers before the
// checksum's beginning that are not those of IP.
func (h Header) Cut(frame []byte, emit func([]byte) error) error {
	if len(frame) < ethernet {
		return ErrInvalid
	}
	etherType := binary.BigEndian.Uint16(frame[12:])
	if err := h.Check(len(frame), etherType); err != nil {
		return err
	}
	start := int(h.CsumStart)
	if h.GSOType == GSONone {
		if h.Flags&NeedsCsum != 0 {
			h.sum(frame)
		}
		return emit(frame)
	}
	header := start + udp
	if h.Kind() != GSOUDPL4 {
		if header = start + int(frame[start+12]>>4)*4; header < start+tcp || header > len(frame) {
			return ErrInvalid
		}
	}
	c := cutter{h: h, v4: etherType == 0x0800, start: start, header: header}
	rest := frame[header:]
	b := make([]byte, header, header+min(len(rest), int(h.GSOSize)))
	for done := 0; done == 0 || len(rest) > 0; done++ {
		n := min(len(rest), int(h.GSOSize))
		b = append(b[:0], frame[:header]...)
		b = append(b, rest[:n]...)
		rest = rest[n:]
		c.adjust(b, done, len(rest) == 0)
		if err := emit(b); err != nil {
			return err
		}
	}
	return nil
}

// sum puts the checksum where the header says, over what is there: a part of it, the pseudo
// header's.
func (h Header) sum(frame []byte) {
	start, at := int(h.CsumStart), int(h.CsumStart)+int(h.CsumOffset)
	s := ^checksum.Checksum(frame[start:], 0)
	if s == 0 && int(h.CsumOffset) == udpCsum {
		s = 0xffff // 0 means that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(frame[at:], s)
}

// cutter makes segments of one super-segment.
type cutter struct {
	h             Header
	v4            bool
	start, header int // where the transport header begins, and where the payload does
}

// adjust makes headers copied from the super-segment those of segment number n.
func (c *cutter) adjust(b []byte, n int, last bool) {
	const fin, psh, cwr = 0x01, 0x08, 0x80
	if c.v4 {
		binary.BigEndian.PutUint16(b[ethernet+2:], uint16(len(b)-ethernet))
		id := binary.BigEndian.Uint16(b[ethernet+4:])
		binary.BigEndian.PutUint16(b[ethernet+4:], id+uint16(n))
		b[ethernet+10], b[ethernet+11] = 0, 0
		ip := b[ethernet:min(ethernet+int(b[ethernet]&15)*4, c.start)]
		binary.BigEndian.PutUint16(b[ethernet+10:], ^checksum.Checksum(ip, 0))
	} else {
		binary.BigEndian.PutUint16(b[ethernet+4:], uint16(len(b)-ethernet-ipv6))
	}
	t := b[c.start:]
	if c.h.Kind() == GSOUDPL4 {
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	} else {
		seq := binary.BigEndian.Uint32(t[4:])
		binary.BigEndian.PutUint32(t[4:], seq+uint32(n)*uint32(c.h.GSOSize))
		if !last {
			t[13] &^= fin | psh
		}
		if n > 0 {
			t[13] &^= cwr
		}
	}
	// The pseudo header's length is this segment's now.
	binary.BigEndian.PutUint16(t[c.h.CsumOffset:], c.pseudo(b, len(t)))
	c.h.sum(b)
}

// pseudo is the pseudo header's sum (RFC 9293 3.1, RFC 8200 8.1).
func (c *cutter) pseudo(b []byte, length int) uint16 {
	proto := uint16(6)
	if c.h.Kind() == GSOUDPL4 {
		proto = 17
	}
	first, last := ethernet+8, ethernet+ipv6
	if c.v4 {
		first, last = ethernet+12, ethernet+ipv4
	}
	return checksum.Checksum(b[first:last], checksum.Combine(proto, uint16(length)))
}
