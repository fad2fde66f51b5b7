package packet

import (
	"math/rand/v2"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// RFC 1071, section 3.
func TestTheExampleOfRFC1071(t *testing.T) {
	if got := Sum(wire(t, `00 01 f2 03 f4 f5 f6 f7`), 0); got != 0xddf2 {
		t.Errorf("%#x, want 0xddf2", got)
	}
	if got := Sum([]byte{0x12}, 0); got != 0x1200 {
		t.Errorf("an odd byte is padded at its right: %#x, want 0x1200", got)
	}
}

func TestThePseudoHeaderIsGVisors(t *testing.T) {
	for _, c := range []struct{ src, dst string }{
		{"172.18.0.2", "198.51.100.7"}, {"255.255.255.255", "255.255.255.255"},
		{"fd00:1::2", "2001:db8::7"}, {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::"},
	} {
		for _, n := range []int{0, 8, 1480, 65535} {
			got := PseudoSum(addr(c.src), addr(c.dst), ProtoTCP, n)
			want := header.PseudoHeaderChecksum(tcpip.TransportProtocolNumber(ProtoTCP), gvisor(addr(c.src)), gvisor(addr(c.dst)), uint16(n))
			// Both are ones' complement sums, whose zero has two forms.
			if got != want && got%0xffff != want%0xffff {
				t.Errorf("%s -> %s, %d bytes: %#x, gVisor has %#x", c.src, c.dst, n, got, want)
			}
		}
	}
}

// Every message with a right checksum is valid, and with any bit turned not.
func TestTransportChecksumsAreVerified(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		src, dst string
		proto    uint8
		at       int // the checksum in the message
	}{
		{"172.18.0.2", "198.51.100.7", ProtoICMP, 2}, {"172.18.0.2", "198.51.100.7", ProtoTCP, 16},
		{"fd00:1::2", "2001:db8::7", ProtoICMPv6, 2}, {"fd00:1::2", "2001:db8::7", ProtoTCP, 16},
	} {
		for n := 20; n < 40; n++ {
			m := make([]byte, n)
			for i := range m {
				m[i] = byte(r.Uint32())
			}
			ip := IP{Src: addr(c.src), Dst: addr(c.dst), Proto: c.proto, Len: n}
			m[c.at], m[c.at+1] = 0, 0
			initial := uint16(0)
			if c.proto != ProtoICMP {
				initial = PseudoSum(ip.Src, ip.Dst, c.proto, n)
			}
			sum := ^Sum(m, initial)
			m[c.at], m[c.at+1] = byte(sum>>8), byte(sum)
			if !TransportValid(m, &ip) {
				t.Fatalf("protocol %d, %d bytes: a right checksum is wrong", c.proto, n)
			}
			i := r.IntN(n)
			m[i] ^= 1 << r.IntN(8)
			if TransportValid(m, &ip) {
				t.Fatalf("protocol %d, %d bytes: byte %d does not matter", c.proto, n, i)
			}
			ip.Fragment = true
			if !TransportValid(m, &ip) {
				t.Fatal("a fragment, which nobody can verify, is invalid")
			}
		}
	}
}

// Nothing but its own version's ICMP has ICMP's checksum.
func TestOtherProtocolsAreNotJudged(t *testing.T) {
	v4 := IP{Src: addr("172.18.0.2"), Dst: addr("198.51.100.7"), Len: 8}
	v6 := IP{Src: addr("fd00:1::2"), Dst: addr("2001:db8::7"), Len: 8}
	for _, p := range []uint8{2, 47, 132, ProtoICMPv6} {
		v4.Proto = p
		if !TransportValid(make([]byte, 8), &v4) {
			t.Errorf("protocol %d in IPv4", p)
		}
	}
	for _, p := range []uint8{47, 59, 132, ProtoICMP} {
		v6.Proto = p
		if !TransportValid(make([]byte, 8), &v6) {
			t.Errorf("protocol %d in IPv6", p)
		}
	}
}
