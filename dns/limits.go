package dns

import (
	"net/netip"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/internal/quota"
	"github.com/footbridge-net/footbridge/internal/share"
)

// Limits bound what containers may use up. A zero field has the default.
type Limits struct {
	// Client are those of each container that has none of its own; see
	// Server.SetLimits.
	Client ClientLimits
	// Forwards is the number of questions that may wait for the upstream at the same
	// time. One more is REFUSED. Default 1024, Docker's figure; each is a
	// goroutine and a socket. It is shared as package share says, as is
	// Connections.
	Forwards int
	// Connections is the number of open TCP connections; one more is reset
	// at once. Default 256.
	Connections int
	// Pipeline is the number of forwarded questions of one connection that may
	// be under way; beyond it the connection isn't read from. Default 32.
	Pipeline int
	// Idle is how long a connection may stay without a complete question, and
	// how long one may take to arrive. Default 10 s (RFC 7766, 6.2.3: "of
	// the order of a few seconds").
	Idle time.Duration
	// Write is how long a client may take to accept an answer. Default 5 s.
	Write time.Duration
}

// ClientLimits bound what one container may use up, whatever its addresses. A
// zero field has the default.
//
// Questions in a second are not bounded: those about containers are answered at
// once, for less than any other packet costs, and those under way bound the
// others.
type ClientLimits struct {
	// Forwards is Limits.Forwards for the container. Default 256: a browser has
	// some ten under way, a crawler or mail server a hundred.
	Forwards int
	// Connections is Limits.Connections for the container. Default 16: a
	// stub resolver has one or two.
	Connections int
}

func (l Limits) withDefaults() Limits {
	l.Client = l.Client.or(ClientLimits{Forwards: 256, Connections: 16})
	def(&l.Forwards, 1024)
	def(&l.Connections, 256)
	def(&l.Pipeline, 32)
	def(&l.Idle, 10*time.Second)
	def(&l.Write, 5*time.Second)
	return l
}

// or gives l with zero fields taken from d.
func (l ClientLimits) or(d ClientLimits) ClientLimits {
	def(&l.Forwards, d.Forwards)
	def(&l.Connections, d.Connections)
	return l
}

func def[T int | time.Duration](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}

// client is what one container uses. clients.mu guards it.
type client struct {
	quota.Account[ClientLimits]

	forwards, connections int
	refused               uint64
}

// Idle reports whether it uses nothing.
func (c *client) Idle() bool { return c.forwards+c.connections == 0 }

// clients are those of one network.
type clients struct {
	forwards    *share.Pool
	connections *share.Pool

	mu  sync.Mutex
	all *quota.Table[*client, ClientLimits]
}

// takeForward counts a question in that is to be forwarded for a, with a socket of
// sockets; nil is over a limit.
func (cs *clients) takeForward(a netip.Addr, sockets *share.Pool) *client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.all.Of(a)
	ok := c.forwards < c.Limits.Forwards && cs.forwards.Take(c.forwards)
	if ok && !sockets.Take(c.forwards) {
		cs.forwards.Give()
		ok = false
	}
	if !ok {
		c.refused++
		cs.all.Forget(c)
		return nil
	}
	c.forwards++
	return c
}

func (cs *clients) giveForward(c *client, sockets *share.Pool) {
	sockets.Give()
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.forwards--
	cs.forwards.Give()
	cs.all.Forget(c)
}

// takeConnection counts a connection of a in; nil is over a limit.
func (cs *clients) takeConnection(a netip.Addr) *client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.all.Of(a)
	if c.connections >= c.Limits.Connections || !cs.connections.Take(c.connections) {
		c.refused++
		cs.all.Forget(c)
		return nil
	}
	c.connections++
	return c
}

func (cs *clients) giveConnection(c *client) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.connections--
	cs.connections.Give()
	cs.all.Forget(c)
}

// SetLimits bounds what the container known by address a may use up, until
// Release. What is over a lower limit goes on until it ends. Zero fields are
// those of Options.
func (s *Server) SetLimits(a netip.Addr, l ClientLimits) {
	cs := &s.clients
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.all.SetLimits(a, l.or(s.limits.Client))
}

// Release forgets the limits of the container known by address a.
func (s *Server) Release(a netip.Addr) {
	cs := &s.clients
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.all.Release(a)
}

// ClientStats are what one container uses now, and how often it was refused
// more: since SetLimits, or else since it last used nothing.
type ClientStats struct {
	Forwards, Connections int
	Refused               uint64
}

// StatsOf gives the counters of the container known by address a.
func (s *Server) StatsOf(a netip.Addr) ClientStats {
	cs := &s.clients
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.all.Find(a)
	if c == nil {
		return ClientStats{}
	}
	return ClientStats{Forwards: c.forwards, Connections: c.connections, Refused: c.refused}
}
