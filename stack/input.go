package stack

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// Errors of the gateway's senders.
const (
	errNoHost  = syscall.EHOSTUNREACH
	errTooLong = syscall.EMSGSIZE
	errDevice  = syscall.ENOBUFS
)

// udpCsumOffset is where the checksum stands in a UDP header, in bytes.
const udpCsumOffset = 6

// handOver is the size from which a frame's buffer goes to netstack as it is,
// in bytes. Below it a copy into a small buffer is cheaper than a new 64 KiB
// one, which has to be cleared (25 % more connections per second).
const handOver = 8 << 10

// maxUDP is the largest payload of a datagram to a, in bytes.
func maxUDP(a netip.Addr) int {
	if a.Is4() {
		return 65535 - packet.IPv4Len - packet.UDPLen
	}
	return 65535 - packet.UDPLen
}

// input takes a frame that was sent to the gateway's MAC.
func (g *Gateway) input(in *incoming, h vnet.Header) DropReason {
	ip := &in.ip
	body := in.frame[packet.EthernetLen:][:ip.Len]
	if !packet.HeaderValid(body, ip) {
		return DropMalformed
	}
	if h.Flags&(vnet.NeedsCsum|vnet.DataValid) == 0 && !packet.TransportValid(body, ip) {
		return DropMalformed
	}
	if ip.Dst.IsMulticast() || ip.Dst.IsUnspecified() || g.isBroadcast(ip.Dst) {
		return DropMulticast
	}
	own := g.owns(ip.Dst)
	if !own && ip.Src.IsLinkLocalUnicast() {
		return DropSourceIP // a router does not forward it (RFC 4291 2.5.6)
	}
	if !own && ip.TTL <= 1 {
		g.SendICMPError(netip.Addr{}, packet.TimeExceeded(ip.Src.Is4()), body)
		return DropNone
	}
	if ip.Fragment { // netstack puts them together and calls the handlers below
		return g.toNetstack(in)
	}
	t := body[ip.HeaderLen:]
	switch ip.Proto {
	case packet.ProtoUDP:
		src, dst, payload, err := packet.ParseUDP(t, ip)
		if err != nil {
			return DropMalformed
		}
		d := packet.Datagram{Src: src, Dst: dst, Payload: payload, TTL: ip.TTL, IP: body}
		if h.Kind() == vnet.GSOUDPL4 && len(payload) > int(h.GSOSize) {
			d.SegmentSize = int(h.GSOSize)
		}
		return g.datagram(d)
	case packet.ProtoICMP, packet.ProtoICMPv6:
		if own {
			return g.toNetstack(in) // which drops the other version's
		}
		e, ok := packet.ParseEcho(t, ip)
		if !ok {
			return DropProtocol
		}
		e.IP = body
		return g.echo(e)
	case packet.ProtoTCP:
		if own && isSYN(t) && !in.port.connects.take(time.Now()) {
			return DropPaced
		}
		return g.toNetstack(in)
	}
	return DropProtocol
}

// isSYN reports whether the TCP segment t wants to begin a connection.
func isSYN(t []byte) bool {
	const flags, syn, ack = 13, 0x02, 0x10
	return len(t) > flags && t[flags]&(syn|ack) == syn
}

// datagram gives d to who listens.
func (g *Gateway) datagram(d packet.Datagram) DropReason {
	if g.owns(d.Dst.Addr()) {
		if h := (*g.udp.Load())[d.Dst.Port()]; h != nil {
			h(d)
			return DropNone
		}
		// A published flow may be shown to its container as coming from
		// the gateway: its answers belong to the flow's handler.
	}
	h := g.handlers.Load().UDP
	if h == nil {
		g.SendICMPError(netip.Addr{}, packet.PortUnreachable(d.Src.Addr().Is4()), d.IP)
		return DropNoHandler
	}
	h(d)
	return DropNone
}

func (g *Gateway) echo(e packet.Echo) DropReason {
	h := g.handlers.Load().Echo
	if h == nil {
		return DropNoHandler
	}
	h(e)
	return DropNone
}

// toNetstack delivers the frame's packet. Large frames take their buffer with
// them.
func (g *Gateway) toNetstack(in *incoming) DropReason {
	d := g.link.dispatcher.Load()
	if d == nil {
		return DropNoHandler
	}
	size := in.ip.Len
	var payload buffer.Buffer
	if size >= handOver {
		v := in.view
		in.view = nil
		v.CapLength(packet.EthernetLen + size)
		v.TrimFront(packet.EthernetLen)
		payload = buffer.MakeWithView(v)
	} else {
		v := buffer.NewView(size)
		v.Write(in.frame[packet.EthernetLen:][:size])
		payload = buffer.MakeWithView(v)
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: payload})
	proto := tcpip.NetworkProtocolNumber(packet.EtherType(in.frame))
	pkt.NetworkProtocolNumber = proto
	(*d).DeliverNetworkPacket(proto, pkt)
	pkt.DecRef()
	return DropNone
}

// handleTCP takes segments that no connection in netstack waits for.
func (g *Gateway) handleTCP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	// At the gateway's own addresses nothing else listens; netstack says so
	// with a RST.
	if g.owns(addrOf(id.LocalAddress)) {
		return false
	}
	h := g.handlers.Load().TCP
	if h == nil {
		return true // no way out: silence, as behind a firewall
	}
	return h(id, pkt)
}

// handleUDP takes datagrams that came in fragments. Nobody has verified their
// checksums yet.
func (g *Gateway) handleUDP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	src, dst := addrOf(id.RemoteAddress), addrOf(id.LocalAddress)
	head := pkt.TransportHeader().Slice()
	whole := append(head[:len(head):len(head)], pkt.Data().AsRange().ToSlice()...)
	ip := packet.IP{Src: src, Dst: dst, Proto: packet.ProtoUDP, Len: len(whole)}
	from, to, payload, err := packet.ParseUDP(whole, &ip)
	if err != nil || !packet.TransportValid(whole, &ip) {
		return true
	}
	g.datagram(packet.Datagram{
		Src:     from,
		Dst:     to,
		Payload: payload,
		TTL:     ttlOf(pkt),
		IP:      quoteOf(pkt),
	})
	return true
}

// handleICMP takes echo requests that came in fragments. Netstack answers
// those to the gateway itself.
func (g *Gateway) handleICMP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	dst := addrOf(id.LocalAddress)
	if g.owns(dst) {
		return false
	}
	ip := packet.IP{Src: addrOf(id.RemoteAddress), Dst: dst, Proto: packet.ProtoICMP, TTL: ttlOf(pkt)}
	if dst.Is6() {
		ip.Proto = packet.ProtoICMPv6
	}
	head := pkt.TransportHeader().Slice()
	message := append(head[:len(head):len(head)], pkt.Data().AsRange().ToSlice()...)
	e, ok := packet.ParseEcho(message, &ip)
	if !ok {
		return false
	}
	e.IP = quoteOf(pkt)
	g.echo(e)
	return true
}

func ttlOf(pkt *stack.PacketBuffer) uint8 {
	ip := pkt.NetworkHeader().Slice()
	switch {
	case len(ip) >= packet.IPv4Len && ip[0]>>4 == 4:
		return ip[8]
	case len(ip) >= packet.IPv6Len && ip[0]>>4 == 6:
		return ip[7]
	}
	return 0
}

// quoteOf gives the beginning of a reassembled packet as one that ICMP can
// quote: its lengths are those of what is quoted, its fragment fields cleared.
func quoteOf(pkt *stack.PacketBuffer) []byte {
	const enough = 8 // RFC 792: the header and 64 bits
	ip := pkt.NetworkHeader().Slice()
	t := pkt.TransportHeader().Slice()
	t = t[:min(len(t), enough)]
	switch {
	case len(ip) >= packet.IPv4Len && ip[0]>>4 == 4:
		q := append(append(make([]byte, 0, len(ip)+len(t)), ip...), t...)
		binary.BigEndian.PutUint16(q[2:4], uint16(len(q)))
		q[6], q[7] = 0, 0
		q[10], q[11] = 0, 0
		binary.BigEndian.PutUint16(q[10:12], ^packet.Sum(q[:len(ip)], 0))
		return q
	case len(ip) >= packet.IPv6Len && ip[0]>>4 == 6:
		q := append(append(make([]byte, 0, packet.IPv6Len+len(t)), ip[:packet.IPv6Len]...), t...)
		binary.BigEndian.PutUint16(q[4:6], uint16(len(t)))
		q[6] = uint8(pkt.TransportProtocolNumber)
		return q
	}
	return nil
}
