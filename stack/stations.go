package stack

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// stationAge is when a station is forgotten that has been silent: Linux's bridges
// have the same (ageing_time). Who asks for it then makes it answer.
const stationAge = 300 * time.Second

// stations are those behind ports with a Guard, which no table of the engine knows:
//
//	guard (may this port have it?) --> learn --> who has it --> switch, gateway
//
// A station is a MAC or an address, and has one port. It goes to another only when it
// has been silent for stationAge and was not lent its address (configure.go), when its
// port is closed, or, if both ports' Guard.Addresses name it, when the other announces it.
type stations struct {
	mu    sync.RWMutex
	macs  map[packet.MAC]*station
	addrs map[netip.Addr]*station
}

type station struct {
	port *Port
	mac  packet.MAC
	addr netip.Addr   // invalid for the station that is a MAC
	seen atomic.Int64 // Unix nanoseconds
	lent atomic.Int64 // until when it has its address or MAC, however silent; the same
}

func (s *station) fresh(now time.Time) bool {
	t := now.UnixNano()
	return t-s.seen.Load() < int64(stationAge) || t < s.lent.Load()
}

// hop is where frames for a station go.
type hop struct {
	port *Port
	mac  packet.MAC
}

// find gives the port and the MAC that have an address now, the gateway apart.
func (n *Network) find(a netip.Addr) (hop, bool) {
	t := n.table.Load()
	if p := t.byAddr[a]; p != nil {
		return hop{p, p.mac}, true
	}
	if len(t.extended) == 0 {
		return hop{}, false
	}
	n.stations.mu.RLock()
	defer n.stations.mu.RUnlock()
	if s := n.stations.addrs[a]; s != nil && s.fresh(time.Now()) {
		return hop{s.port, s.mac}, true
	}
	return hop{}, false
}

// way is find for who has something for an address: a port with Guard.Sole has also what
// is not known. Of a station that is not known, or was forgotten, fresh is false.
func (n *Network) way(a netip.Addr) (to hop, fresh, ok bool) {
	if to, ok = n.find(a); ok {
		return to, true, true
	}
	for _, p := range n.table.Load().extended {
		if !p.guard.Sole || !p.may(a) {
			continue
		}
		n.stations.mu.RLock()
		defer n.stations.mu.RUnlock()
		if s := n.stations.addrs[a]; s != nil && s.port == p {
			return hop{p, s.mac}, false, true
		}
		return hop{p, p.mac}, false, true
	}
	return hop{}, false, false
}

// findMAC gives the port that has a MAC now, the gateway apart.
func (n *Network) findMAC(m packet.MAC) *Port {
	t := n.table.Load()
	if p := t.byMAC[m]; p != nil || len(t.extended) == 0 {
		return p
	}
	n.stations.mu.RLock()
	defer n.stations.mu.RUnlock()
	if s := n.stations.macs[m]; s != nil && s.fresh(time.Now()) {
		return s.port
	}
	return nil
}

// may reports whether the port may have the address, by its Guard.
func (p *Port) may(a netip.Addr) bool {
	if !p.guard.extended() || !p.net.inSubnets(a) || p.net.gateway.owns(a) {
		return false
	}
	t := p.net.table.Load()
	if t.byAddr[a] != nil {
		return false
	}
	if p.guard.names(a) {
		return true
	}
	return p.guard.Nested && !slices.ContainsFunc(t.extended, func(q *Port) bool { return q != p && q.guard.names(a) })
}

// possible reports whether some port may have the address, by its Guard.
func (n *Network) possible(a netip.Addr) bool {
	return slices.ContainsFunc(n.table.Load().extended, func(p *Port) bool { return p.may(a) })
}

// mayMAC reports whether the port may send from the MAC, by its Guard.
func (p *Port) mayMAC(m packet.MAC) bool {
	if !p.guard.Nested || m.IsMulticast() || m == (packet.MAC{}) || m == p.net.gateway.mac {
		return false
	}
	if p.net.table.Load().byMAC[m] != nil {
		return false
	}
	holder := p.net.findMAC(m)
	return holder == nil || holder == p || isVirtual(m)
}

// isVirtual reports whether m is one that routers of VRRP share (RFC 9568 7.3): the one
// that sends from it is the master.
func isVirtual(m packet.MAC) bool {
	return [4]byte(m[:4]) == [4]byte{0x00, 0x00, 0x5e, 0x00} && (m[4] == 1 || m[4] == 2)
}

// speaksFor reports whether the port has the address now, or may take it because
// nobody has it. With claim it is enough that it may take it from who has it.
func (p *Port) speaksFor(a netip.Addr, claim bool) bool {
	if p.owns(a) || a == p.linkLocal {
		return true
	}
	if !p.may(a) {
		return false
	}
	h, ok := p.net.find(a)
	return !ok || h.port == p || (claim && p.guard.names(a) && h.port.guard.names(a))
}

// learn remembers that the port's frame came from a MAC and, where it is valid, an
// address for which the port speaks. It reports whether the address has come from
// another station.
func (n *Network) learn(p *Port, m packet.MAC, a netip.Addr) (moved bool) {
	if !p.guard.extended() {
		return false
	}
	now := time.Now()
	if m != p.mac {
		n.touch(p, m, netip.Addr{}, now)
	}
	if !a.IsValid() || a.IsUnspecified() || p.owns(a) || a == p.linkLocal {
		return false
	}
	return n.touch(p, m, a, now)
}

// touch keeps a station, or makes it. It reports whether another one had its address.
func (n *Network) touch(p *Port, m packet.MAC, a netip.Addr, now time.Time) (moved bool) {
	t := &n.stations
	t.mu.RLock()
	s := t.get(m, a)
	same := s != nil && s.port == p && s.mac == m
	if same {
		s.seen.Store(now.UnixNano())
	}
	t.mu.RUnlock()
	if same {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.gone { // closed meanwhile: who would forget it?
		return false
	}
	s = t.get(m, a)
	if s == nil || s.port != p {
		t.makeRoom(p, a.IsValid())
	}
	moved = s == nil || s.port != p || s.mac != m
	s = &station{port: p, mac: m, addr: a}
	s.seen.Store(now.UnixNano())
	if t.macs == nil {
		t.macs, t.addrs = map[packet.MAC]*station{}, map[netip.Addr]*station{}
	}
	if a.IsValid() {
		t.addrs[a] = s
	} else {
		t.macs[m] = s
	}
	return moved
}

// get gives the station of an address or, where it is invalid, of a MAC.
func (t *stations) get(m packet.MAC, a netip.Addr) *station {
	if a.IsValid() {
		return t.addrs[a]
	}
	return t.macs[m]
}

// makeRoom forgets the port's longest silent station of a kind if it has as many as
// it may.
func (t *stations) makeRoom(p *Port, address bool) {
	count, oldest := 0, (*station)(nil)
	see := func(s *station) {
		if s.port != p {
			return
		}
		count++
		if oldest == nil || s.seen.Load() < oldest.seen.Load() {
			oldest = s
		}
	}
	if address {
		for _, s := range t.addrs {
			see(s)
		}
	} else {
		for _, s := range t.macs {
			see(s)
		}
	}
	if count >= p.limits.Stations {
		t.delete(oldest)
	}
}

func (t *stations) delete(s *station) {
	if s.addr.IsValid() {
		delete(t.addrs, s.addr)
	} else {
		delete(t.macs, s.mac)
	}
}

// forget forgets all of a port's stations, for ever.
func (t *stations) forget(p *Port) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.gone = true
	for _, s := range t.addrs {
		if s.port == p {
			t.delete(s)
		}
	}
	for _, s := range t.macs {
		if s.port == p {
			t.delete(s)
		}
	}
}

// evict forgets stations that are p's own MAC or addresses: it has been added, and they
// were learned before.
func (t *stations) evict(p *Port) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.macs, p.mac)
	delete(t.addrs, p.linkLocal)
	for _, a := range p.addrs {
		delete(t.addrs, a)
	}
}

// Stations gives the addresses known behind the port now by its Guard, besides its own.
func (p *Port) Stations() []netip.Addr {
	t := &p.net.stations
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []netip.Addr
	now := time.Now()
	for a, s := range t.addrs {
		if s.port == p && s.fresh(now) {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}
