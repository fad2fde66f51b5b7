package portfwd

import (
	"context"
	"errors"
	"net/netip"
	"syscall"

	"github.com/footbridge-net/footbridge/internal/kernelsplice"
)

// joins reports whether a client is joined to the container inside the kernel: it is on the
// host's loopback, and so has no address that the container could be shown.
func (s *tcpServer) joins(client netip.AddrPort) bool {
	f := s.l.forwarder
	return client.Addr().IsLoopback() && f.stock(s.l.mapping.Container.Addr()) != nil && (f.hairpin == nil || !f.hairpin(client))
}

// serveInside serves a client of c by a socket inside the container; by netstack, as its
// n-th connection, if there are none any more.
func (s *tcpServer) serveInside(fd int, client netip.AddrPort, c *container, n int) {
	l, f := s.l, s.l.forwarder
	// The socket inside is a descriptor, too.
	if _, ok := f.budget.enter(l.mapping.Owner); !ok {
		l.counters.dropConnections.Add(1)
		f.containers.refuse(c, overShare)
		l.counters.halfOpen.Add(-1)
		reset(fd)
		return
	}
	defer f.budget.leave(l.mapping.Owner)
	st, inner, err := s.connect(l.mapping.Container)
	if other := l.mapping.Other; errors.Is(err, syscall.ECONNREFUSED) && other.IsValid() {
		st, inner, err = s.connect(other)
		if errors.Is(err, errNoStock) {
			err = syscall.ECONNREFUSED
		}
	}
	if errors.Is(err, errNoStock) && f.containers.await(c) {
		s.serve(fd, client, c, n)
		return
	}
	l.counters.halfOpen.Add(-1)
	if err != nil {
		s.failed(client, err)
		reset(fd)
		return
	}
	l.counters.active.Add(1)
	defer l.counters.active.Add(-1)
	l.counters.spliced.Add(1)
	host, err := kernelsplice.NewSocket(fd) // closes it when it fails
	var moved int64
	if err == nil {
		moved, err = kernelsplice.Relay(s.ctx, host, inner, kernelsplice.Options{Pipes: f.budget.pipes, Holder: &c.pipes, Turn: l.turn})
		if err != nil {
			host.Reset()
		} else {
			host.Close()
			err = inner.Closed(s.ctx)
			if err != nil {
				inner.Reset()
				st.lost()
				return
			}
		}
	}
	// What is not over is reset.
	if err := inner.Disconnect(moved); err != nil {
		inner.Reset()
		st.lost()
		return
	}
	st.give(inner)
}

// connectTries bounds how many sockets are tried for one client. One that has the very port
// that it is to connect to, or whose last connection still stands in the way (the
// container has turned timestamps off), says nothing about the next.
const connectTries = 3

// connect connects a socket inside the container to one of its own addresses.
func (s *tcpServer) connect(to netip.AddrPort) (st *Stock, inner *kernelsplice.Socket, err error) {
	f := s.l.forwarder
	if st = f.stock(to.Addr()); st == nil {
		return nil, nil, errNoStock
	}
	ctx, cancel := context.WithTimeout(s.ctx, f.limits.DialTimeout)
	defer cancel()
	for range connectTries {
		if inner, err = st.take(ctx); err != nil {
			return nil, nil, err
		}
		err = inner.Connect(ctx, to, s.l.turn)
		switch {
		case err == nil:
			return st, inner, nil
		case errors.Is(err, syscall.ECONNREFUSED) && inner.Disconnect(0) == nil:
			st.give(inner)
			return nil, nil, err
		}
		inner.Reset()
		st.lost()
		if !errors.Is(err, kernelsplice.ErrOwnPort) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			break
		}
	}
	return nil, nil, err
}
