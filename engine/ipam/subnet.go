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

// Check says what is wrong with a base.
func (b Base) Check() error {
	p := b.Prefix
	switch {
	case !p.IsValid() || p.Addr().Is4In6():
		return fmt.Errorf("the base %v is not an address with a length", p)
	case p != p.Masked():
		return fmt.Errorf("the base %v should be %v", p, p.Masked())
	case p.Bits() == 0 || p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast():
		return fmt.Errorf("the base %v is not usable for containers: choose a private one, for example 10.20.0.0/16 or fd00:20::/48", p)
	case b.Bits == 0:
		return fmt.Errorf("the base %v has no size: give the length of the subnets that it is cut into, %d to %d (size = 24)", p, p.Bits(), p.Addr().BitLen())
	case b.Bits < p.Bits() || b.Bits > p.Addr().BitLen():
		return fmt.Errorf("the base %v cannot be cut into pieces of size %d: it is %d to %d", p, b.Bits, p.Bits(), p.Addr().BitLen())
	}
	return nil
}

// Resized returns the bases with pieces of another length, as far as they can be cut
// so; 0 leaves them as they are.
func Resized(bases []Base, bits int) []Base {
	if bits == 0 {
		return bases
	}
	var out []Base
	for _, b := range bases {
		if b.Prefix.Bits() <= bits {
			out = append(out, Base{b.Prefix, bits})
		}
	}
	return out
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

// ulaBits is the length of the subnets that RandomULA gives, unless another is asked for:
// what address configuration without state needs (RFC 4862).
const ulaBits = 64

// RandomULA returns a subnet of that length, or a /64 if bits is 0, at the start of a
// random /48 of fd00::/8 (RFC 4193, section 3.2.2) that overlaps none of taken.
func RandomULA(bits int, taken []netip.Prefix) (netip.Prefix, error) {
	if bits == 0 {
		bits = ulaBits
	}
	if bits < 48 { // there is one a site
		return netip.Prefix{}, ErrNoSubnet
	}
	for range 64 {
		b := [16]byte{0: 0xfd}
		if _, err := rand.Read(b[1:6]); err != nil {
			return netip.Prefix{}, fmt.Errorf("random IPv6 subnet: %w", err)
		}
		p := netip.PrefixFrom(netip.AddrFrom16(b), bits)
		if _, hit := Overlapping(p, taken); !hit {
			return p, nil
		}
	}
	return netip.Prefix{}, ErrNoSubnet
}
