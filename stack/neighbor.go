package stack

import (
	"net/netip"
	"slices"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// macOf gives the MAC of the address a, asked for by the port from.
func (n *Network) macOf(a netip.Addr, from *Port) (packet.MAC, bool) {
	if n.gateway.owns(a) {
		return n.gateway.mac, n.gateway.answers(a)
	}
	if h, ok := n.find(a); ok && h.port != from {
		return h.mac, true
	}
	return packet.MAC{}, false
}

// answerARP answers requests from what is known. Announcements and replies end
// here, nobody has to be told what the table says, but those about addresses that a
// Guard has added.
func (n *Network) answerARP(in *incoming) DropReason {
	a := in.arp
	claim := a.SenderIP == a.TargetIP
	if reason := n.heard(in, a.SenderIP, claim); reason != DropNone {
		return reason
	}
	switch {
	case claim:
		return DropNone
	case a.Op != packet.ARPRequest:
		return n.passReply(in, a.SenderIP)
	}
	mac, ok := n.macOf(a.TargetIP, in.port)
	if !ok {
		return n.ask(in, a.TargetIP)
	}
	return in.port.writePlain(packet.ARPFrame(in.source, packet.ARP{
		Op: packet.ARPReply, SenderMAC: mac, SenderIP: a.TargetIP,
		TargetMAC: in.source, TargetIP: a.SenderIP,
	}))
}

// answerICMPv6 takes the messages of neighbour and group discovery; others are
// not done here.
func (n *Network) answerICMPv6(in *incoming) (done bool, reason DropReason) {
	body := in.frame[packet.EthernetLen:]
	t := body[in.ip.HeaderLen:in.ip.Len]
	if len(t) < 4 {
		return true, DropMalformed
	}
	switch t[0] {
	case packet.NDNeighborSolicit:
		if !packet.TransportValid(body, &in.ip) {
			return true, DropMalformed
		}
		return true, n.answerSolicitation(in)
	case packet.NDNeighborAdvert:
		if !in.port.guard.extended() {
			return true, DropNone
		}
		if !packet.TransportValid(body, &in.ip) {
			return true, DropMalformed
		}
		claim := claims(t, &in.ip)
		if reason := n.heard(in, in.target, claim); reason != DropNone || claim {
			return true, reason
		}
		return true, n.passReply(in, in.target)
	case packet.NDRouterSolicit:
		return true, n.solicited(in, t)
	case packet.MLDQuery, packet.MLDReport, packet.MLDDone, packet.MLDv2Report:
		return true, DropMulticast
	}
	return false, DropNone
}

func (n *Network) answerSolicitation(in *incoming) DropReason {
	if reason := n.heard(in, in.ip.Src, false); reason != DropNone {
		return reason
	}
	mac, ok := n.macOf(in.target, in.port)
	if !ok {
		// For duplicate address detection silence is the good answer.
		if in.ip.Src.IsUnspecified() {
			return DropNone
		}
		return n.ask(in, in.target)
	}
	dst, dstMAC := in.ip.Src, in.source
	if dst.IsUnspecified() {
		dst, dstMAC = packet.AllNodes, packet.MulticastMAC(packet.AllNodes)
	}
	answer := packet.NeighborAdvertFrame
	if n.gateway.routes(in.target) {
		answer = packet.RouterNeighborAdvertFrame
	}
	return in.port.writePlain(answer(dstMAC, mac, dst, in.target))
}

// heard learns who sent the message, and tells the others when it claims an address
// that another station had.
func (n *Network) heard(in *incoming, a netip.Addr, claim bool) DropReason {
	p := in.port
	if !p.guard.extended() {
		return DropNone
	}
	if !claim || p.owns(a) || a == p.linkLocal {
		n.learn(p, in.source, a)
		return DropNone
	}
	if h, ok := n.find(a); ok && (h.port != p || h.mac != in.source) && !p.claims.take(time.Now(), claimRate) {
		return DropPaced
	}
	if n.learn(p, in.source, a) {
		n.tell(p, in.source, []netip.Addr{a})
	}
	return DropNone
}

// passReply gives an answer about an address that no table of the engine has to who
// asked for it.
func (n *Network) passReply(in *incoming, a netip.Addr) DropReason {
	if !in.port.may(a) || n.opts.NoICC { // then the gateway has asked
		return DropNone
	}
	to := n.findMAC(packet.Destination(in.frame))
	if to == nil || to == in.port { // the gateway, which has learned it by now
		return DropNone
	}
	in.parts = [2][]byte{in.hdr[:], in.frame}
	return to.write(in.queue, in.parts[:])
}

// ask passes a question on to those who, by their Guards, may have the address.
func (n *Network) ask(in *incoming, a netip.Addr) DropReason {
	ports := n.table.Load().extended
	if len(ports) == 0 {
		return DropUnknown
	}
	if n.opts.NoICC {
		n.seekFor(in.port, a) // who asks again is answered from the table
		return DropUnknown
	}
	if !in.port.mayFlood(time.Now(), len(ports)) {
		return DropPaced
	}
	in.parts = [2][]byte{in.hdr[:], in.frame}
	reason := DropUnknown
	for _, to := range ports {
		if to != in.port && to.may(a) {
			reason = to.write(in.queue, in.parts[:])
		}
	}
	return reason
}

// seekFor is seek for a port that has something for the station.
func (n *Network) seekFor(from *Port, a netip.Addr) {
	if n.possible(a) && from.asks.take(time.Now(), askRate) {
		n.seek(a)
	}
}

// seek lets the gateway ask for a station that it, or somebody, has something for.
func (n *Network) seek(a netip.Addr) {
	own, ok := n.gateway.addr(a.Is4())
	if !ok { // without a gateway: a probe (RFC 5227), and the switch's link-local address
		own = n.gateway.mac.LinkLocal()
		if a.Is4() {
			own = netip.IPv4Unspecified()
		}
	}
	for _, to := range n.table.Load().extended {
		if !to.may(a) || !to.seeks.take(time.Now(), seekRate) {
			continue
		}
		if a.Is6() {
			to.writePlain(packet.NeighborSolicitFrame(n.gateway.mac, own, a))
			continue
		}
		to.writePlain(packet.ARPFrame(packet.Broadcast, packet.ARP{
			Op: packet.ARPRequest, SenderMAC: n.gateway.mac, SenderIP: own, TargetIP: a,
		}))
	}
}

// tell tells all others that the addresses are at p's MAC m now: they may remember
// who had them before. Where ports are kept apart only those have to know who may
// reach p, at its own addresses: nobody reaches what it has by its Guard.
func (n *Network) tell(p *Port, m packet.MAC, addrs []netip.Addr) {
	if n.opts.NoICC {
		addrs = slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return !p.owns(a) })
	}
	var frames [][]byte
	for _, a := range addrs {
		if a.Is4() {
			frames = append(frames, packet.ARPFrame(packet.Broadcast, packet.ARP{
				Op: packet.ARPRequest, SenderMAC: m, SenderIP: a, TargetIP: a,
			}))
		} else {
			frames = append(frames, packet.NeighborAdvertFrame(
				packet.MulticastMAC(packet.AllNodes), m, packet.AllNodes, a))
		}
	}
	for _, to := range n.table.Load().ports {
		if to == p || n.opts.NoICC && !n.exceptions.between(p, to) {
			continue
		}
		for _, f := range frames {
			to.writePlain(f)
		}
	}
}
