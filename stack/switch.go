package stack

import (
	"net/netip"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// forward carries a frame from its port to where it belongs.
func (n *Network) forward(in *incoming) DropReason {
	frame := in.frame
	if len(frame) < packet.EthernetLen {
		return DropMalformed
	}
	etherType := packet.EtherType(frame)
	h := vnet.Decode(in.hdr)
	if h.Check(len(frame), etherType) != nil {
		return DropHeader
	}
	if reason := in.guard(etherType); reason != DropNone {
		return reason
	}
	if etherType == packet.TypeARP {
		return n.answerARP(in)
	}
	if !in.segmentable(h) {
		return DropHeader
	}
	if etherType == packet.TypeIPv6 && in.ip.Proto == packet.ProtoICMPv6 && in.ip.IsFirst() {
		if done, reason := n.answerICMPv6(in); done {
			return reason
		}
	}
	dst := packet.Destination(frame)
	switch {
	case dst == n.gateway.mac:
		return n.gateway.input(in, h)
	case dst.IsMulticast():
		return n.flood(in)
	}
	to := n.table.Load().byMAC[dst]
	if to == nil || to == in.port {
		return DropUnknown
	}
	in.parts = [2][]byte{in.hdr[:], frame}
	return to.write(in.queue, in.parts[:])
}

// flood gives a frame for a group to all other ports. What only routers and
// switches need to hear, membership reports, ends here: groups are not
// tracked.
func (n *Network) flood(in *incoming) DropReason {
	const protoIGMP = 2
	if in.ip.Proto == protoIGMP {
		return DropMulticast
	}
	in.parts = [2][]byte{in.hdr[:], in.frame}
	reason := DropMulticast // nobody else is here
	for _, to := range n.table.Load().ports {
		if to != in.port {
			reason = to.write(in.queue, in.parts[:])
		}
	}
	return reason
}

// macOf gives the MAC of the address a, asked for by the port from.
func (n *Network) macOf(a netip.Addr, from *Port) (packet.MAC, bool) {
	if n.gateway.owns(a) {
		return n.gateway.mac, true
	}
	if p := n.table.Load().byAddr[a]; p != nil && p != from {
		return p.mac, true
	}
	return packet.MAC{}, false
}

// answerARP answers requests from what is known. Announcements and replies end
// here: nobody has to be told what the table says.
func (n *Network) answerARP(in *incoming) DropReason {
	a, err := packet.ParseARP(in.frame[packet.EthernetLen:])
	if err != nil {
		return DropMalformed
	}
	if a.Op != packet.ARPRequest || a.SenderIP == a.TargetIP {
		return DropNone
	}
	mac, ok := n.macOf(a.TargetIP, in.port)
	if !ok {
		return DropUnknown
	}
	return in.port.writePlain(packet.ARPFrame(in.port.mac, packet.ARP{
		Op: packet.ARPReply, SenderMAC: mac, SenderIP: a.TargetIP,
		TargetMAC: in.port.mac, TargetIP: a.SenderIP,
	}))
}

// answerICMPv6 takes the messages of neighbour and group discovery; others are
// not done here.
func (n *Network) answerICMPv6(in *incoming) (done bool, reason DropReason) {
	t := in.frame[packet.EthernetLen:][in.ip.HeaderLen:in.ip.Len]
	if len(t) < 4 {
		return true, DropMalformed
	}
	switch t[0] {
	case packet.NDNeighborSolicit:
		if !packet.TransportValid(in.frame[packet.EthernetLen:], &in.ip) {
			return true, DropMalformed
		}
		target, _, _, err := packet.ParseNeighbor(t, &in.ip)
		if err != nil {
			return true, DropMalformed
		}
		mac, ok := n.macOf(target, in.port)
		if !ok {
			// For duplicate address detection silence is the good answer.
			if in.ip.Src.IsUnspecified() {
				return true, DropNone
			}
			return true, DropUnknown
		}
		dst, dstMAC := in.ip.Src, in.port.mac
		if dst.IsUnspecified() {
			dst, dstMAC = packet.AllNodes, packet.MulticastMAC(packet.AllNodes)
		}
		return true, in.port.writePlain(packet.NeighborAdvertFrame(dstMAC, mac, dst, target))
	case packet.NDNeighborAdvert:
		return true, DropNone
	case packet.NDRouterSolicit, packet.MLDQuery, packet.MLDReport, packet.MLDDone, packet.MLDv2Report:
		return true, DropMulticast
	}
	return false, DropNone
}

// announce tells the others that p's addresses are at its MAC now: they may
// remember who had them before.
func (n *Network) announce(p *Port) {
	var frames [][]byte
	for _, a := range p.addrs {
		if a.Is4() {
			frames = append(frames, packet.ARPFrame(packet.Broadcast, packet.ARP{
				Op: packet.ARPRequest, SenderMAC: p.mac, SenderIP: a, TargetIP: a,
			}))
		} else {
			frames = append(frames, packet.NeighborAdvertFrame(
				packet.MulticastMAC(packet.AllNodes), p.mac, packet.AllNodes, a))
		}
	}
	for _, to := range n.table.Load().ports {
		if to == p {
			continue
		}
		for _, f := range frames {
			to.writePlain(f)
		}
	}
}
