package portfwd

import (
	"errors"
	"net/netip"
	"sync"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/turn"
)

// Listener is one published port that is being served.
type Listener struct {
	forwarder *Forwarder
	mapping   Mapping
	socket    *socket
	turn      *turn.Turn // of the container
	over      func()     // says that the port is not served any more
	server    server
	counters  counters

	closing sync.Once
	err     error
}

// server is what a Listener does with what arrives.
type server interface {
	// run serves until stop; it ends by itself only when the socket is closed.
	run()
	// stop begins the end. Afterwards the socket is closed.
	stop()
	// wait returns when nothing of the server runs any more.
	wait()
}

// Serve takes over h, the socket that a Registry has bound for m, and leads what
// arrives there to m.Container. m.Host has the real port. A Mapping without sense
// on this network gives ErrMapping, a socket that is not m's ErrSocket; h is
// closed then.
func (f *Forwarder) Serve(m Mapping, h *fdpass.Handle) (*Listener, error) {
	m = m.plain()
	err := m.check()
	if err == nil {
		err = f.checkNetwork(m)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	s, err := newSocket(m, h)
	if err != nil {
		return nil, err
	}
	l := &Listener{forwarder: f, mapping: m, socket: s}
	l.turn, l.over = f.containers.serve(m.Container.Addr())
	if m.Proto == "udp" {
		l.server = newUDPServer(l)
	} else {
		l.server = newTCPServer(l)
	}
	l.server.run()
	f.mu.Lock()
	closed := f.closed
	if !closed {
		f.listeners[l] = struct{}{}
	}
	f.mu.Unlock()
	if closed {
		l.Close()
		return nil, ErrClosed
	}
	return l, nil
}

// Addr is the address that is served.
func (l *Listener) Addr() netip.AddrPort { return l.mapping.Host }

// Mapping is what is served.
func (l *Listener) Mapping() Mapping { return l.mapping }

// Close ends all connections and flows, waits for them and closes the socket.
// The port is free when the Bound that it came from is closed too. Closing twice
// is harmless.
func (l *Listener) Close() error {
	l.closing.Do(func() {
		l.server.stop()
		l.err = l.socket.file.Close()
		l.server.wait()
		l.over()
		l.forwarder.mu.Lock()
		delete(l.forwarder.listeners, l)
		l.forwarder.mu.Unlock()
	})
	return l.err
}
