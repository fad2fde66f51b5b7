package portfwd

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// randomTries bounds the search for a port that is free on several addresses.
// The kernel proposes one that is free on the first; that another address has
// it taken is rare, so a search that fails 32 times has another cause.
const randomTries = 32

// BindAll binds all of ms or none. Those whose Host has port 0 get one port,
// the same for all of them, which the kernel chooses: this is how one published
// port is had on 0.0.0.0 and [::].
func (r *Registry) BindAll(ms []Mapping) ([]*Bound, error) {
	free := slices.IndexFunc(ms, func(m Mapping) bool { return m.Host.Port() == 0 })
	if free < 0 {
		return r.bindAt(ms, 0, nil, -1)
	}
	// Sockets on ports that are taken elsewhere stay until the end: the
	// kernel would propose the same ports again (it tries odd ones first).
	var rejected []*Bound
	defer func() { closeAll(rejected) }()
	var taken error
	for range randomTries {
		first, err := r.Bind(ms[free])
		if err != nil {
			return nil, cmp.Or(taken, err)
		}
		all, err := r.bindAt(ms, first.Addr().Port(), first, free)
		if err == nil {
			return all, nil
		}
		rejected = append(rejected, first)
		if !errors.As(err, new(*proposalError)) {
			return nil, err
		}
		taken = errors.Unwrap(err)
	}
	return nil, taken
}

// proposalError says that the port the kernel proposed is taken on another
// address, so that the next may do.
type proposalError struct{ error }

func (e *proposalError) Unwrap() error { return e.error }

// bindAt binds ms, with port for those that have none. That at index have is
// there already; it is not closed when another fails.
func (r *Registry) bindAt(ms []Mapping, port uint16, first *Bound, have int) ([]*Bound, error) {
	all := make([]*Bound, len(ms))
	for i, m := range ms {
		if i == have {
			all[i] = first
			continue
		}
		proposed := m.Host.Port() == 0
		if proposed {
			m.Host = netip.AddrPortFrom(m.Host.Addr(), port)
		}
		b, err := r.Bind(m)
		if err != nil {
			for j, b := range all[:i] {
				if j != have {
					b.Close()
				}
			}
			if proposed && errors.Is(err, ErrInUse) {
				err = &proposalError{err}
			}
			return nil, err
		}
		all[i] = b
	}
	return all, nil
}

// BindRange binds all of ms with the first port from first to last that is free
// on all of their addresses, and that this user may have; the ports in ms are not
// looked at. If there is none the error is that of the last one, and names who has it.
func (r *Registry) BindRange(ms []Mapping, first, last uint16) ([]*Bound, error) {
	if first == 0 || first > last {
		return nil, fmt.Errorf("%w: ports %d-%d are not a range", ErrMapping, first, last)
	}
	var err error
	for port := int(first); port <= int(last); port++ {
		try := make([]Mapping, len(ms))
		for i, m := range ms {
			m.Host = netip.AddrPortFrom(m.Host.Addr(), uint16(port))
			try[i] = m
		}
		var all []*Bound
		if all, err = r.BindAll(try); !errors.Is(err, ErrInUse) && !errors.Is(err, ErrPrivileged) {
			return all, err
		}
	}
	return nil, fmt.Errorf("all ports are allocated: no port from %d to %d is free: %w", first, last, err)
}

func closeAll(all []*Bound) {
	for _, b := range all {
		b.Close()
	}
}
