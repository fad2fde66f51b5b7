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
}

// claim is a port of the host. Two claims of the same family, protocol and port
// exclude each other if the addresses are equal or one is the wildcard.
type claim struct {
	proto string
	host  netip.AddrPort
}

// NewRegistry makes an empty Registry.
func NewRegistry() *Registry { return &Registry{owners: make(map[claim]Mapping)} }

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
func (r *Registry) bind(m Mapping, listen func(Mapping) (*socket, error)) (*socket, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := listen(m)
	if err != nil {
		return nil, r.explain(m, err)
	}
	m.Host = s.addr
	r.owners[claim{m.Proto, m.Host}] = m
	return s, nil
}

// release closes the socket and forgets its owner.
func (r *Registry) release(m Mapping, s *socket) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.owners, claim{m.Proto, m.Host})
	return s.file.Close()
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
