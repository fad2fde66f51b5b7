package portfwd

import (
	"errors"
	"net/netip"
	"sync"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// Registry binds the host's ports and knows which container has which, on all
// networks, so that an error can name it. The zero value is not usable; see
// NewRegistry.
type Registry struct {
	// mu is held while a port is bound or closed: what one Bind has bound
	// another finds here, never a port in between.
	mu     sync.Mutex
	owners map[claim]*Bound
}

// claim is a port of the host. Two claims of the same family, protocol and port
// exclude each other if the addresses are equal or one is the wildcard.
type claim struct {
	proto string
	host  netip.AddrPort
}

// NewRegistry makes an empty Registry.
func NewRegistry() *Registry { return &Registry{owners: make(map[claim]*Bound)} }

// Bound is one of the host's ports that is held for a container. Who serves it
// gets the socket by [Bound.Handle].
type Bound struct {
	registry *Registry
	mapping  Mapping // Host as bound
	handle   *fdpass.Handle
}

// Mapping is what was bound, with the real port.
func (b *Bound) Mapping() Mapping { return b.mapping }

// Addr is the address that is bound, with the real port.
func (b *Bound) Addr() netip.AddrPort { return b.mapping.Host }

// Handle is the socket: bound, listening if it is TCP's, not blocking, and not
// on the runtime's poller. It is the Bound's: to be passed on or duplicated.
func (b *Bound) Handle() *fdpass.Handle { return b.handle }

// Close closes the socket and gives the port up. The port is free when whoever
// serves it has closed its socket too. Closing again is harmless.
func (b *Bound) Close() error {
	b.registry.mu.Lock()
	defer b.registry.mu.Unlock()
	if c := b.claim(); b.registry.owners[c] == b {
		delete(b.registry.owners, c)
	}
	return b.handle.Close()
}

func (b *Bound) claim() claim { return claim{b.mapping.Proto, b.mapping.Host} }

// Bind binds exactly m.Host. A port that cannot be had gives ErrInUse,
// ErrPrivileged or ErrNotLocal with what to do about it in the text; a Mapping
// without sense gives ErrMapping.
func (r *Registry) Bind(m Mapping) (*Bound, error) {
	m = m.plain()
	if err := m.check(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h, port, err := listen(m)
	if err != nil {
		return nil, r.explain(m, err)
	}
	m.Host = netip.AddrPortFrom(m.Host.Addr(), port)
	return r.keep(m, h), nil
}

// Adopt takes over a socket that an earlier process has bound for m, whose Host
// has the real port. A socket that is another's gives ErrSocket, a port that
// is bound already ErrInUse; h is closed then. Nothing of the socket is
// changed.
func (r *Registry) Adopt(m Mapping, h *fdpass.Handle) (*Bound, error) {
	m = m.plain()
	err := m.check()
	if err == nil {
		err = verify(h.FD(), m)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if owner, ok := r.owner(m.Proto, m.Host); ok {
		return nil, errors.Join(inUse(m, owner, true, ErrInUse), h.Close())
	}
	return r.keep(m, h), nil
}

// keep notes the owner of a socket. r.mu is held.
func (r *Registry) keep(m Mapping, h *fdpass.Handle) *Bound {
	b := &Bound{registry: r, mapping: m, handle: h}
	r.owners[b.claim()] = b
	return b
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
	if b := r.owners[claim{proto, host}]; b != nil {
		return b.mapping, true
	}
	if !host.Addr().IsUnspecified() {
		any4or6 := netip.IPv4Unspecified()
		if host.Addr().Is6() {
			any4or6 = netip.IPv6Unspecified()
		}
		if b := r.owners[claim{proto, netip.AddrPortFrom(any4or6, host.Port())}]; b != nil {
			return b.mapping, true
		}
		return Mapping{}, false
	}
	for c, b := range r.owners {
		if c.proto == proto && c.host.Port() == host.Port() && c.host.Addr().Is4() == host.Addr().Is4() {
			return b.mapping, true
		}
	}
	return Mapping{}, false
}
