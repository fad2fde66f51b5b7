package ipam

import (
	"math"
	"math/big"
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

// span counts the addresses from low to high, both included: up to 1<<128.
func span(low, high netip.Addr) *big.Int {
	a, b := low.As16(), high.As16()
	n := new(big.Int).Sub(new(big.Int).SetBytes(b[:]), new(big.Int).SetBytes(a[:]))
	return n.Add(n, big.NewInt(1))
}

// saturate is n, or the largest uint64.
func saturate(n *big.Int) uint64 {
	if !n.IsUint64() {
		return math.MaxUint64
	}
	return n.Uint64()
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
