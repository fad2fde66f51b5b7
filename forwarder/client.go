package forwarder

import (
	"context"
	"net/netip"
	"sync/atomic"

	"github.com/footbridge-net/footbridge/internal/turn"
)

// client is what is known of one container. Forwarder.mu guards it.
type client struct {
	addr   netip.Addr // by which it is known
	limits Limits
	// known: SetLimits was called; it stays without flows.
	known                    bool
	halfOpen, tcp, udp, echo int
	refused                  [numRefusals]uint64

	turn *turn.Turn // for all that works for it

	measures pace // of paths' MTUs

	// remembered counts the addresses that its mappings remember.
	remembered atomic.Int64

	// ctx ends when the container is released; connections hang on it.
	ctx    context.Context
	cancel context.CancelFunc
}

// flows is how many flows the client has, each with a descriptor.
func (c *client) flows() int { return c.halfOpen + c.tcp + c.udp + c.echo }

// clientOf gives the client that has address a. The caller holds mu.
func (f *Forwarder) clientOf(a netip.Addr) *client {
	a = f.owner(a)
	c := f.clients[a]
	if c == nil {
		c = &client{addr: a, limits: f.limits, turn: turn.New(f.yield)}
		c.ctx, c.cancel = context.WithCancel(f.ctx)
		f.clients[a] = c
	}
	return c
}

// forget drops the client if nothing of it is left. The caller holds mu.
func (f *Forwarder) forget(c *client) {
	if !c.known && c.flows() == 0 && f.clients[c.addr] == c {
		c.cancel()
		delete(f.clients, c.addr)
	}
}

// SetLimits bounds the flows of the container known by address a, now and until
// ReleaseAddr. Flows over a lower limit go on; new ones are refused. Zero fields
// are those of Options.
func (f *Forwarder) SetLimits(a netip.Addr, l Limits) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	c := f.clientOf(a)
	c.limits, c.known = l.or(f.limits), true
}

// ReleaseAddr ends all flows of the container known by address a, and forgets
// its limits. It does not wait for connections, which are reset.
func (f *Forwarder) ReleaseAddr(a netip.Addr) {
	f.mu.Lock()
	c := f.clients[a]
	if c == nil {
		f.mu.Unlock()
		return
	}
	c.cancel()
	delete(f.clients, a)
	var ended []closer
	for k, m := range f.mappings {
		if m.client == c {
			ended = append(ended, f.dropMapping(k, m))
		}
	}
	for k, p := range f.pings {
		if p.client == c {
			ended = append(ended, f.dropPing(k, p))
		}
	}
	f.mu.Unlock()
	f.end(ended)
}
