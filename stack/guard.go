package stack

import (
	"net/netip"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// guard decides whether the port's container may send the frame, by what the
// engine gave the port: its MAC, its addresses and its Guard. It parses the
// headers for those behind it.
func (in *incoming) guard(etherType uint16) DropReason {
	p := in.port
	in.source = packet.Source(in.frame)
	if in.source != p.mac && !p.mayMAC(in.source) {
		return DropSourceMAC
	}
	body := in.frame[packet.EthernetLen:]
	in.ip = packet.IP{}
	switch etherType {
	case packet.TypeIPv4:
		ip, err := packet.ParseIP(body)
		if err != nil || !ip.Src.Is4() {
			return DropMalformed
		}
		in.ip = ip
		if !p.speaksFor(ip.Src, false) && !in.asksDHCP(body) {
			return DropSourceIP
		}
		return in.guardIP(body)
	case packet.TypeIPv6:
		if !p.net.hasIPv6() {
			return DropNoIPv6
		}
		ip, err := packet.ParseIP(body)
		if err != nil || !ip.Src.Is6() {
			return DropMalformed
		}
		in.ip = ip
		return in.guardIPv6(body)
	case packet.TypeARP:
		return in.guardARP(body)
	}
	return DropEtherType
}

// guardIP judges what both versions have in common, once the source is known to be
// the port's.
func (in *incoming) guardIP(body []byte) DropReason {
	ip := &in.ip
	t := body[ip.HeaderLen:ip.Len]
	switch {
	case !ip.Fragment && len(t) < leastHeader(ip.Proto):
		return DropMalformed
	case ip.SourceRoute:
		return DropSourceRoute
	case closedDestination(ip.Dst):
		return DropDestination
	case ip.Fragment && hides(ip, len(t)):
		return DropFragments
	case leads(ip, t):
		return DropNeighbor
	case in.lies(t):
		return DropICMPError
	}
	return DropNone
}

// closedDestination reports whether no packet on a wire may be for the address: a
// container would take it for one of its own loopback (CVE-2020-8558), or who
// reads it next for one of the other family.
func closedDestination(a netip.Addr) bool {
	return a.IsLoopback() || a.IsUnspecified() || a.Is4In6()
}

// hides reports whether a fragment, with n bytes behind its headers, is cut so that the
// transport header is not in the first one, where guards look for it (RFC 1858,
// RFC 3128, RFC 7112).
func hides(ip *packet.IP, n int) bool {
	if ip.IsFirst() {
		return n < leastHeader(ip.Proto)
	}
	return ip.Src.Is4() && ip.Proto == packet.ProtoTCP && ip.Offset < tcpLen
}

// tcpLen is the size of a TCP header without options (RFC 9293 3.1), in bytes.
const tcpLen = 20

// leastHeader is how long the header of a transport protocol is at least, in bytes.
func leastHeader(proto uint8) int {
	switch proto {
	case packet.ProtoTCP:
		return tcpLen
	case packet.ProtoUDP, packet.ProtoICMP, packet.ProtoICMPv6:
		return packet.UDPLen // all three have eight
	}
	return 0
}

// lies reports whether t is an ICMP error about a packet that was not sent to the
// port: it would end or slow down a flow between others. Of packets to the
// outside errors pass between containers, as one may be another's way there.
func (in *incoming) lies(t []byte) bool {
	src, dst, isError := packet.QuotedBy(t, &in.ip)
	if !isError || in.port.owns(dst) {
		return isError && src != in.ip.Dst
	}
	if src != in.ip.Dst || packet.Destination(in.frame) == in.port.net.gateway.mac {
		return true
	}
	if dst == in.port.linkLocal || !in.port.net.inSubnets(dst) {
		return false
	}
	return !in.port.speaksFor(dst, false)
}

func (in *incoming) guardIPv6(body []byte) DropReason {
	p, ip := in.port, &in.ip
	t := body[ip.HeaderLen:ip.Len]
	isICMP := ip.Proto == packet.ProtoICMPv6 && ip.IsFirst()
	if isICMP && len(t) == 0 {
		return DropMalformed // here it counts who says what
	}
	// Discovery begins without an address; nothing else does.
	nobody := ip.Src.IsUnspecified() && isICMP && discovers(t[0])
	if !nobody && !p.speaksFor(ip.Src, isICMP && claims(t, ip)) {
		return DropSourceIP
	}
	if reason := in.guardIP(body); reason != DropNone || !isICMP {
		return reason
	}
	switch t[0] {
	case packet.NDRouterSolicit:
		if ip.FragmentAt != 0 {
			return DropMalformed // RFC 6980
		}
	case packet.NDNeighborAdvert, packet.NDNeighborSolicit:
		target, mac, hasMAC, err := packet.ParseNeighbor(t, ip)
		if err != nil {
			return DropMalformed
		}
		in.target = target
		switch {
		case hasMAC && mac != in.source:
			return DropNeighbor
		case t[0] == packet.NDNeighborAdvert && !p.speaksFor(target, claims(t, ip)),
			// Who tries out an address must be one that may have it; that it
			// is taken is told all the same.
			nobody && !p.speaksFor(target, true) && !p.net.taken(target):
			return DropNeighbor
		}
	}
	return DropNone
}

// discovers reports whether a type of ICMPv6 may come from no address: duplicate
// address detection, router solicitation, group membership.
func discovers(t uint8) bool {
	switch t {
	case packet.NDNeighborSolicit, packet.NDRouterSolicit, packet.MLDReport, packet.MLDDone, packet.MLDv2Report:
		return true
	}
	return false
}

// claims reports whether t is a neighbour advertisement that nobody has asked for, to
// all (RFC 4861 7.2.6).
func claims(t []byte, ip *packet.IP) bool {
	return t[0] == packet.NDNeighborAdvert && ip.Dst.IsMulticast()
}

func (in *incoming) guardARP(body []byte) DropReason {
	p := in.port
	a, err := packet.ParseARP(body)
	if err != nil {
		return DropMalformed
	}
	in.arp = a
	if a.SenderMAC != in.source {
		return DropNeighbor
	}
	// An unspecified sender is a probe (RFC 5227).
	probe := a.SenderIP.IsUnspecified() && a.Op == packet.ARPRequest
	if probe && !p.speaksFor(a.TargetIP, true) && !p.net.taken(a.TargetIP) {
		return DropNeighbor
	}
	if !probe && !p.speaksFor(a.SenderIP, a.SenderIP == a.TargetIP) {
		return DropNeighbor
	}
	return DropNone
}

// taken reports whether somebody has the address.
func (n *Network) taken(a netip.Addr) bool {
	_, ok := n.find(a)
	return ok || n.gateway.owns(a)
}

// segmentable reports whether what the virtio header wants to be segmented is what
// the frame carries: otherwise a header behind the real one could stand for
// thousands of datagrams in what vnet.Header.Check sees as a few.
func (in *incoming) segmentable(h vnet.Header) bool {
	if h.GSOType == vnet.GSONone {
		return true
	}
	want := uint8(packet.ProtoTCP)
	if h.Kind() == vnet.GSOUDPL4 {
		want = packet.ProtoUDP
	}
	return in.ip.Proto == want && !in.ip.Fragment && int(h.CsumStart) == packet.EthernetLen+in.ip.HeaderLen
}

// summable reports whether the checksum that the virtio header leaves to the receiver is
// one behind the IP header, and in TCP and UDP theirs: else whoever passes the packet
// on later would write over what was judged here, an address or a port.
func (in *incoming) summable(h vnet.Header) bool {
	if h.Flags&vnet.NeedsCsum == 0 {
		return true
	}
	const tcpSum, udpSum = 16, 6
	at, ip := int(h.CsumStart)-packet.EthernetLen-in.ip.HeaderLen, &in.ip
	switch {
	case at < 0 || ip.Fragment:
		return false
	case ip.Proto == packet.ProtoTCP:
		return at == 0 && h.CsumOffset == tcpSum
	case ip.Proto == packet.ProtoUDP:
		return at == 0 && h.CsumOffset == udpSum || at >= packet.UDPLen // in what it carries
	}
	return true
}
