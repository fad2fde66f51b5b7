package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync/atomic"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/fdstore"
	"github.com/footbridge-net/footbridge/portfwd"
	"github.com/footbridge-net/footbridge/tap"
)

// Published is a published port to be: a mapping, and the network over which it
// leads to its container. What is published together may lead over several.
type Published struct {
	Plane *Plane
	portfwd.Mapping
	// Namespaces are the container's, which stay the caller's. With them, TCP clients on
	// the host's loopback are joined to it by sockets inside, unless the network has
	// NoSplice.
	Namespaces tap.Namespaces
}

// Listener is a published port.
type Listener struct {
	plane  *Plane
	id     factID
	bound  *portfwd.Bound
	inside []netip.Addr // stocks that it has
	closed atomic.Bool
}

// Publish publishes all of ps or none: with the host ports that they have, or
// with the first port from first to last that is free for all of them when first
// is not 0. A host port 0 is one free port for all. The listeners come in ps's
// order.
func (s *Supervisor) Publish(ps []Published, first, last uint16) ([]*Listener, error) {
	ms := make([]portfwd.Mapping, len(ps))
	for i, p := range ps {
		if p.Plane.spec.Internal {
			return nil, fmt.Errorf("network %s is internal: nothing can be published on it", p.Plane.spec.Name)
		}
		ms[i] = p.Mapping
	}
	bound, err := s.bind(ms, first, last)
	if err != nil {
		return nil, err
	}
	var out []*Listener
	for i, b := range bound {
		l, err := ps[i].Plane.serve(b, ps[i].Namespaces)
		if err != nil {
			for _, l := range out {
				err = errors.Join(err, l.Close())
			}
			for _, b := range bound[i:] {
				err = errors.Join(err, b.Close())
			}
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

// bind takes the sockets out of the store where it has them all, else it binds.
func (s *Supervisor) bind(ms []portfwd.Mapping, first, last uint16) ([]*portfwd.Bound, error) {
	if first == 0 && s.opts.Store != nil {
		if bound, ok := s.adopt(ms); ok {
			return bound, nil
		}
	}
	if first != 0 {
		return s.registry.BindRange(ms, first, last)
	}
	return s.registry.BindAll(ms)
}

func (s *Supervisor) adopt(ms []portfwd.Mapping) (bound []*portfwd.Bound, ok bool) {
	for _, m := range ms {
		h, ok := s.opts.Store.Get(socketName(m))
		if ok {
			var b *portfwd.Bound
			var err error
			if b, err = s.registry.Adopt(m, h); err == nil {
				bound = append(bound, b)
				continue
			}
			if !errors.Is(err, portfwd.ErrInUse) { // else it is one that is served, and no leftover
				s.log.Warn("stored listener not used", "listener", socketName(m), "error", err)
				s.logged(s.opts.Store.Remove(socketName(m)))
			}
		}
		for _, b := range bound {
			s.logged(b.Close())
			s.logged(s.opts.Store.Remove(socketName(b.Mapping())))
		}
		return nil, false
	}
	return bound, len(bound) > 0
}

// socketName is what a published port is called in the store.
func socketName(m portfwd.Mapping) string {
	return fdstore.Name(storeOwner, "port", m.Proto, m.Host.Addr().String(), strconv.Itoa(int(m.Host.Port())))
}

func (p *Plane) serve(b *portfwd.Bound, ns tap.Namespaces) (_ *Listener, err error) {
	l := &Listener{plane: p, bound: b}
	if b.Mapping().Proto == "tcp" && ns.Net != nil && !p.spec.Rules.NoSplice {
		l.keepStocks(ns)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.letStocks())
		}
	}()
	body, err := json.Marshal(serveBody{p.spec.ID, b.Mapping()})
	if err != nil {
		return nil, err
	}
	h, err := b.Handle().Dup()
	if err != nil {
		return nil, err
	}
	name := socketName(b.Mapping())
	f := &fact{factID: factID{kindServe, name}, body: body, handles: []*fdpass.Handle{h}, stored: []string{name}}
	if err := p.s.put(f); err != nil {
		return nil, err
	}
	l.id = f.factID
	p.add(l)
	return l, nil
}

// keepStocks has sockets made inside the container for both addresses that the listener
// leads to. Without them its clients go by the gateway.
func (l *Listener) keepStocks(ns tap.Namespaces) {
	m := l.bound.Mapping()
	for _, to := range []netip.AddrPort{m.Container, m.Other} {
		if !to.IsValid() {
			continue
		}
		if err := l.plane.keepStock(to.Addr(), ns); err != nil {
			l.plane.s.logged(err)
			continue
		}
		l.inside = append(l.inside, to.Addr())
	}
}

func (l *Listener) letStocks() (err error) {
	for _, a := range l.inside {
		err = errors.Join(err, l.plane.letStock(a))
	}
	return err
}

// Addr is the host's address with the real port.
func (l *Listener) Addr() netip.AddrPort { return l.bound.Mapping().Host }

// Close ends the published port and what goes through it; the port is free then.
func (l *Listener) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.plane.remove(l)
	return errors.Join(l.plane.s.drop(l.id), l.letStocks(), l.bound.Close())
}
