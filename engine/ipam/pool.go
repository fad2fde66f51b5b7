package ipam

import (
	"errors"
	"fmt"
	"maps"
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
	ErrTaken    = errors.New("Address already in use") //nolint:staticcheck // Docker's wording

	ErrExhausted = errors.New("no available addresses")
)

// Config describes one subnet of a network.
type Config struct {
	Subnet  netip.Prefix          // with host bits zero
	Range   netip.Prefix          // where Next looks; zero = the whole subnet
	Gateway netip.Addr            // zero = the first free address of Range
	Aux     map[string]netip.Addr // reserved by name
	// NoGateway leaves the gateway out: nothing is reserved for it.
	NoGateway bool
}

// Pool hands out the addresses of one subnet. Not safe for concurrent use.
type Pool struct {
	subnet   netip.Prefix
	rng      netip.Prefix
	gateway  netip.Addr
	reserved map[netip.Addr]struct{} // network, broadcast, gateway, auxiliary
	used     map[netip.Addr]struct{}
	first    netip.Addr // no address of the range below it is free; zero = none at all
}

// NewPool checks c and returns its pool with the gateway reserved. The error
// wraps ErrSubnet, ErrRange, ErrGateway, ErrAux or ErrExhausted.
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
		rng:      c.Subnet,
		reserved: make(map[netip.Addr]struct{}),
		used:     make(map[netip.Addr]struct{}),
	}
	p.reserveEdges()
	if c.Range.IsValid() {
		if !Contains(c.Subnet, c.Range) {
			return nil, fmt.Errorf("%w %v: it is not inside the subnet %v", ErrRange, c.Range, c.Subnet)
		}
		p.rng = c.Range.Masked()
	}
	p.first = p.rng.Addr()
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
		if gw, err = p.peek(); err != nil {
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
	if _, ok := p.used[a]; ok {
		return ErrTaken
	}
	return nil
}

// Subnet returns the pool's subnet.
func (p *Pool) Subnet() netip.Prefix { return p.subnet }

// Range returns the part of the subnet in which Next looks.
func (p *Pool) Range() netip.Prefix { return p.rng }

// Gateway returns the gateway's address; the zero Addr when there is none.
func (p *Pool) Gateway() netip.Addr { return p.gateway }

// Take reserves a. The error is ErrOutside, ErrReserved or ErrTaken. Addresses
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
func (p *Pool) Next() (netip.Addr, error) {
	a, err := p.peek()
	if err != nil {
		return netip.Addr{}, err
	}
	p.used[a] = struct{}{}
	return a, nil
}

// NextOutside is Next that leaves out what lies in one of avoid.
func (p *Pool) NextOutside(avoid []netip.Prefix) (netip.Addr, error) {
	if !slices.ContainsFunc(avoid, p.rng.Overlaps) {
		return p.Next()
	}
	for a := p.first; a.IsValid() && p.rng.Contains(a); {
		if i := slices.IndexFunc(avoid, func(q netip.Prefix) bool { return q.Contains(a) }); i >= 0 {
			a = Last(avoid[i]).Next() // a prefix may hold more addresses than there is time
			continue
		}
		if p.check(a) == nil {
			p.used[a] = struct{}{}
			return a, nil
		}
		a = a.Next()
	}
	return netip.Addr{}, fmt.Errorf("%w in %v", ErrExhausted, p.rng)
}

// peek finds the lowest free address of the range and remembers how far it
// looked, so that filling a pool costs one step an address.
func (p *Pool) peek() (netip.Addr, error) {
	for a := p.first; a.IsValid() && p.rng.Contains(a); a = a.Next() {
		if p.check(a) == nil {
			p.first = a
			return a, nil
		}
	}
	p.first = netip.Addr{}
	return netip.Addr{}, fmt.Errorf("%w in %v", ErrExhausted, p.rng)
}

// Release gives a back; releasing what was not taken does nothing.
func (p *Pool) Release(a netip.Addr) {
	if _, ok := p.used[a]; !ok {
		return
	}
	delete(p.used, a)
	if p.rng.Contains(a) && (!p.first.IsValid() || a.Less(p.first)) {
		p.first = a
	}
}

// InUse counts what is taken, the gateway and the reserved addresses included.
func (p *Pool) InUse() uint64 { return uint64(len(p.used) + len(p.reserved)) }

// Free counts what Next can still give, saturating as Size does.
func (p *Pool) Free() uint64 {
	n := Size(p.rng)
	for _, set := range []map[netip.Addr]struct{}{p.used, p.reserved} {
		for a := range set {
			if p.rng.Contains(a) {
				n--
			}
		}
	}
	return n
}
