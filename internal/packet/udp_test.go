package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

func TestDatagramsAreRead(t *testing.T) {
	ip := IP{Src: addr("172.18.0.2"), Dst: addr("198.51.100.7"), Proto: ProtoUDP}
	src, dst, payload, err := ParseUDP(wire(t, `03e8 0035 000b 0000 616263  ffff`), &ip)
	if err != nil || src != netip.MustParseAddrPort("172.18.0.2:1000") || dst != netip.MustParseAddrPort("198.51.100.7:53") ||
		string(payload) != "abc" {
		t.Errorf("%s -> %s %q, %v", src, dst, payload, err)
	}
	if _, _, payload, err = ParseUDP(wire(t, `03e8 0035 0008 0000`), &ip); err != nil || len(payload) != 0 {
		t.Errorf("an empty datagram: %q, %v", payload, err)
	}
	for name, s := range map[string]string{
		"nothing":              ``,
		"seven bytes":          `03e8 0035 0008 00`,
		"length 0":             `03e8 0035 0000 0000`,
		"length 7":             `03e8 0035 0007 0000`,
		"longer than it is":    `03e8 0035 0009 0000`,
		"64 KiB in four bytes": `03e8 0035 ffff 0000 61626364`,
	} {
		if src, _, _, err := ParseUDP(wire(t, s), &ip); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: from %s, %v", name, src, err)
		}
	}
}

// finish does what a kernel does with NEEDS_CSUM (RFC 768: 0 is sent as
// ffff).
func finish(u []byte) {
	sum := ^Sum(u, 0)
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(u[6:8], sum)
}

func TestDatagramsAreWrittenForTheKernelToFinish(t *testing.T) {
	for _, c := range []struct{ src, dst string }{
		{"198.51.100.7:53", "172.18.0.2:1000"}, {"[2001:db8::7]:53", "[fd00:1::2]:1000"},
	} {
		src, dst := netip.MustParseAddrPort(c.src), netip.MustParseAddrPort(c.dst)
		for _, payload := range []string{"", "a", "ab", "0123456789abcdef"} {
			b := make([]byte, UDPHeaderLen(dst.Addr()), 128)
			n := PutUDPPartial(b, MAC{1}, MAC{2}, src, dst, len(payload))
			if n != len(b) {
				t.Fatalf("%s: headers of %d bytes, room for %d", c.src, n, len(b))
			}
			b = append(b, payload...)
			finish(b[n-UDPLen:])
			body := b[EthernetLen:]
			ip, err := ParseIP(body)
			if err != nil || ip.Len != len(body) || ip.TTL != 64 || !HeaderValid(body, &ip) || !TransportValid(body, &ip) {
				t.Errorf("%s %q: %+v, %v, or a wrong checksum", c.src, payload, ip, err)
				continue
			}
			gotSrc, gotDst, got, err := ParseUDP(body[ip.HeaderLen:ip.Len], &ip)
			if err != nil || gotSrc != src || gotDst != dst || string(got) != payload {
				t.Errorf("%s -> %s %q, %v", gotSrc, gotDst, got, err)
			}
		}
	}
}

func TestTheLargestDatagramsFit(t *testing.T) {
	for _, c := range []struct {
		src, dst string
		most     int
	}{{"198.51.100.7:53", "172.18.0.2:1000", 65507}, {"[2001:db8::7]:53", "[fd00:1::2]:1000", 65527}} {
		b := make([]byte, 100+c.most)
		n := PutUDPPartial(b, MAC{1}, MAC{2}, netip.MustParseAddrPort(c.src), netip.MustParseAddrPort(c.dst), c.most)
		body := b[EthernetLen : n+c.most]
		ip, err := ParseIP(body)
		if err != nil || ip.Len != len(body) {
			t.Errorf("%s: %+v, %v", c.src, ip, err)
		}
		if _, _, got, err := ParseUDP(body[ip.HeaderLen:ip.Len], &ip); err != nil || len(got) != c.most {
			t.Errorf("%s: %d bytes of %d, %v", c.src, len(got), c.most, err)
		}
	}
}

// packets of UDP whose checksums are right, apart from where it is said.
func TestUDPChecksumsAreVerified(t *testing.T) {
	v4 := IP{Src: addr("172.18.0.2"), Dst: addr("198.51.100.7"), Proto: ProtoUDP}
	v6 := IP{Src: addr("fd00:1::2"), Dst: addr("2001:db8::7"), Proto: ProtoUDP}
	for _, c := range []struct {
		name string
		ip   IP
		udp  string
		want bool
	}{
		{"IPv4", v4, `03e8 0035 000b 6109 616263`, true},
		{"IPv4, wrong", v4, `03e8 0035 000b 610a 616263`, false},
		{"IPv4 without a checksum", v4, `03e8 0035 000b 0000 616263`, true},
		{"IPv6 without a checksum", v6, `03e8 0035 000b 0000 616263`, false},
		{"shorter than the packet: what follows is not summed", v4, `03e8 0035 000b 6109 616263 123456`, true},
		{"longer than the packet", v4, `03e8 0035 000c 6109 616263`, false},
		{"of no length", v4, `03e8 0035 0000 6109 616263`, false},
		{"longer than the packet, without a checksum", v4, `03e8 0035 000c 0000 616263`, false},
		{"half a header", v4, `03e8 0035 000b`, false},
	} {
		b := wire(t, c.udp)
		c.ip.Len = len(b)
		if got := TransportValid(b, &c.ip); got != c.want {
			t.Errorf("%s: valid is %t", c.name, got)
		}
	}
}

func FuzzParseUDP(f *testing.F) {
	f.Add(wire(f, `03e8 0035 000b 6109 616263`), false)
	f.Add(wire(f, `03e8 0035 000b 6109 616263 ffff`), true)
	f.Add(wire(f, `03e8 0035 0008 0000`), true)
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		ip := IP{Src: addr("172.18.0.2"), Dst: addr("198.51.100.7"), Proto: ProtoUDP, Len: len(b)}
		if v6 {
			ip.Src, ip.Dst = addr("fd00:1::2"), addr("2001:db8::7")
		}
		src, dst, payload, err := ParseUDP(b, &ip)
		valid := TransportValid(b, &ip)
		if err != nil {
			if valid {
				t.Fatalf("valid, but %v", err)
			}
			return
		}
		h := header.UDP(b)
		if len(payload) != int(h.Length())-UDPLen || src.Port() != h.SourcePort() || dst.Port() != h.DestinationPort() ||
			src.Addr() != ip.Src || dst.Addr() != ip.Dst || !bytes.Equal(payload, h[UDPLen:h.Length()]) {
			t.Fatalf("%s -> %s %x; gVisor reads %v", src, dst, payload, h)
		}
		theirs := h.IsChecksumValid(gvisor(ip.Src), gvisor(ip.Dst), checksum.Checksum(payload, 0))
		if h.Checksum() == 0 {
			theirs = !v6
		}
		if valid != theirs {
			t.Fatalf("valid is %t; gVisor says %t", valid, theirs)
		}
	})
}
