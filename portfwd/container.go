package portfwd

import (
	"net/netip"
	"sync"

	"github.com/footbridge-net/footbridge/internal/share"
	"github.com/footbridge-net/footbridge/internal/turn"
)

// container is what the clients of one container's ports hold. containers.mu
// guards it.
type container struct {
	addr   netip.Addr // by which it is known
	limits ContainerLimits
	known  bool // SetLimits was called: it stays when nothing is held

	halfOpen, connections, flows int
	ports                        int // that are served

	turn *turn.Turn // for all that works for it
}

// containers are those of one network.
type containers struct {
	owner    func(netip.Addr) netip.Addr
	yield    func()
	limits   ContainerLimits
	halfOpen *share.Pool
	flows    *share.Pool

	mu  sync.Mutex
	all map[netip.Addr]*container
}

// of gives the container that has address a. The caller holds mu.
func (cs *containers) of(a netip.Addr) *container {
	a = cs.owner(a)
	c := cs.all[a]
	if c == nil {
		c = &container{addr: a, limits: cs.limits, turn: turn.New(cs.yield)}
		cs.all[a] = c
	}
	return c
}

// forget drops c if nothing is known of it. The caller holds mu.
func (cs *containers) forget(c *container) {
	if !c.known && c.halfOpen+c.connections+c.flows+c.ports == 0 && cs.all[c.addr] == c {
		delete(cs.all, c.addr)
	}
}

// SetLimits bounds what clients of the container known by address a hold, until
// Release. What is over a lower limit stays until it ends. Zero fields are those
// of Options.
func (f *Forwarder) SetLimits(a netip.Addr, l ContainerLimits) {
	cs := &f.containers
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.of(a)
	c.limits, c.known = l.or(cs.limits), true
}

// Release forgets the limits of the container known by address a, and ends what was
// joined to it. Its Listeners are closed by whoever has them.
func (f *Forwarder) Release(a netip.Addr) {
	f.endJoined(a)
	cs := &f.containers
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.all[a]; c != nil {
		c.known, c.limits = false, cs.limits
		cs.forget(c)
	}
}

// serve notes that a port of the container with address a is served, which it is
// until over is called, and gives the container's turn.
func (cs *containers) serve(a netip.Addr) (t *turn.Turn, over func()) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.of(a)
	c.ports++
	return c.turn, func() {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		c.ports--
		cs.forget(c)
	}
}

// refusal is which limit stands in a client's way.
type refusal int

const (
	let refusal = iota
	overHalfOpen
	overConnections
)

// enter counts a connection to address a in, which waits for the container.
func (cs *containers) enter(a netip.Addr) (*container, refusal) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.of(a)
	why := let
	switch {
	case c.halfOpen >= c.limits.HalfOpen:
		why = overHalfOpen
	case c.connections >= c.limits.Connections:
		why = overConnections
	case !cs.halfOpen.Take(c.halfOpen):
		why = overHalfOpen
	default:
		c.halfOpen++
		c.connections++
	}
	cs.forget(c)
	return c, why
}

// connected says that a connection does not wait any more.
func (cs *containers) connected(c *container) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.halfOpen--
	cs.halfOpen.Give()
}

// leave counts a connection out that does not wait.
func (cs *containers) leave(c *container) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.connections--
	cs.forget(c)
}

// enterFlow counts a UDP flow to address a in, unless that is over a limit. The
// container is looked at by whoever holds Forwarder.mu: its flows come and go with
// that.
func (cs *containers) enterFlow(a netip.Addr) (*container, bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.of(a)
	if c.flows >= c.limits.Flows || !cs.flows.Take(c.flows) {
		cs.forget(c)
		return c, false
	}
	c.flows++
	return c, true
}

func (cs *containers) leaveFlow(c *container) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.flows--
	cs.flows.Give()
	cs.forget(c)
}
