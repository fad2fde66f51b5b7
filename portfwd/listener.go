package portfwd

import (
	"fmt"
	"net/netip"
	"sync"
)

// Listener is one published port that is being served.
type Listener struct {
	forwarder *Forwarder
	mapping   Mapping // Host as bound
	socket    *socket
	share     *share // of the owner
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

// Publish listens at exactly m.Host and leads what arrives to m.Container. A
// port that cannot be had gives ErrInUse, ErrPrivileged or ErrNotLocal with
// what to do about it in the text; a Mapping without sense gives ErrMapping.
func (f *Forwarder) Publish(m Mapping) (*Listener, error) {
	m.Host, m.Container, m.Other = unmap(m.Host), unmap(m.Container), unmap(m.Other)
	if err := f.check(m); err != nil {
		return nil, err
	}
	listen := listenTCP
	if m.Proto == "udp" {
		listen = listenUDP
	}
	s, share, err := f.registry.bind(m, listen)
	if err != nil {
		return nil, err
	}
	m.Host = s.addr
	l := &Listener{forwarder: f, mapping: m, socket: s, share: share}
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

func (f *Forwarder) check(m Mapping) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %v to %v/%s: %s", ErrMapping, m.Host, m.Container, m.Proto, fmt.Sprintf(format, args...))
	}
	host := m.Host.Addr()
	switch {
	case m.Proto != "tcp" && m.Proto != "udp":
		return bad("protocol %q cannot be published without privileges; use tcp or udp", m.Proto)
	case !host.IsValid():
		return bad("no address to listen at; use 0.0.0.0 or [::] for all")
	case host.IsMulticast() || host == broadcast4:
		return bad("the address to listen at must be unicast")
	}
	if m.Other.IsValid() {
		if err := f.checkTarget(m.Other, bad); err != nil {
			return err
		}
	}
	return f.checkTarget(m.Container, bad)
}

// checkTarget says by bad what is wrong with the container's side.
func (f *Forwarder) checkTarget(target netip.AddrPort, bad func(string, ...any) error) error {
	to, gateway := target.Addr(), f.gateway4
	if to.Is6() {
		gateway = f.gateway6
	}
	switch {
	case !to.IsValid() || to.IsUnspecified() || to.IsMulticast() || to.IsLoopback() || to.IsLinkLocalUnicast():
		// Never the container's loopback: what listens there is private to it.
		return bad("the container's address on its network is needed")
	case target.Port() == 0:
		return bad("the container's port must be from 1 to 65535")
	case len(f.subnets) > 0 && !f.inSubnet(to):
		return bad("the container's address is outside of the network's subnets %v", f.subnets)
	case !gateway.IsValid():
		return bad("the network has no %s gateway", family(to))
	}
	return nil
}

// Addr is the address that is listened at, with the real port.
func (l *Listener) Addr() netip.AddrPort { return l.mapping.Host }

// Mapping is what was published, with the real port.
func (l *Listener) Mapping() Mapping { return l.mapping }

// Close ends all connections and flows, waits for them and frees the port:
// when it returns the port can be bound again. Closing twice is harmless.
func (l *Listener) Close() error {
	l.closing.Do(func() {
		l.server.stop()
		l.err = l.forwarder.registry.release(l.mapping, l.socket)
		l.server.wait()
		l.forwarder.mu.Lock()
		delete(l.forwarder.listeners, l)
		l.forwarder.mu.Unlock()
	})
	return l.err
}
