package ipam

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"slices"
)

// Errors of a Pool, grouped by operation: NewPool, Take, Next.
var (
	ErrSubnet  = errors.New("invalid subnet")
	ErrRange   = errors.New("invalid address range")
	ErrGateway = errors.New("invalid gateway address")
	ErrAux     = errors.New("invalid auxiliary address")

	ErrOutside  = errors.New("address is not in the subnet")
	ErrReserved = errors.New("address is reserved in the subnet")
	ErrKept     = errors.New("address is in a range that is kept free")
	ErrTaken    = errors.New("Address already in use") //nolint:staticcheck // Docker's wording

	ErrExhausted = errors.New("no available addresses")
)

// Config describes one subnet of a network.
type Config struct {
	Subnet  netip.Prefix          // with host bits zero
	Range   netip.Prefix          // where Next looks; zero = the whole subnet
	First   netip.Addr            // with Last, instead of Range: the first and the last
	Last    netip.Addr            // address that Next gives
	Gateway netip.Addr            // zero = the first free address of Range
	Aux     map[string]netip.Addr // reserved by name
	// Kept are parts of the subnet that somebody else gives away: Next passes them
	// over, and nothing in them can be taken.
	Kept []netip.Prefix
	// NoGateway leaves the gateway out: nothing is reserved for it.
	NoGateway bool
}

// Pool hands out the addresses of one subnet. Not safe for concurrent use.
type Pool struct {
	subnet    netip.Prefix
	low, high netip.Addr // the range, with both of them in it
	kept      []netip.Prefix
	gateway   netip.Addr
	reserved  map[netip.Addr]struct{} // network, broadcast, gateway, auxiliary
	used      map[netip.Addr]struct{}
	first     netip.Addr // no address of the range below it is free; zero = none at all
}

// NewPool checks c and returns its pool with the gateway reserved. The error
// wraps ErrSubnet, ErrRange, ErrKept, ErrGateway, ErrAux or ErrExhausted.
func NewPool(c Config) (*Pool, error) {
	switch {
	case !c.Subnet.IsValid() || c.Subnet.Addr().Is4In6() || c.Subnet.Addr().Zone() != "":
		return nil, fmt.Errorf("%w %v", ErrSubnet, c.Subnet)
	case c.Subnet != c.Subnet.Masked():
		return nil, fmt.Errorf("%w %v: it should be %v", ErrSubnet, c.Subnet, c.Subnet.Masked())
	case c.Subnet.Bits() == 0 || c.Subnet.Addr().IsMulticast() || c.Subnet.Addr().IsLoopback():
		return nil, fmt.Errorf("%w %v: not usable for containers; choose a private one, for example 10.20.0.0/24 or fd00:20::/64", ErrSubnet, c.Subnet)
	}
	p := &Pool{
		subnet:   c.Subnet,
		low:      c.Subnet.Addr(),
		high:     Last(c.Subnet),
		kept:     slices.Clone(c.Kept),
		reserved: make(map[netip.Addr]struct{}),
		used:     make(map[netip.Addr]struct{}),
	}
	p.reserveEdges()
	switch {
	case c.Range.IsValid() && !Contains(c.Subnet, c.Range):
		return nil, fmt.Errorf("%w %v: it is not inside the subnet %v", ErrRange, c.Range, c.Subnet)
	case c.Range.IsValid():
		p.low, p.high = c.Range.Masked().Addr(), Last(c.Range)
	case c.First.IsValid() && (!c.Subnet.Contains(c.First) || !c.Subnet.Contains(c.Last) || c.Last.Less(c.First)):
		return nil, fmt.Errorf("%w %v-%v: it is not inside the subnet %v", ErrRange, c.First, c.Last, c.Subnet)
	case c.First.IsValid():
		p.low, p.high = c.First, c.Last
	}
	for _, k := range c.Kept {
		if !Contains(c.Subnet, k) {
			return nil, fmt.Errorf("%w %v: it is not inside the subnet %v", ErrRange, k, c.Subnet)
		}
	}
	p.first = p.low
	for _, name := range slices.Sorted(maps.Keys(c.Aux)) {
		a := c.Aux[name]
		if err := p.reserve(a); err != nil {
			return nil, fmt.Errorf("%w %s=%v: %w", ErrAux, name, a, err)
		}
	}
	if c.NoGateway {
		return p, nil
	}
	gw := c.Gateway
	if !gw.IsValid() {
		var err error
		if gw, err = p.peek(nil); err != nil {
			return nil, err
		}
	}
	if err := p.reserve(gw); err != nil {
		return nil, fmt.Errorf("%w %v: %w %v", ErrGateway, gw, err, c.Subnet)
	}
	p.gateway = gw
	return p, nil
}

// reserveEdges keeps the subnet's first and last address where they have a
// meaning of their own.
func (p *Pool) reserveEdges() {
	host := p.subnet.Addr().BitLen() - p.subnet.Bits()
	if host < 2 {
		return
	}
	p.reserved[p.subnet.Addr()] = struct{}{}
	if p.subnet.Addr().Is4() {
		p.reserved[Last(p.subnet)] = struct{}{}
	}
}

func (p *Pool) reserve(a netip.Addr) error {
	if err := p.check(a); err != nil {
		return err
	}
	p.reserved[a] = struct{}{}
	return nil
}

func (p *Pool) check(a netip.Addr) error {
	if !p.subnet.Contains(a) {
		return ErrOutside
	}
	if _, ok := p.reserved[a]; ok {
		return ErrReserved
	}
	if _, ok := holder(p.kept, a); ok {
		return ErrKept
	}
	if _, ok := p.used[a]; ok {
		return ErrTaken
	}
	return nil
}

// holder returns the first of prefixes that a lies in.
func holder(prefixes []netip.Prefix, a netip.Addr) (netip.Prefix, bool) {
	for _, p := range prefixes {
		if p.Contains(a) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

func (p *Pool) inRange(a netip.Addr) bool {
	return a.IsValid() && !a.Less(p.low) && !p.high.Less(a)
}

// Subnet returns the pool's subnet.
func (p *Pool) Subnet() netip.Prefix { return p.subnet }

// Range describes the part of the subnet in which Next looks: a prefix, or the first
// and the last address.
func (p *Pool) Range() string {
	for bits := p.subnet.Bits(); bits <= p.low.BitLen(); bits++ {
		if q := netip.PrefixFrom(p.low, bits); q == q.Masked() && Last(q) == p.high {
			return q.String()
		}
	}
	return p.low.String() + "-" + p.high.String()
}

// Gateway returns the gateway's address; the zero Addr when there is none.
func (p *Pool) Gateway() netip.Addr { return p.gateway }

// Take reserves a. The error is ErrOutside, ErrReserved, ErrKept or ErrTaken. Addresses
// outside Range, but in the subnet, may be taken by name.
func (p *Pool) Take(a netip.Addr) error {
	if err := p.check(a); err != nil {
		if a == p.gateway {
			return fmt.Errorf("%w: it is the gateway's", ErrTaken)
		}
		return err
	}
	p.used[a] = struct{}{}
	return nil
}

// Next takes the lowest free address of the range. The error is ErrExhausted.
func (p *Pool) Next() (netip.Addr, error) { return p.NextOutside(nil) }

// NextOutside is Next that leaves out what lies in one of avoid.
func (p *Pool) NextOutside(avoid []netip.Prefix) (netip.Addr, error) {
	a, err := p.peek(avoid)
	if err != nil {
		return netip.Addr{}, err
	}
	p.used[a] = struct{}{}
	return a, nil
}

// peek finds the lowest free address of the range that is in none of avoid. It
// remembers how far it looked, so that filling a pool costs one step an address.
func (p *Pool) peek(avoid []netip.Prefix) (netip.Addr, error) {
	sure := true // no address that was passed over is free
	for a := p.first; p.inRange(a); {
		// A prefix may hold more addresses than there is time: it is one step.
		if q, ok := holder(p.kept, a); ok {
			a = Last(q).Next()
			continue
		}
		if q, ok := holder(avoid, a); ok {
			a, sure = Last(q).Next(), false
			continue
		}
		if p.check(a) == nil {
			if sure {
				p.first = a
			}
			return a, nil
		}
		a = a.Next()
	}
	if sure {
		p.first = netip.Addr{}
	}
	return netip.Addr{}, fmt.Errorf("%w in %s", ErrExhausted, p.Range())
}

// Release gives a back; releasing what was not taken does nothing.
func (p *Pool) Release(a netip.Addr) {
	if _, ok := p.used[a]; !ok {
		return
	}
	delete(p.used, a)
	if p.inRange(a) && (!p.first.IsValid() || a.Less(p.first)) {
		p.first = a
	}
}

// InUse counts what is taken, the gateway and the reserved addresses included.
func (p *Pool) InUse() uint64 { return uint64(len(p.used) + len(p.reserved)) }

// Free counts what Next can still give; it saturates at the largest uint64, which a
// /64 exceeds.
func (p *Pool) Free() uint64 {
	n := span(p.low, p.high)
	for _, k := range p.kept {
		if low, high := later(p.low, k.Addr()), earlier(p.high, Last(k)); !high.Less(low) {
			n.Sub(n, span(low, high))
		}
	}
	for _, set := range []map[netip.Addr]struct{}{p.used, p.reserved} {
		for a := range set {
			if _, kept := holder(p.kept, a); p.inRange(a) && !kept {
				n.Sub(n, big.NewInt(1))
			}
		}
	}
	return saturate(n)
}

func later(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return b
	}
	return a
}

func earlier(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return a
	}
	return b
}
