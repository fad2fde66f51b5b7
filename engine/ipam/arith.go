package ipam

import (
	"math"
	"net/netip"
)

// Last returns the highest address of p.
func Last(p netip.Prefix) netip.Addr {
	p = p.Masked()
	b := p.Addr().As16()
	host := p.Bits()
	if p.Addr().Is4() {
		host += 96
	}
	for i := host; i < 128; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a := netip.AddrFrom16(b)
	if p.Addr().Is4() {
		return a.Unmap()
	}
	return a
}

// Size returns the number of addresses in p; it saturates at the largest
// uint64, which a /64 and everything shorter exceeds by at least one.
func Size(p netip.Prefix) uint64 {
	host := p.Addr().BitLen() - p.Bits()
	if host >= 64 {
		return math.MaxUint64
	}
	return 1 << host
}

// Contains reports whether inner lies wholly inside outer.
func Contains(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// Overlapping returns the first of taken that shares an address with p.
func Overlapping(p netip.Prefix, taken []netip.Prefix) (netip.Prefix, bool) {
	for _, t := range taken {
		if t.IsValid() && t.Overlaps(p) {
			return t, true
		}
	}
	return netip.Prefix{}, false
}

// nextSubnet returns the subnet of the same size that follows p; false when p is
// the last one of its family.
func nextSubnet(p netip.Prefix) (netip.Prefix, bool) {
	a := Last(p).Next()
	if !a.IsValid() {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, p.Bits()), true
}
