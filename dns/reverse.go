package dns

import (
	"net/netip"
	"strings"
)

const (
	arpa4 = ".in-addr.arpa"
	arpa6 = ".ip6.arpa"
)

// parseArpa returns the address that a lower-case name of the reverse tree
// stands for. ok is false for the tree's inner nodes and for any other name.
func parseArpa(name string) (addr netip.Addr, ok bool) {
	if rest, is4 := strings.CutSuffix(name, arpa4); is4 {
		a, err := netip.ParseAddr(rest)
		if err != nil || !a.Is4() {
			return netip.Addr{}, false
		}
		b := a.As4()
		return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}), true
	}
	rest, is6 := strings.CutSuffix(name, arpa6)
	if !is6 || len(rest) != 63 { // 32 nibbles and the dots between them
		return netip.Addr{}, false
	}
	var b [16]byte
	for i := range 32 {
		c := rest[62-2*i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		default:
			return netip.Addr{}, false
		}
		if i > 0 && rest[63-2*i] != '.' {
			return netip.Addr{}, false
		}
		b[i/2] = b[i/2]<<4 | c
	}
	return netip.AddrFrom16(b), true
}
