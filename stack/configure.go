package stack

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// Question is what a station asks its network to be configured: a message to a DHCP
// server, or a router solicitation. The guard has judged it: MAC is the port's, or one
// that its Guard lets it have, and Src an address of the port, or none.
//
//	station --frame--> guard --> Configurer --Gateway.SendFrom, .Advertise--> its port
//
// It goes nowhere else: no other container sees who asks.
type Question struct {
	Port *Port
	MAC  packet.MAC // of the station that asks
	Src  netip.Addr // unspecified: it has none yet
	// Message is the DHCP message; nil for a router solicitation. It is valid only
	// until the function that was given the Question returns.
	Message []byte
}

// Configurer takes questions. Functions are called on the goroutine that reads a
// container's device, and must not wait. For nil ones nobody is there: questions are
// treated as any other packet, and dropped where they come from no address.
type Configurer struct {
	DHCPv4, DHCPv6, RouterSolicit func(Question)
}

// questionRate is how often a port is heard that asks to be configured: 64 machines behind
// it that start at once, with three questions each, wait for two seconds at most. One
// answer costs some 20 us.
var questionRate = rate{perSecond: 50, burst: 100}

// SetConfigurer says who configures the stations of the network.
func (g *Gateway) SetConfigurer(c Configurer) { g.configurer.Store(&c) }

// LinkLocal gives the gateway's own link-local address, by which routers are known
// (RFC 4861 6.1.2); invalid where there is no gateway for IPv6.
func (g *Gateway) LinkLocal() netip.Addr { return g.linkLocal }

// asksDHCP reports whether the frame of a station without an address is a message to a
// DHCP server (RFC 2131 4.1) that somebody here takes.
func (in *incoming) asksDHCP(body []byte) bool {
	g, ip := in.port.net.gateway, &in.ip
	t := body[ip.HeaderLen:ip.Len]
	_, has4 := g.addr(true)
	return has4 && ip.Src.IsUnspecified() && ip.Dst == limitedBroadcast && ip.Proto == packet.ProtoUDP && !ip.Fragment &&
		len(t) >= packet.UDPLen && binary.BigEndian.Uint16(t) == dhcpClient && binary.BigEndian.Uint16(t[2:]) == dhcpServer &&
		g.configurer.Load().DHCPv4 != nil
}

// configure gives messages to a DHCP server to who takes them; others are not done here.
func (n *Network) configure(in *incoming, h vnet.Header) (done bool, reason DropReason) {
	c, g, ip := n.gateway.configurer.Load(), n.gateway, &in.ip
	if (c.DHCPv4 == nil && c.DHCPv6 == nil) || ip.Proto != packet.ProtoUDP || ip.Fragment {
		return false, DropNone
	}
	body := in.frame[packet.EthernetLen:][:ip.Len]
	var take func(Question)
	switch to := binary.BigEndian.Uint16(body[ip.HeaderLen+2:]); { // the guard has seen that there is a header
	case to == dhcpServer && ip.Dst.Is4() && (g.isBroadcast(ip.Dst) || g.owns(ip.Dst)):
		take = c.DHCPv4
	case to == dhcpv6Server && ip.Dst == packet.AllDHCPServers: // servers take others only by their leave (RFC 8415 18.4)
		take = c.DHCPv6
	}
	if take == nil {
		return false, DropNone
	}
	if h.GSOType != vnet.GSONone || !packet.HeaderValid(body, ip) ||
		(h.Flags&(vnet.NeedsCsum|vnet.DataValid) == 0 && !packet.TransportValid(body, ip)) {
		return true, DropMalformed
	}
	_, _, message, err := packet.ParseUDP(body[ip.HeaderLen:], ip)
	if err != nil {
		return true, DropMalformed
	}
	return true, in.question(take, message)
}

// solicited takes a router solicitation.
func (n *Network) solicited(in *incoming, t []byte) DropReason {
	c, g := n.gateway.configurer.Load(), n.gateway
	if c.RouterSolicit == nil || (in.ip.Dst != packet.AllRouters && in.ip.Dst != g.linkLocal) {
		return DropMulticast
	}
	mac, hasMAC, err := packet.ParseRouterSolicit(t, &in.ip)
	switch {
	case err != nil || !packet.TransportValid(in.frame[packet.EthernetLen:], &in.ip):
		return DropMalformed
	case hasMAC && mac != in.source:
		return DropNeighbor
	}
	if reason := n.heard(in, in.ip.Src, false); reason != DropNone {
		return reason
	}
	return in.question(c.RouterSolicit, nil)
}

func (in *incoming) question(take func(Question), message []byte) DropReason {
	if !in.port.questions.take(time.Now(), questionRate) {
		return DropPaced
	}
	take(Question{Port: in.port, MAC: in.source, Src: in.ip.Src, Message: message})
	return DropNone
}

// SendFrom gives the station with that MAC behind a port a datagram of the gateway, whoever
// has the address that it is for; nobody may have it yet. It returns ENOBUFS when the
// device does not take it.
func (g *Gateway) SendFrom(src netip.AddrPort, p *Port, mac packet.MAC, dst netip.AddrPort, payload []byte) error {
	if len(payload) > maxUDP(dst.Addr()) {
		return errTooLong
	}
	if p.writePlain(packet.UDPFrame(mac, g.mac, src, dst, payload)) != DropNone {
		return errDevice
	}
	return nil
}

// Advertise gives a port an ICMPv6 message of the gateway as its router, without a
// checksum: to a station with that MAC, or to all behind it where dst is a group. It
// returns ENOBUFS when the device does not take it.
func (g *Gateway) Advertise(p *Port, mac packet.MAC, dst netip.Addr, message []byte) error {
	if dst.IsMulticast() {
		mac = packet.MulticastMAC(dst)
	}
	if p.writePlain(packet.RouterMessageFrame(mac, g.mac, g.linkLocal, dst, message)) != DropNone {
		return errDevice
	}
	return nil
}

// MAC gives the port's own MAC.
func (p *Port) MAC() packet.MAC { return p.mac }

// Free reports whether a station of that MAC behind the port may have the address: its
// Guard allows it, and no other station has it.
func (p *Port) Free(mac packet.MAC, a netip.Addr) bool {
	if !p.may(a) || mac != p.mac && !p.mayMAC(mac) {
		return false
	}
	h, ok := p.net.find(a)
	return !ok || h == (hop{p, mac})
}

// Lend lets the station of that MAC behind the port have the address until then, however
// silent it is: nobody else may take it, nor the MAC, by which its neighbours know it. The
// address must be Free.
func (p *Port) Lend(mac packet.MAC, a netip.Addr, until time.Time) {
	now := time.Now()
	p.net.touch(p, mac, a, now)
	if mac != p.mac {
		p.net.touch(p, mac, netip.Addr{}, now)
	}
	t := &p.net.stations
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.addrs[a]; s != nil && s.port == p && s.mac == mac {
		s.lent.Store(until.UnixNano())
		t.lendMAC(p, mac)
	}
}

// lendMAC lets the station have its MAC as long as any of its addresses; t.mu is held.
func (t *stations) lendMAC(p *Port, mac packet.MAC) {
	own := t.macs[mac]
	if own == nil || own.port != p {
		return
	}
	var until int64
	for _, s := range t.addrs {
		if s.port == p && s.mac == mac {
			until = max(until, s.lent.Load())
		}
	}
	own.lent.Store(until)
}

// TakeBack ends what Lend did, and forgets who had the address.
func (p *Port) TakeBack(mac packet.MAC, a netip.Addr) {
	t := &p.net.stations
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.addrs[a]; s != nil && s.port == p && s.mac == mac {
		t.delete(s)
		t.lendMAC(p, mac)
	}
}

// Ports gives the ports that are on the network now.
func (n *Network) Ports() []*Port { return slices.Clone(n.table.Load().ports) }
