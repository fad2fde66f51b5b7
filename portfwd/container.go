package portfwd

import (
	"net/netip"
	"sync"

	"github.com/footbridge-net/footbridge/internal/kernelsplice"
	"github.com/footbridge-net/footbridge/internal/quota"
	"github.com/footbridge-net/footbridge/internal/share"
	"github.com/footbridge-net/footbridge/internal/turn"
)

// container is what the clients of one container's ports hold. containers.mu
// guards it.
type container struct {
	quota.Account[ContainerLimits]

	halfOpen, connections, flows int
	ports                        int // that are served

	pipes kernelsplice.Holder // has its own lock

	refused [numRefusals]uint64
}

// Idle reports whether nothing is held and no port is served.
func (c *container) Idle() bool { return c.halfOpen+c.connections+c.flows+c.ports == 0 }

// containers are those of one network.
type containers struct {
	halfOpen *share.Pool
	flows    *share.Pool

	mu  sync.Mutex
	all *quota.Table[*container, ContainerLimits]
}

// SetLimits bounds what clients of the container known by address a hold, until
// Release. What is over a lower limit stays until it ends. Zero fields are those
// of Options.
func (f *Forwarder) SetLimits(a netip.Addr, l ContainerLimits) {
	cs := &f.containers
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.all.SetLimits(a, l.or(f.limits.Container))
}

// Release forgets the limits of the container known by address a, and ends what was
// joined to it. Its Listeners are closed by whoever has them.
func (f *Forwarder) Release(a netip.Addr) {
	f.endJoined(a)
	cs := &f.containers
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.all.Release(a)
}

// serve notes that a port of the container with address a is served, which it is
// until over is called, and gives the container's turn.
func (cs *containers) serve(a netip.Addr) (t *turn.Turn, over func()) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.all.Of(a)
	c.ports++
	return c.Turn, func() {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		c.ports--
		cs.all.Forget(c)
	}
}

// refusal is which limit stands in a client's way.
type refusal int

const (
	let refusal = iota
	overHalfOpen
	overConnections
	overShare // of all containers' descriptors
	overFlows
	numRefusals
)

var refusalNames = [numRefusals]string{
	overHalfOpen: "half_open_limit", overConnections: "connections_limit", overShare: "descriptor_share", overFlows: "flows_limit",
}

// refuse counts a client of c that is not let in.
func (cs *containers) refuse(c *container, why refusal) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.refused[why]++
}

// Refused gives the clients that were not let in to the container known by address a, by
// the limit that was in their way: since its first port was published, or SetLimits was called.
func (f *Forwarder) Refused(a netip.Addr) map[string]uint64 {
	cs := &f.containers
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.all.Find(a)
	if c == nil {
		return nil
	}
	out := map[string]uint64{}
	for why, n := range c.refused {
		if n > 0 {
			out[refusalNames[why]] = n
		}
	}
	return out
}

// enter counts a connection to address a in, which waits for the container.
func (cs *containers) enter(a netip.Addr) (*container, refusal) { return cs.let(a, true) }

// enterInside counts a connection in that is made inside the container: those wait for a
// socket, not for the container, and any number of them may.
func (cs *containers) enterInside(a netip.Addr) (*container, refusal) { return cs.let(a, false) }

func (cs *containers) let(a netip.Addr, waits bool) (*container, refusal) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.all.Of(a)
	why := let
	switch {
	case waits && c.halfOpen >= c.Limits.HalfOpen:
		why = overHalfOpen
	case c.connections >= c.Limits.Connections:
		why = overConnections
	case waits && !cs.halfOpen.Take(c.halfOpen):
		why = overHalfOpen
	default:
		if waits {
			c.halfOpen++
		}
		c.connections++
	}
	if why != let {
		c.refused[why]++
	}
	cs.all.Forget(c)
	return c, why
}

// await is for a connection that was to be made inside, and is to wait for the container
// after all; false: too many do.
func (cs *containers) await(c *container) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.halfOpen >= c.Limits.HalfOpen || !cs.halfOpen.Take(c.halfOpen) {
		c.refused[overHalfOpen]++
		return false
	}
	c.halfOpen++
	return true
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
	cs.all.Forget(c)
}

// enterFlow counts a UDP flow to address a in, unless that is over a limit. The
// container is looked at by whoever holds Forwarder.mu: its flows come and go with
// that.
func (cs *containers) enterFlow(a netip.Addr) (*container, bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.all.Of(a)
	if c.flows >= c.Limits.Flows || !cs.flows.Take(c.flows) {
		cs.all.Forget(c)
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
	cs.all.Forget(c)
}
