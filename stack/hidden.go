package stack

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// How a network is without a gateway, in one family or in both: it is a switch between
// its containers. Nobody has a gateway's address there; nothing answers ping, nothing is
// told of by ICMP, and what is sent to the switch's own MAC is dropped. But names have to
// be asked somewhere: that is Options.Service4 and Service6, at the ports of ListenUDP and
// ListenTCP and for nothing else. A network with a gateway may have such an address besides: it
// is the gateway's then, answers ping, and services are found nowhere else.

// NoGatewayMAC is the switch's own Ethernet address on a network without a gateway: it
// follows from an address that no container has.
var NoGatewayMAC = packet.MACFromIPv4(netip.AddrFrom4([4]byte{0, 0, 0, 1}))

// findAddrs sets g's addresses from the network's options.
func (g *Gateway) findAddrs() {
	o := &g.net.opts
	for _, f := range []struct {
		gateway netip.Prefix
		service netip.Addr
	}{{o.Gateway4, o.Service4}, {o.Gateway6, o.Service6}} {
		if f.gateway.IsValid() {
			g.addrs = append(g.addrs, f.gateway.Addr())
		}
		if f.service.IsValid() {
			g.services = append(g.services, f.service)
		}
	}
	for _, a := range o.MoreServices {
		if !g.hidden(a.Is4()) {
			g.more = append(g.more, a)
		}
	}
	if g.net.subnet4.IsValid() {
		g.broadcast = lastOf(g.net.subnet4)
	}
}

// prefixes are g's addresses as netstack has them.
func (g *Gateway) prefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range []netip.Prefix{g.net.opts.Gateway4, g.net.opts.Gateway6} {
		if p.IsValid() {
			out = append(out, p)
		}
	}
	for _, a := range slices.Concat(g.services, g.more) {
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}

// hidden reports whether there is no gateway of a family.
func (g *Gateway) hidden(v4 bool) bool {
	if v4 {
		return !g.net.opts.Gateway4.IsValid()
	}
	return !g.net.opts.Gateway6.IsValid()
}

// serviceAddrs are where services are found: in each family at the service's own address, if
// it has one, and else at the gateway's.
func (g *Gateway) serviceAddrs() []netip.Addr {
	var out []netip.Addr
	for _, a := range g.addrs {
		if !slices.ContainsFunc(g.services, func(s netip.Addr) bool { return s.Is4() == a.Is4() }) {
			out = append(out, a)
		}
	}
	return slices.Concat(out, g.services, g.more)
}

// listensAt reports whether services are found at a.
func (g *Gateway) listensAt(a netip.Addr) bool {
	for _, s := range g.more {
		if s == a {
			return true
		}
	}
	for _, s := range g.services {
		if s == a {
			return true
		}
		if s.Is4() == a.Is4() {
			return false
		}
	}
	return true
}

// mute reports whether a packet is one that the address of services without any does not
// answer, not even by an error.
func (g *Gateway) mute(ip *packet.IP) bool {
	return g.net.opts.MuteServices && (ip.Proto == packet.ProtoUDP || ip.Proto == packet.ProtoTCP) && slices.Contains(g.services, ip.Dst)
}

// answers reports whether somebody has an address of the gateway's own: a service's only
// has somebody who listens.
func (g *Gateway) answers(a netip.Addr) bool {
	return !g.hidden(a.Is4()) || len(*g.udp.Load()) > 0 || len(*g.tcp.Load()) > 0
}

// serves reports whether a packet to the address of a service is for one. Fragments may be:
// that is seen when they have been put together.
func (g *Gateway) serves(ip *packet.IP, body []byte) bool {
	if ip.Fragment {
		return g.answers(ip.Dst)
	}
	t := body[ip.HeaderLen:ip.Len]
	switch ip.Proto {
	case packet.ProtoUDP:
		return (*g.udp.Load())[binary.BigEndian.Uint16(t[2:])] != nil
	case packet.ProtoTCP:
		return (*g.tcp.Load())[binary.BigEndian.Uint16(t[2:])]
	}
	return false
}
