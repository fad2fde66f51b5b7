package plane

import (
	"net/netip"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/engine/plane/dhcp"
	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/stack"
)

// configuration is what a network's containers are told by protocol, where its Rules say
// so: by DHCP when they ask, and by router advertisements when they ask, when their port is
// new, and every dhcp.Interval.
type configuration struct {
	net    *stack.Network
	server *dhcp.Server
	beacon *beacon // nil without advertisements
}

// beacon does something again and again, until it is stopped.
type beacon struct {
	mu    sync.Mutex
	timer *time.Timer // nil when stopped
}

func newBeacon(every time.Duration, do func()) *beacon {
	b := &beacon{}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timer = time.AfterFunc(every, func() {
		do()
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.timer != nil {
			b.timer.Reset(every)
		}
	})
	return b
}

func (b *beacon) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
}

// configure serves DHCP and advertises the gateway, as the network's rules say.
func (p *Plane) configure() {
	o, g := &p.opts, p.net.Gateway()
	if !o.Rules.DHCP.On && !o.Rules.RA {
		return
	}
	d := dhcp.Options{
		Gateway4: o.gateway(true), Gateway6: o.gateway(false),
		GatewayMAC: g.MAC(), LinkLocal: g.LinkLocal(), MTU: o.MTU, Internal: o.Internal,
		DHCP: o.Rules.DHCP.On, Pool4: o.Rules.DHCP.Range4, Pool6: o.Rules.DHCP.Range6,
		First4: o.Rules.DHCP.First4, Last4: o.Rules.DHCP.Last4,
		DNS4: o.Rules.DNS.Addr4, DNS6: o.Rules.DNS.Addr6, NoDNS: o.Rules.DNS.Off,
	}
	c := &configuration{net: p.net, server: dhcp.New(d)}
	var ask stack.Configurer
	if o.Rules.DHCP.On {
		ask.DHCPv4 = c.ask(c.server.DHCPv4)
		ask.DHCPv6 = c.ask(c.server.DHCPv6)
	}
	if o.Rules.RA {
		ask.RouterSolicit = func(q stack.Question) {
			if to := q.Src; to.IsUnspecified() {
				c.advertise(q.Port, packet.MAC{}, packet.AllNodes)
			} else {
				c.advertise(q.Port, q.MAC, to)
			}
		}
		c.beacon = newBeacon(dhcp.Interval, c.advertiseAll)
	}
	p.config = c
	g.SetConfigurer(ask)
}

// ask gives questions to who answers them. That a device does not take the answer is as if
// the wire had lost it: clients ask again.
func (c *configuration) ask(answer func(dhcp.Question) (dhcp.Answer, bool)) func(stack.Question) {
	g := c.net.Gateway()
	return func(q stack.Question) {
		a, ok := answer(dhcp.Question{Endpoint: q.Port.MAC(), Station: q.MAC, Src: q.Src, Message: q.Message, Stations: q.Port})
		if ok {
			_ = g.SendFrom(a.Src, q.Port, a.MAC, a.Dst, a.Message)
		}
	}
}

func (c *configuration) advertise(to *stack.Port, mac packet.MAC, dst netip.Addr) {
	if message, ok := c.server.Advertisement(to.MAC()); ok {
		_ = c.net.Gateway().Advertise(to, mac, dst, message)
	}
}

func (c *configuration) advertiseAll() {
	for _, port := range c.net.Ports() {
		c.advertise(port, packet.MAC{}, packet.AllNodes)
	}
}

// add makes an endpoint known, before its port carries frames. It reports whether it is
// known by that, and not as another one with its MAC. c may be nil.
func (c *configuration) add(l Link) bool {
	if c == nil {
		return false
	}
	e := dhcp.Endpoint{MAC: packet.MAC(l.MAC), Hostname: l.Hostname, Search: l.Search, Nested: l.Guard.Nested, Lends: l.Guard.Sole}
	for _, a := range l.Addresses {
		if a.Addr().Is4() {
			e.Addr4 = a.Addr()
		} else {
			e.Addr6 = a.Addr()
		}
	}
	return c.server.Add(e)
}

// greet tells those behind a port that is new who their router is: what an earlier worker
// told them ends some day.
func (c *configuration) greet(port *stack.Port) {
	if c != nil && c.beacon != nil {
		c.advertise(port, packet.MAC{}, packet.AllNodes)
	}
}

// remove forgets the endpoint with that MAC. c may be nil.
func (c *configuration) remove(mac packet.MAC) {
	if c != nil {
		c.server.Remove(mac)
	}
}

func (c *configuration) close() {
	if c != nil && c.beacon != nil {
		c.beacon.stop()
	}
}
