package dhcp

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"net/netip"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

const (
	// maxLeases is how many one endpoint may have: as many stations as the switch
	// remembers behind it by default.
	maxLeases = 64
	// maxTries bounds the search for a free address: more than there are leases on any
	// network that one process carries.
	maxTries = 4096
)

// holder is who has a lease: a station behind an endpoint.
type holder struct{ endpoint, station packet.MAC }

type lease struct {
	holder
	until    time.Time
	declined bool // nobody has it: it was found in use
}

// pool is a range of addresses that are lent.
type pool struct {
	first, last netip.Addr // invalid: there are none
	whole       bool       // one endpoint may have all of it
	leases      map[netip.Addr]*lease
	holders     map[holder]netip.Addr // not of declined ones
	held        map[packet.MAC]int    // leases of endpoints, declined ones included
}

// newPool makes a pool of all addresses of p.
func newPool(p netip.Prefix) *pool {
	if !p.IsValid() {
		return newRange(netip.Addr{}, netip.Addr{})
	}
	last := p.Masked().Addr().As16()
	for i := p.Bits() + 128 - p.Addr().BitLen(); i < 128; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	a := netip.AddrFrom16(last)
	if p.Addr().Is4() {
		a = a.Unmap()
	}
	return newRange(p.Masked().Addr(), a)
}

// newRange makes a pool of the addresses from first to last.
func newRange(first, last netip.Addr) *pool {
	return &pool{
		first: first, last: last, leases: map[netip.Addr]*lease{}, holders: map[holder]netip.Addr{}, held: map[packet.MAC]int{},
	}
}

// offer keeps an address for h: the one it has, the one it wants, or another one.
func (p *pool) offer(h holder, want netip.Addr, free func(netip.Addr) bool) netip.Addr {
	now := time.Now()
	p.expire(now)
	if a, ok := p.holders[h]; ok {
		if free(a) {
			if l := p.leases[a]; l.until.Before(now.Add(offerTime)) {
				l.until = now.Add(offerTime)
			}
			return a
		}
		p.remove(a)
	}
	if !p.room(h) {
		return netip.Addr{}
	}
	a := want
	if !p.has(want) || !free(want) {
		if a = p.find(h, free); !a.IsValid() {
			return a
		}
	}
	p.put(h, a, now.Add(offerTime))
	return a
}

// of gives the address that h has, or is offered.
func (p *pool) of(h holder) (netip.Addr, bool) {
	a, ok := p.holders[h]
	return a, ok
}

// commit lends h the address a, offered or not; it has no other one then.
func (p *pool) commit(h holder, a netip.Addr, free func(netip.Addr) bool) bool {
	now := time.Now()
	p.expire(now)
	if l := p.leases[a]; l != nil {
		if l.holder != h || l.declined || !free(a) {
			return false
		}
		l.until = now.Add(poolLease)
		return true
	}
	if !p.has(a) || !free(a) {
		return false
	}
	old, had := p.holders[h]
	switch {
	case had: // one for the other
		p.remove(old)
	case !p.room(h):
		return false
	}
	p.put(h, a, now.Add(poolLease))
	return true
}

// release reports whether h had the address; nobody has it afterwards.
func (p *pool) release(h holder, a netip.Addr) bool {
	l := p.leases[a]
	if l == nil || l.holder != h || l.declined {
		return false
	}
	p.remove(a)
	return true
}

// decline is release of an address that nobody is to get for a while. It counts as h's
// still: who declines all has none left.
func (p *pool) decline(h holder, a netip.Addr) bool {
	l := p.leases[a]
	if l == nil || l.holder != h || l.declined {
		return false
	}
	delete(p.holders, h)
	l.declined, l.until = true, time.Now().Add(declineTime)
	return true
}

// has reports whether a is in the range and nobody's.
func (p *pool) has(a netip.Addr) bool {
	return a.IsValid() && p.first.IsValid() && a.Is4() == p.first.Is4() && !a.Less(p.first) && !p.last.Less(a) && p.leases[a] == nil
}

// room reports whether h's endpoint may have one more lease: no more than there are
// addresses left for others, unless there are no others.
func (p *pool) room(h holder) bool {
	n := p.held[h.endpoint]
	if p.whole {
		return p.first.IsValid() && n < maxLeases
	}
	return p.first.IsValid() && n < maxLeases && uint64(n) < p.size()-uint64(len(p.leases))
}

// size counts the addresses of the range, at most math.MaxInt64.
func (p *pool) size() uint64 {
	first, last := p.first.As16(), p.last.As16()
	low := binary.BigEndian.Uint64(first[8:])
	if n := binary.BigEndian.Uint64(last[8:]) - low; n < math.MaxInt64 && [8]byte(first[:8]) == [8]byte(last[:8]) {
		return n + 1
	}
	return math.MaxInt64
}

// find looks for an address that is free, from one on that follows from h's MAC.
func (p *pool) find(h holder, free func(netip.Addr) bool) netip.Addr {
	size := p.size()
	hash := fnv.New64a()
	hash.Write(h.station[:])
	start := hash.Sum64() % size
	for i := range min(size, maxTries) {
		if a := p.nth((start + i) % size); p.has(a) && free(a) {
			return a
		}
	}
	return netip.Addr{}
}

// nth gives the range's address number n.
func (p *pool) nth(n uint64) netip.Addr {
	b := p.first.As16()
	low := binary.BigEndian.Uint64(b[8:])
	binary.BigEndian.PutUint64(b[8:], low+n) // size sees to it that there is no carry
	a := netip.AddrFrom16(b)
	if p.first.Is4() {
		a = a.Unmap()
	}
	return a
}

func (p *pool) put(h holder, a netip.Addr, until time.Time) {
	p.leases[a] = &lease{holder: h, until: until}
	p.holders[h] = a
	p.held[h.endpoint]++
}

func (p *pool) remove(a netip.Addr) {
	l := p.leases[a]
	delete(p.leases, a)
	if p.holders[l.holder] == a {
		delete(p.holders, l.holder)
	}
	if p.held[l.endpoint]--; p.held[l.endpoint] == 0 {
		delete(p.held, l.endpoint)
	}
}

// expire forgets what has run out.
func (p *pool) expire(now time.Time) {
	for a, l := range p.leases {
		if !now.Before(l.until) {
			p.remove(a)
		}
	}
}

// removeAll forgets all leases of an endpoint.
func (p *pool) removeAll(endpoint packet.MAC) {
	for a, l := range p.leases {
		if l.endpoint == endpoint {
			p.remove(a)
		}
	}
}
