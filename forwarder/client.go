package forwarder

import (
	"context"
	"net/netip"
	"sync/atomic"

	"github.com/footbridge-net/footbridge/internal/quota"
)

// client is what is known of one container. Forwarder.mu guards it.
type client struct {
	quota.Account[Limits]

	halfOpen, tcp, udp, echo int
	refused                  [numRefusals]uint64

	measures pace // of paths' MTUs

	// remembered counts the addresses that its mappings remember.
	remembered atomic.Int64

	// ctx ends when the container is released; connections hang on it.
	ctx    context.Context
	cancel context.CancelFunc
}

// flows is how many flows the client has, each with a descriptor.
func (c *client) flows() int { return c.halfOpen + c.tcp + c.udp + c.echo }

// Idle reports whether it has no flow.
func (c *client) Idle() bool { return c.flows() == 0 }

// newClient makes a client of a container that had none.
func (f *Forwarder) newClient() *client {
	c := &client{}
	c.ctx, c.cancel = context.WithCancel(f.ctx)
	return c
}

// forget drops the client if nothing of it is left. The caller holds mu.
func (f *Forwarder) forget(c *client) {
	if f.clients.Forget(c) {
		c.cancel()
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
	f.clients.SetLimits(a, l.or(f.limits))
}

// ReleaseAddr ends all flows of the container known by address a, and forgets
// its limits. It does not wait for connections, which are reset.
func (f *Forwarder) ReleaseAddr(a netip.Addr) {
	f.mu.Lock()
	c := f.clients.Remove(a)
	if c == nil {
		f.mu.Unlock()
		return
	}
	c.cancel()
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
