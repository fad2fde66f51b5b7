package vnet

import (
	"encoding/binary"
	"errors"
	"testing"
)

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd
)

func TestTheHeaderIsLittleEndian(t *testing.T) {
	b := [Len]byte{NeedsCsum, GSOTCPv4 | GSOECN, 54, 0, 0xb4, 0x05, 34, 0, 16, 0}
	want := Header{Flags: NeedsCsum, GSOType: GSOTCPv4 | GSOECN, HdrLen: 54, GSOSize: 1460, CsumStart: 34, CsumOffset: 16}
	h := Decode(&b)
	if h != want || h.Kind() != GSOTCPv4 {
		t.Errorf("%+v of kind %d, want %+v", h, h.Kind(), want)
	}
	var back [Len]byte
	if h.Encode(&back); back != b {
		t.Errorf("%x, want %x", back, b)
	}
}

// Headers as a container's kernel writes them.
func TestHeadersOfTheKernelAreTaken(t *testing.T) {
	for name, c := range map[string]struct {
		h         Header
		n         int
		etherType uint16
	}{
		"a complete frame":                 {Header{}, 60, etherARP},
		"a frame whose checksum was right": {Header{Flags: DataValid}, 60, etherIPv4},
		"UDP to be summed":                 {Header{Flags: NeedsCsum, CsumStart: 34, CsumOffset: 6}, 42, etherIPv4},
		"TCP to be summed":                 {Header{Flags: NeedsCsum, CsumStart: 54, CsumOffset: 16}, 74, etherIPv6},
		"TCP over IPv4":                    {Header{Flags: NeedsCsum, GSOType: GSOTCPv4, HdrLen: 66, GSOSize: 1448, CsumStart: 34, CsumOffset: 16}, 65226, etherIPv4},
		"with congestion told":             {Header{Flags: NeedsCsum, GSOType: GSOTCPv4 | GSOECN, HdrLen: 66, GSOSize: 1448, CsumStart: 34, CsumOffset: 16}, 65226, etherIPv4},
		"behind 40 bytes of IPv4 options":  {Header{Flags: NeedsCsum, GSOType: GSOTCPv4, HdrLen: 94, GSOSize: 1408, CsumStart: 74, CsumOffset: 16}, 65226, etherIPv4},
		"TCP over IPv6":                    {Header{Flags: NeedsCsum, GSOType: GSOTCPv6, HdrLen: 86, GSOSize: 1428, CsumStart: 54, CsumOffset: 16}, 65246, etherIPv6},
		"with congestion told, over IPv6":  {Header{Flags: NeedsCsum, GSOType: GSOTCPv6 | GSOECN, HdrLen: 86, GSOSize: 1428, CsumStart: 54, CsumOffset: 16}, 65246, etherIPv6},
		"datagrams over IPv4":              {Header{Flags: NeedsCsum, GSOType: GSOUDPL4, HdrLen: 42, GSOSize: 1400, CsumStart: 34, CsumOffset: 6}, 14042, etherIPv4},
		"datagrams over IPv6":              {Header{Flags: NeedsCsum, GSOType: GSOUDPL4, HdrLen: 62, GSOSize: 1400, CsumStart: 54, CsumOffset: 6}, 14062, etherIPv6},
		"the most datagrams there may be":  {Header{Flags: NeedsCsum, GSOType: GSOUDPL4, HdrLen: 42, GSOSize: 10, CsumStart: 34, CsumOffset: 6}, 42 + 1280, etherIPv4},
	} {
		if err := c.h.Check(c.n, c.etherType); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLyingHeadersAreRefused(t *testing.T) {
	tcp := Header{Flags: NeedsCsum, GSOType: GSOTCPv4, HdrLen: 54, GSOSize: 1448, CsumStart: 34, CsumOffset: 16}
	udp := Header{Flags: NeedsCsum, GSOType: GSOUDPL4, HdrLen: 42, GSOSize: 1400, CsumStart: 34, CsumOffset: 6}
	csum := Header{Flags: NeedsCsum, CsumStart: 34, CsumOffset: 6}
	with := func(h Header, change func(*Header)) Header { change(&h); return h }
	for name, c := range map[string]struct {
		h         Header
		n         int
		etherType uint16
	}{
		"a flag of others":                      {Header{Flags: 4}, 60, etherIPv4},
		"all flags":                             {Header{Flags: 0xff}, 60, etherIPv4},
		"headers longer than the frame":         {Header{HdrLen: 61}, 60, etherIPv4},
		"a checksum behind the frame":           {csum, 41, etherIPv4},
		"a checksum half behind the frame":      {with(csum, func(h *Header) { h.CsumOffset = 25 }), 60, etherIPv4},
		"a checksum far behind the frame":       {with(csum, func(h *Header) { h.CsumStart, h.CsumOffset = 0xffff, 0xffff }), 60, etherIPv4},
		"a checksum of the Ethernet header":     {with(csum, func(h *Header) { h.CsumStart = 13 }), 60, etherIPv4},
		"a checksum of less than an IP header":  {with(csum, func(h *Header) { h.CsumStart = 19 }), 60, etherIPv4},
		"a checksum behind any headers":         {with(csum, func(h *Header) { h.CsumStart = 0xfff0 }), 65536, etherIPv4},
		"ECN alone":                             {with(tcp, func(h *Header) { h.GSOType = GSOECN }), 3000, etherIPv4},
		"a kind that nobody has":                {with(tcp, func(h *Header) { h.GSOType = 2 }), 3000, etherIPv4},
		"a tunnel":                              {with(tcp, func(h *Header) { h.GSOType |= 0x20 }), 3000, etherIPv4},
		"UDP fragments, which nobody asked for": {with(udp, func(h *Header) { h.GSOType = GSOUDP }), 3000, etherIPv4},
		"segments of no size":                   {with(tcp, func(h *Header) { h.GSOSize = 0 }), 3000, etherIPv4},
		"segments of a size with a meaning":     {with(tcp, func(h *Header) { h.GSOSize = 0xffff }), 3000, etherIPv4},
		"segments without a checksum to make":   {with(tcp, func(h *Header) { h.Flags = 0 }), 3000, etherIPv4},
		"segments whose checksum is made":       {with(tcp, func(h *Header) { h.Flags = DataValid }), 3000, etherIPv4},
		"TCP over IPv4 in IPv6":                 {tcp, 3000, etherIPv6},
		"TCP over IPv4 in ARP":                  {tcp, 3000, etherARP},
		"TCP over IPv6 in IPv4":                 {with(tcp, func(h *Header) { h.GSOType = GSOTCPv6 }), 3000, etherIPv4},
		"datagrams in ARP":                      {udp, 3000, etherARP},
		"datagrams with congestion told":        {with(udp, func(h *Header) { h.GSOType |= GSOECN }), 3000, etherIPv4},
		"TCP with UDP's checksum":               {with(tcp, func(h *Header) { h.CsumOffset = 6 }), 3000, etherIPv4},
		"datagrams with TCP's checksum":         {with(udp, func(h *Header) { h.CsumOffset = 16 }), 3000, etherIPv4},
		"TCP inside the IPv4 header":            {with(tcp, func(h *Header) { h.CsumStart = 33 }), 3000, etherIPv4},
		"TCP inside the IPv6 header":            {with(tcp, func(h *Header) { h.GSOType, h.CsumStart = GSOTCPv6, 53 }), 3000, etherIPv6},
		"datagrams inside the IPv6 header":      {udp, 3000, etherIPv6},
		"TCP without its whole header":          {with(tcp, func(h *Header) { h.HdrLen = 0 }), 53, etherIPv4},
		"UDP without its whole header":          {with(udp, func(h *Header) { h.HdrLen = 0 }), 41, etherIPv4},
		"one datagram too many":                 {with(udp, func(h *Header) { h.GSOSize = 10 }), 42 + 1281, etherIPv4},
		"a datagram for each byte":              {with(udp, func(h *Header) { h.GSOSize = 1 }), 65535, etherIPv4},
	} {
		if err := c.h.Check(c.n, c.etherType); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// kernelTakes says whether the kernel would take a frame of n bytes with the
// header h: the conditions of tun_get_user and virtio_net_hdr_to_skb in their
// order, with the kernel's own names.
func kernelTakes(h Header, n int) bool {
	const headroom = 256 // the most that a buffer of tun has before the frame
	hdrLen := int(h.HdrLen)
	if h.Flags&NeedsCsum != 0 {
		hdrLen = max(hdrLen, int(h.CsumStart)+int(h.CsumOffset)+2)
	}
	if hdrLen > n || n < 14 {
		return false
	}
	nhMinLen, thlen := 20, 0
	if h.GSOType != GSONone {
		switch h.GSOType &^ GSOECN {
		case GSOTCPv4:
			thlen = 20
		case GSOTCPv6:
			thlen, nhMinLen = 20, 40
		case GSOUDPL4:
			thlen = 8
		default:
			return false
		}
		if h.GSOSize == 0 {
			return false
		}
	}
	pOff := 0
	if h.Flags&NeedsCsum != 0 {
		start, off := int(h.CsumStart), int(h.CsumOffset)
		switch {
		case start+max(thlen, off+2) > n,
			headroom+start >= 0xffff, // skb_partial_csum_set
			start < nhMinLen,
			start+thlen > n:
			return false
		}
		pOff = start + thlen
	} else if h.GSOType != GSONone {
		return false // it would have to guess where the transport begins
	}
	if h.GSOType != GSONone {
		switch h.GSOType &^ GSOECN {
		case GSOUDPL4:
			if h.CsumOffset != 6 || n-pOff > int(h.GSOSize)*128 || h.GSOType&GSOECN != 0 {
				return false
			}
		default:
			if h.CsumOffset != 16 {
				return false
			}
		}
		return h.GSOSize != 0xffff
	}
	return true
}

func FuzzCheckHeader(f *testing.F) {
	for _, h := range []Header{
		{},
		{Flags: NeedsCsum, CsumStart: 34, CsumOffset: 6},
		{Flags: NeedsCsum, GSOType: GSOTCPv4, HdrLen: 66, GSOSize: 1448, CsumStart: 34, CsumOffset: 16},
		{Flags: NeedsCsum, GSOType: GSOTCPv6 | GSOECN, HdrLen: 86, GSOSize: 1428, CsumStart: 54, CsumOffset: 16},
		{Flags: NeedsCsum, GSOType: GSOUDPL4, HdrLen: 42, GSOSize: 100, CsumStart: 34, CsumOffset: 6},
	} {
		var b [Len]byte
		h.Encode(&b)
		f.Add(b[:], uint16(3000), uint16(etherIPv4))
		f.Add(b[:], uint16(100), uint16(etherIPv6))
	}
	f.Fuzz(func(t *testing.T, b []byte, n, etherType uint16) {
		if len(b) < Len || n < ethernet {
			return
		}
		h := Decode((*[Len]byte)(b))
		var back [Len]byte
		if h.Encode(&back); back != [Len]byte(b) {
			t.Fatalf("%x was read and written as %x", b[:Len], back)
		}
		if h.Check(int(n), etherType) != nil {
			return
		}
		if !kernelTakes(h, int(n)) {
			t.Fatalf("%+v for %d bytes: the kernel would not take it", h, n)
		}
		if h.Kind() == GSOUDPL4 && int(n)-int(h.CsumStart)-8 > maxUDPSegments*int(h.GSOSize) {
			t.Fatalf("%+v for %d bytes: more than %d datagrams", h, n, maxUDPSegments)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	var hdr [Len]byte
	Header{Flags: NeedsCsum, GSOType: GSOTCPv4, HdrLen: 66, GSOSize: 1448, CsumStart: 34, CsumOffset: 16}.Encode(&hdr)
	b.ReportAllocs()
	for b.Loop() {
		if Decode(&hdr).Check(65226, binary.BigEndian.Uint16([]byte{8, 0})) != nil {
			b.Fatal("refused")
		}
	}
}
