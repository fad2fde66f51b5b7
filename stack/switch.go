package stack

import (
	"time"

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
	// A frame for the wire, not for its receiver to cut: bridges do not pass it
	// on either, and who routes it on could not.
	if h.GSOType == vnet.GSONone && len(frame) > n.opts.MTU+packet.EthernetLen {
		return DropTooBig
	}
	if reason := in.guard(etherType); reason != DropNone {
		return reason
	}
	if etherType == packet.TypeARP {
		return n.answerARP(in)
	}
	if !in.segmentable(h) || !in.summable(h) {
		return DropHeader
	}
	const protoIGMP = 2
	if in.ip.Proto == protoIGMP {
		return DropMulticast // groups are not tracked
	}
	if etherType == packet.TypeIPv6 && in.ip.Proto == packet.ProtoICMPv6 && in.ip.IsFirst() {
		if done, reason := n.answerICMPv6(in); done {
			return reason
		}
	}
	n.learn(in.port, in.source, in.ip.Src)
	if done, reason := n.configure(in, h); done {
		return reason
	}
	dst := packet.Destination(frame)
	switch {
	case dst == n.gateway.mac:
		return n.gateway.input(in, h)
	case dst.IsMulticast():
		return n.flood(in)
	}
	to := n.findMAC(dst)
	if to == nil || to == in.port {
		return DropUnknown
	}
	if n.opts.NoICC {
		return n.apart(in, to)
	}
	in.parts = [2][]byte{in.hdr[:], frame}
	return to.write(in.queue, in.parts[:])
}

// flood gives a frame for a group to all other ports. A packet for one station does
// not become one for all by the frame it is in (RFC 1122 3.3.6).
func (n *Network) flood(in *incoming) DropReason {
	in.moved -= len(in.frame)
	if !in.ip.Dst.IsMulticast() && !n.gateway.isBroadcast(in.ip.Dst) {
		return DropMulticast
	}
	if n.opts.NoICC {
		return DropICC // there is no exception for groups
	}
	ports := n.table.Load().ports
	if len(ports) < 2 {
		return DropMulticast // nobody else is here
	}
	begin, copies := time.Now(), len(ports)-1
	if !in.port.mayFlood(begin, copies) {
		return DropPaced
	}
	in.parts = [2][]byte{in.hdr[:], in.frame}
	reason := DropMulticast
	var took time.Duration
	for _, to := range ports {
		if to != in.port {
			reason = to.write(in.queue, in.parts[:])
			end := time.Now()
			took += min(end.Sub(begin), longestCopy)
			begin = end
		}
	}
	in.port.floods.took(took, copies)
	return reason
}
