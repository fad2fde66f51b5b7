package portfwd

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// Registry knows which container has which of the host's ports, on all
// networks, so that an error can name it. It also counts the connections that
// all of them have. The zero value is not usable; see NewRegistry.
type Registry struct {
	connections atomic.Int64

	// mu is held while a port is bound or closed: what one Publish has bound
	// another finds here, never a port in between.
	mu     sync.Mutex
	owners map[claim]Mapping
	shares map[string]*share // by Mapping.Owner, while they have a port
}

// share is what one container has of Registry.connections, over all its ports.
type share struct {
	connections atomic.Int64
	ports       int
}

// enter counts a connection in, unless there are limit or its container has as
// many as are left: those of a container that never ends one, or whose clients
// don't, leave room for the others'.
func (r *Registry) enter(s *share, limit int) bool {
	used := r.connections.Add(1)
	if used <= int64(limit) && s.connections.Add(1) <= max(int64(limit)-used, 1) {
		return true
	}
	if used <= int64(limit) {
		s.connections.Add(-1)
	}
	r.connections.Add(-1)
	return false
}

func (r *Registry) leave(s *share) {
	s.connections.Add(-1)
	r.connections.Add(-1)
}

// claim is a port of the host. Two claims of the same family, protocol and port
// exclude each other if the addresses are equal or one is the wildcard.
type claim struct {
	proto string
	host  netip.AddrPort
}

// NewRegistry makes an empty Registry.
func NewRegistry() *Registry {
	return &Registry{owners: make(map[claim]Mapping), shares: make(map[string]*share)}
}

// Owner gives the published port that excludes host for proto ("tcp" or "udp"),
// if there is one: the same address or, in the same family, a wildcard on
// either side. Its Host has the port that is really bound.
func (r *Registry) Owner(proto string, host netip.AddrPort) (Mapping, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.owner(proto, host)
}

func (r *Registry) owner(proto string, host netip.AddrPort) (Mapping, bool) {
	host = unmap(host)
	if m, ok := r.owners[claim{proto, host}]; ok {
		return m, true
	}
	if !host.Addr().IsUnspecified() {
		any4or6 := netip.IPv4Unspecified()
		if host.Addr().Is6() {
			any4or6 = netip.IPv6Unspecified()
		}
		m, ok := r.owners[claim{proto, netip.AddrPortFrom(any4or6, host.Port())}]
		return m, ok
	}
	for c, m := range r.owners {
		if c.proto == proto && c.host.Port() == host.Port() && c.host.Addr().Is4() == host.Addr().Is4() {
			return m, true
		}
	}
	return Mapping{}, false
}

// bind calls listen and keeps its socket's address as m's.
func (r *Registry) bind(m Mapping, listen func(Mapping) (*socket, error)) (*socket, *share, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := listen(m)
	if err != nil {
		return nil, nil, r.explain(m, err)
	}
	m.Host = s.addr
	r.owners[claim{m.Proto, m.Host}] = m
	h := r.shares[m.Owner]
	if h == nil {
		h = &share{}
		r.shares[m.Owner] = h
	}
	h.ports++
	return s, h, nil
}

// release closes the socket and forgets its owner.
func (r *Registry) release(m Mapping, s *socket) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.owners, claim{m.Proto, m.Host})
	if h := r.shares[m.Owner]; h != nil {
		if h.ports--; h.ports == 0 {
			delete(r.shares, m.Owner)
		}
	}
	return s.file.Close()
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
