package plane

import (
	"net/netip"
	"slices"

	"github.com/footbridge-net/footbridge/forwarder"
	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/stack"
)

// hostPort says which ports of the gateway's own addresses lead to the host's loopback:
// those of Rules.HostPorts and, unless the network is internal, those that are published
// at all addresses; nil for none. It takes no lock and does not allocate.
func (o *Options) hostPort() func(proto uint8, at netip.AddrPort) bool {
	published := o.Published
	if o.Internal || o.Rules.NoHost {
		published = nil
	}
	if len(o.Rules.HostPorts) == 0 && published == nil {
		return nil
	}
	// A bit a port: the question is asked for every SYN to the gateway.
	var tcp, udp [1 << 16 / 64]uint64
	for _, r := range o.Rules.HostPorts {
		open := &tcp
		if r.Proto == "udp" {
			open = &udp
		}
		for port := int(r.First); port <= int(r.Last); port++ {
			if port != dnsPort || o.Rules.DNS.Addr4.IsValid() {
				open[port/64] |= 1 << (port % 64)
			}
		}
	}
	addrs := o.gateways()
	return func(proto uint8, at netip.AddrPort) bool {
		open := &tcp
		if proto == packet.ProtoUDP {
			open = &udp
		}
		if open[at.Port()/64]&(1<<(at.Port()%64)) == 0 && !published.has(proto, at.Addr().Is4(), at.Port()) {
			return false
		}
		return slices.Contains(addrs, at.Addr())
	}
}

// newForwarder makes who carries flows to the outside, of which an internal network has
// none, and to the host's opened ports.
func (p *Plane) newForwarder() *forwarder.Forwarder {
	g := p.net.Gateway()
	allow := p.opts.Allow
	if p.opts.Internal {
		allow = func(netip.Addr) bool { return false }
	}
	way := p.opts.Rules.Outbound
	var hairpins forwarder.Hairpins
	if p.opts.Published != nil {
		hairpins = &p.opts.Published.hairpins
	}
	return forwarder.New(forwarder.Options{
		Gateway: g, Allow: allow, HostPort: p.opts.hostPort(), NoHost: p.opts.Rules.NoHost, Hairpins: hairpins,
		Outbound: forwarder.Outbound{Addr4: way.Addr4, Addr6: way.Addr6, Device: way.Device},
		Owner:    g.Owner, Yield: g.Yield, Logger: p.opts.Logger,
	})
}

// connectHost gives an internal network the host's ports that were opened on it, and
// nothing else.
func (p *Plane) connectHost() {
	if len(p.opts.Rules.HostPorts) == 0 {
		return
	}
	p.out = p.newForwarder()
	p.net.Gateway().SetHandlers(stack.Handlers{
		TCP: p.out.HandleTCP, UDP: p.out.HandleDatagram, OwnTCP: p.out.TakesTCP, OwnOnly: true,
	})
}
