package packet

import (
	"errors"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Addresses of the rows below.
const (
	from6 = `fd000001000000000000000000000002`
	to6   = `20010db8000000000000000000000007`
)

func TestIPHeadersAreRead(t *testing.T) {
	v4 := IP{Src: addr("172.18.0.2"), Dst: addr("198.51.100.7"), Proto: ProtoUDP, TTL: 64, HeaderLen: 20, Len: 28, ID: 1, DontFragment: true}
	v6 := IP{Src: addr("fd00:1::2"), Dst: addr("2001:db8::7"), Proto: ProtoUDP, TTL: 64, HeaderLen: 40, Len: 48, DontFragment: true}
	with := func(ip IP, change func(*IP)) IP { change(&ip); return ip }
	for _, c := range []struct {
		name, packet string
		want         IP
	}{
		{"IPv4", `45 00 001c 0001 4000 40 11 0000 ac120002 c6336407  0001 0002 0008 0000`, v4},
		{"IPv4 with padding", `45 00 001c 0001 4000 40 11 0000 ac120002 c6336407  0001 0002 0008 0000  000000000000`, v4},
		{"IPv4 with options and class", `46 b8 0020 0001 4000 40 11 0000 ac120002 c6336407 01010100  0001 0002 0008 0000`,
			with(v4, func(p *IP) { p.TOS, p.HeaderLen, p.Len = 0xb8, 24, 32 })},
		{"an IPv4 header alone", `45 00 0014 0001 4000 40 11 0000 ac120002 c6336407`,
			with(v4, func(p *IP) { p.Len = 20 })},
		{"first IPv4 fragment", `45 00 001c 0001 2000 40 11 0000 ac120002 c6336407  0001 0002 0010 0000`,
			with(v4, func(p *IP) { p.Fragment, p.More, p.DontFragment = true, true, false })},
		{"last IPv4 fragment", `45 00 001c 0001 0001 40 11 0000 ac120002 c6336407  0102030405060708`,
			with(v4, func(p *IP) { p.Fragment, p.Offset, p.DontFragment = true, 8, false })},
		{"IPv4 that routers may cut", `45 00 001c 0001 0000 40 11 0000 ac120002 c6336407  0001 0002 0008 0000`,
			with(v4, func(p *IP) { p.DontFragment = false })},
		{"IPv6", `6000 0000 0008 11 40 ` + from6 + to6 + `0001 0002 0008 0000`, v6},
		{"IPv6 with a class", `6b80 0000 0008 11 40 ` + from6 + to6 + `0001 0002 0008 0000`,
			with(v6, func(p *IP) { p.TOS = 0xb8 })},
		{"an IPv6 header alone", `6000 0000 0000 3b 40 ` + from6 + to6,
			with(v6, func(p *IP) { p.Proto, p.Len = 59, 40 })},
		{"IPv6 options of hops, destination and route", `6000 0000 0028 00 40 ` + from6 + to6 +
			`3c00 010400000000  2b01 010c000000000000000000000000  1100 0000 00000000  0001 0002 0008 0000`,
			with(v6, func(p *IP) { p.HeaderLen, p.Len, p.SourceRoute = 72, 80, true })},
		{"a loose source route", `48 00 0028 0001 4000 40 11 0000 ac120002 c6336407 01 8307 04 ac120009 00000000  0001 0002 0008 0000`,
			with(v4, func(p *IP) { p.HeaderLen, p.Len, p.SourceRoute = 32, 40, true })},
		{"a strict source route", `47 00 0024 0001 4000 40 11 0000 ac120002 c6336407 8907 04 ac120009 00  0001 0002 0008 0000`,
			with(v4, func(p *IP) { p.HeaderLen, p.Len, p.SourceRoute = 28, 36, true })},
		{"what looks like a route behind the end of options", `47 00 0024 0001 4000 40 11 0000 ac120002 c6336407 008907 04 ac120009  0001 0002 0008 0000`,
			with(v4, func(p *IP) { p.HeaderLen, p.Len = 28, 36 })},
		{"a recorded route", `47 00 0024 0001 4000 40 11 0000 ac120002 c6336407 0707 04 00000000 00  0001 0002 0008 0000`,
			with(v4, func(p *IP) { p.HeaderLen, p.Len = 28, 36 })},
		{"an IPv6 route that has been gone", `6000 0000 0010 2b 40 ` + from6 + to6 + `1100 0200 00000000  0001 0002 0008 0000`,
			with(v6, func(p *IP) { p.HeaderLen, p.Len = 48, 56 })},
		{"an IPv6 route with a segment left", `6000 0000 0010 2b 40 ` + from6 + to6 + `1100 0401 00000000  0001 0002 0008 0000`,
			with(v6, func(p *IP) { p.HeaderLen, p.Len, p.SourceRoute = 48, 56, true })},
		{"an IPv6 route of type 0, gone", `6000 0000 0010 2b 40 ` + from6 + to6 + `1100 0000 00000000  0001 0002 0008 0000`,
			with(v6, func(p *IP) { p.HeaderLen, p.Len, p.SourceRoute = 48, 56, true })},
		{"an atomic IPv6 fragment", `6000 0000 0010 2c 40 ` + from6 + to6 + `1100 0000 00000001  0001 0002 0008 0000`,
			with(v6, func(p *IP) { p.HeaderLen, p.Len, p.ID, p.FragmentAt, p.NextAt = 48, 56, 1, 40, 6 })},
		{"an atomic IPv6 fragment behind options", `6000 0000 0018 3c 40 ` + from6 + to6 + `2c00 010400000000  1100 0000 00000001  0001 0002 0008 0000`,
			with(v6, func(p *IP) { p.HeaderLen, p.Len, p.ID, p.FragmentAt, p.NextAt = 56, 64, 1, 48, 40 })},
		{"first IPv6 fragment", `6000 0000 0010 2c 40 ` + from6 + to6 + `1100 0001 00000001  0001 0002 0010 0000`,
			with(v6, func(p *IP) {
				p.HeaderLen, p.Len, p.Fragment, p.More, p.ID, p.FragmentAt, p.NextAt = 48, 56, true, true, 1, 40, 6
			})},
		{"last IPv6 fragment, whose data look like headers", `6000 0000 0010 2c 40 ` + from6 + to6 + `3c00 0008 00000001  ffff ffff ffff ffff`,
			with(v6, func(p *IP) {
				p.Proto, p.HeaderLen, p.Len, p.Fragment, p.Offset = ProtoDestOpts, 48, 56, true, 8
				p.ID, p.FragmentAt, p.NextAt = 1, 40, 6
			})},
		{"as many IPv6 extension headers as are followed", `6000 0000 0048 3c 40 ` + from6 + to6 +
			strings.Repeat(`3c00 010400000000`, maxExtensionHeaders-1) + `1100 010400000000  0001 0002 0008 0000`,
			with(v6, func(p *IP) { p.HeaderLen, p.Len = 104, 112 })},
	} {
		if got, err := ParseIP(wire(t, c.packet)); err != nil || got != c.want {
			t.Errorf("%s:\n%+v, %v, want\n%+v", c.name, got, err, c.want)
		}
	}
}

func TestMalformedIPIsRefused(t *testing.T) {
	for _, c := range []struct{ name, packet string }{
		{"nothing", ``},
		{"version 5", `55 00 0014 0000 4000 40 11 0000 ac120002 c6336407`},
		{"IPv4 of 19 bytes", `45 00 0014 0000 4000 40 11 0000 ac120002 c63364`},
		{"IPv4 longer than it is", `45 00 0015 0000 4000 40 11 0000 ac120002 c6336407`},
		{"IPv4 shorter than its header", `45 00 0013 0000 4000 40 11 0000 ac120002 c6336407`},
		{"IPv4 of length 0", `45 00 0000 0000 4000 40 11 0000 ac120002 c6336407`},
		{"an IPv4 header of 16 bytes", `44 00 0014 0000 4000 40 11 0000 ac120002 c6336407`},
		{"an IPv4 header longer than the packet", `4f 00 0014 0000 4000 40 11 0000 ac120002 c6336407`},
		{"an IPv4 fragment behind 64 KiB", `45 00 001c 0001 1fff 40 11 0000 ac120002 c6336407  0102030405060708`},
		{"an IPv4 option that leads out", `46 00 0020 0001 4000 40 11 0000 ac120002 c6336407 01018304  0001 0002 0008 0000`},
		{"an IPv4 option of one byte", `46 00 0020 0001 4000 40 11 0000 ac120002 c6336407 07010100  0001 0002 0008 0000`},
		{"an IPv4 option half there", `46 00 0020 0001 4000 40 11 0000 ac120002 c6336407 01010183  0001 0002 0008 0000`},
		{"IPv6 of 39 bytes", (`6000 0000 0000 3b 40 ` + from6 + to6)[:len(`6000 0000 0000 3b 40 `+from6+to6)-2]},
		{"IPv6 longer than it is", `6000 0000 0001 3b 40 ` + from6 + to6},
		{"an extension header behind the end", `6000 0000 0000 3c 40 ` + from6 + to6 + `1100 010400000000`},
		{"an extension header half there", `6000 0000 0007 3c 40 ` + from6 + to6 + `1100 0104000000`},
		{"an extension header that leads out", `6000 0000 0008 3c 40 ` + from6 + to6 + `1101 010400000000`},
		{"an extension header that says 2 KiB", `6000 0000 0008 3c 40 ` + from6 + to6 + `11ff 010400000000`},
		{"a hop-by-hop header that stands second", `6000 0000 0018 3c 40 ` + from6 + to6 + `0000 010400000000  1100 010400000000  0001 0002 0008 0000`},
		{"one IPv6 extension header too many", `6000 0000 0050 3c 40 ` + from6 + to6 +
			strings.Repeat(`3c00 010400000000`, maxExtensionHeaders) + `1100 010400000000  0001 0002 0008 0000`},
		{"a fragment header that takes back the first", `6000 0000 0018 2c 40 ` + from6 + to6 +
			`2c00 0001 00000001  1100 0000 00000002  0001 0002 0008 0000`},
		{"an IPv6 fragment behind 64 KiB", `6000 0000 0011 2c 40 ` + from6 + to6 + `1100 fff8 00000001  0102030405060708 09`},
		{"a jumbogram", `6000 0000 0000 00 40 ` + from6 + to6 + `1100 c204 00010000`},
	} {
		if ip, err := ParseIP(wire(t, c.packet)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", c.name, ip, err)
		}
	}
}

// Cut at any byte, a packet is malformed: no parser looks behind its slice.
func TestTruncatedIPIsRefusedAtEveryByte(t *testing.T) {
	for _, s := range []string{
		`46 b8 0020 0001 4000 40 11 0000 ac120002 c6336407 01010100  0001 0002 0008 0000`,
		`6000 0000 0020 00 40 ` + from6 + to6 + `2c00 010400000000  3c00 0000 00000001  1100 010400000000  0001 0002 0008 0000`,
	} {
		b := wire(t, s)
		if _, err := ParseIP(b); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		for n := range b {
			if ip, err := ParseIP(b[:n:n]); err == nil {
				t.Errorf("%d bytes of %d are %+v", n, len(b), ip)
			}
		}
	}
}

func TestIPHeadersAreWrittenAsGVisorReadsThem(t *testing.T) {
	b := make([]byte, 28)
	PutIPv4(b, addr("172.18.0.2"), addr("198.51.100.7"), ProtoUDP, 63, len(b))
	h := header.IPv4(b)
	if !h.IsValid(len(b)) || !h.IsChecksumValid() || h.TTL() != 63 || h.Protocol() != ProtoUDP ||
		h.SourceAddress().String() != "172.18.0.2" || h.DestinationAddress().String() != "198.51.100.7" ||
		h.Flags() != header.IPv4FlagDontFragment || h.ID() != 0 || h.FragmentOffset() != 0 {
		t.Errorf("IPv4 header %x", b)
	}
	if ip, err := ParseIP(b); err != nil || !HeaderValid(b, &ip) {
		t.Errorf("%+v, %v, or a wrong checksum", ip, err)
	}
	b = make([]byte, 48)
	PutIPv6(b, addr("fd00:1::2"), addr("2001:db8::7"), ProtoUDP, 63, 8)
	h6 := header.IPv6(b)
	next, ok := h6.TryParseTransportProtocol()
	if !h6.IsValid(len(b)) || h6.HopLimit() != 63 || !ok || next != ProtoUDP || h6.PayloadLength() != 8 ||
		h6.SourceAddress().String() != "fd00:1::2" || h6.DestinationAddress().String() != "2001:db8::7" {
		t.Errorf("IPv6 header %x", b)
	}
}

func TestAWrongHeaderChecksumIsSeen(t *testing.T) {
	b := make([]byte, 20)
	PutIPv4(b, addr("172.18.0.2"), addr("198.51.100.7"), ProtoUDP, 64, len(b))
	for i := range b[1:] { // the first byte is the length of what is summed
		i++
		for bit := range 8 {
			b[i] ^= 1 << bit
			ip := IP{Src: addr("172.18.0.2"), HeaderLen: 20}
			if HeaderValid(b, &ip) {
				t.Errorf("bit %d of byte %d does not matter", bit, i)
			}
			b[i] ^= 1 << bit
		}
	}
}

func FuzzParseIP(f *testing.F) {
	for _, s := range []string{
		`45 00 001c 0001 4000 40 11 0000 ac120002 c6336407  0001 0002 0008 0000`,
		`46 b8 0020 0001 2000 40 06 0000 ac120002 c6336407 01010100  0001 0002 0008 0000`,
		`6000 0000 0008 11 40 ` + from6 + to6 + `0001 0002 0008 0000`,
		`6000 0000 0028 00 40 ` + from6 + to6 + `2b00 010400000000  2c00 0000 00000000  3c00 0001 00000000  1100 010400000000 0001 0002 0008 0000`,
		`6000 0000 0010 2c 40 ` + from6 + to6 + `3c00 0008 00000001  ffff ffff ffff ffff`,
	} {
		f.Add(wire(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ip, err := ParseIP(b)
		v4 := len(b) > 0 && b[0]>>4 == 4
		theirs := header.IPv4(b).IsValid(len(b)) || header.IPv6(b).IsValid(len(b))
		if err != nil {
			if !errors.Is(err, ErrMalformed) || ip != (IP{}) {
				t.Fatalf("%+v, %v", ip, err)
			}
			// IPv4 has no other reason than lengths and options.
			if theirs && v4 && header.IPv4(b).HeaderLength() == IPv4Len && int(header.IPv4(b).FragmentOffset())+int(header.IPv4(b).TotalLength()) <= maxIP {
				t.Fatal("gVisor takes it")
			}
			return
		}
		least := IPv6Len
		if v4 {
			least = IPv4Len
		}
		switch {
		case !theirs:
			t.Fatalf("%+v: gVisor does not take it", ip)
		case ip.HeaderLen < least || ip.HeaderLen > ip.Len || ip.Len > len(b):
			t.Fatalf("%+v of %d bytes", ip, len(b))
		case ip.Src.Is4() != v4 || ip.Dst.Is4() != v4:
			t.Fatalf("%+v in version %d", ip, b[0]>>4)
		case ip.Fragment != (ip.More || ip.Offset != 0) || ip.IsFirst() != (ip.Offset == 0) || ip.Offset%8 != 0:
			t.Fatalf("%+v is a contradiction", ip)
		case ip.Fragment && !v4 && (ip.FragmentAt < IPv6Len || ip.NextAt < 6 || b[ip.NextAt] != ProtoFragment || ip.FragmentAt+FragmentHeaderLen > ip.HeaderLen):
			t.Fatalf("%+v: no fragment header at %d", ip, ip.FragmentAt)
		case ip.Offset+ip.Len-ip.HeaderLen > maxIP:
			t.Fatalf("%+v is a part of more than 64 KiB", ip)
		}
		HeaderValid(b, &ip)
		TransportValid(b, &ip)
		MayAnswer(b, &ip)
		if again, err := ParseIP(b[:ip.Len:ip.Len]); err != nil || again != ip {
			t.Fatalf("without padding %+v, %v; with it %+v", again, err, ip)
		}
		if v4 {
			h := header.IPv4(b)
			if h.FragmentOffset() != uint16(ip.Offset) || h.More() != ip.More || h.TTL() != ip.TTL || h.Flags()&header.IPv4FlagDontFragment != 0 != ip.DontFragment || h.SourceAddress() != gvisor(ip.Src) {
				t.Fatalf("%+v; gVisor reads %v", ip, h)
			}
			return
		}
		compareExtensions(t, b[:ip.Len], &ip)
	})
}

// compareExtensions walks through the extension headers of a packet with
// gVisor's iterator, which also refuses contents that we do not look at.
func compareExtensions(t *testing.T, b []byte, ip *IP) {
	h := header.IPv6(b)
	it := header.MakeIPv6PayloadIterator(header.IPv6ExtensionHeaderIdentifier(h.NextHeader()), buffer.MakeWithData(b[IPv6Len:]))
	defer it.Release()
	for {
		next, done, err := it.Next()
		if err != nil {
			return
		}
		if done { // "no next header" is a header to us
			if ip.Proto != uint8(header.IPv6NoNextHeaderIdentifier) {
				t.Fatalf("%+v; gVisor finds no transport", ip)
			}
			return
		}
		switch next := next.(type) {
		case header.IPv6FragmentExtHdr:
			if int(next.FragmentOffset())*8 != ip.Offset || next.More() != ip.More {
				t.Fatalf("%+v; gVisor reads %+v", ip, next)
			}
		case header.IPv6RawPayloadHeader:
			if uint8(next.Identifier) != ip.Proto || int(next.Buf.Size()) != ip.Len-ip.HeaderLen {
				t.Fatalf("%+v; gVisor finds %d bytes of protocol %d", ip, next.Buf.Size(), next.Identifier)
			}
			next.Release()
			return
		case header.IPv6ExperimentExtHdr:
			next.Release()
			return
		default:
			next.Release()
		}
	}
}
