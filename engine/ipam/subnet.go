package ipam

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
)

// ErrNoSubnet: every subnet of the default pools overlaps something.
var ErrNoSubnet = errors.New("all predefined address pools have been fully subnetted")

// Base is an address range out of which networks without a subnet of their own
// are served, in pieces of Bits length.
type Base struct {
	Prefix netip.Prefix
	Bits   int // prefix length of each piece; at least Prefix.Bits()
}

// DefaultBases are Docker's local default pools: fifteen /16 (172.17 to
// 172.31), then sixteen /20 in 192.168.0.0/16. 172.16 is left out since Docker
// leaves it out: it is the piece of RFC 1918 space that sites use most.
func DefaultBases() []Base {
	var out []Base
	for i := byte(17); i <= 31; i++ {
		out = append(out, Base{netip.PrefixFrom(netip.AddrFrom4([4]byte{172, i}), 16), 16})
	}
	return append(out, Base{netip.MustParsePrefix("192.168.0.0/16"), 20})
}

// NextSubnet returns the first piece of bases that overlaps none of taken. The
// error is ErrNoSubnet when there is none.
func NextSubnet(bases []Base, taken []netip.Prefix) (netip.Prefix, error) {
	for _, b := range bases {
		if b.Bits < b.Prefix.Bits() || b.Bits > b.Prefix.Addr().BitLen() {
			return netip.Prefix{}, fmt.Errorf("address pool %v cannot be cut into /%d", b.Prefix, b.Bits)
		}
		p := netip.PrefixFrom(b.Prefix.Masked().Addr(), b.Bits)
		for ok := true; ok && Contains(b.Prefix, p); p, ok = nextSubnet(p) {
			hit, overlaps := Overlapping(p, taken)
			if !overlaps {
				return p, nil
			}
			// A taken range larger than the piece is stepped over at once:
			// otherwise a /8 pool in /64 pieces would be walked one by one.
			if hit.Bits() < p.Bits() {
				p = netip.PrefixFrom(Last(hit), p.Bits()).Masked()
			}
		}
	}
	return netip.Prefix{}, ErrNoSubnet
}

// RandomULA returns a /64 below a random /48 of fd00::/8 (RFC 4193, section
// 3.2.2) that overlaps none of taken.
func RandomULA(taken []netip.Prefix) (netip.Prefix, error) {
	for range 64 {
		b := [16]byte{0: 0xfd}
		if _, err := rand.Read(b[1:6]); err != nil {
			return netip.Prefix{}, fmt.Errorf("random IPv6 subnet: %w", err)
		}
		p := netip.PrefixFrom(netip.AddrFrom16(b), 64)
		if _, hit := Overlapping(p, taken); !hit {
			return p, nil
		}
	}
	return netip.Prefix{}, ErrNoSubnet
}
