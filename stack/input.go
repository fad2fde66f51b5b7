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
	if own && g.mute(ip) {
		return DropNoHandler
	}
	if g.hidden(ip.Src.Is4()) && !(own && g.serves(ip, body)) {
		return DropNoHandler
	}
	if !own && ip.Src.IsLinkLocalUnicast() {
		return DropSourceIP // a router does not forward it (RFC 4291 2.5.6)
	}
	if !own && ip.TTL <= 1 {
		g.SendICMPError(netip.Addr{}, packet.TimeExceeded(ip.Src.Is4()), body)
		return DropNone
	}
	if ip.Fragment {
		return g.fragment(in, body)
	}
	if !own {
		if w, ok := g.net.opts.Crossing.find(g.net, ip.Dst); ok {
			if reason, done := g.cross(in, h, body, w); done {
				return reason
			}
		}
	}
	t := body[ip.HeaderLen:]
	switch ip.Proto {
	case packet.ProtoUDP:
		src, dst, payload, err := packet.ParseUDP(t, ip)
		if err != nil {
			return DropMalformed
		}
		d := packet.Datagram{Src: src, Dst: dst, Payload: payload, TTL: ip.TTL, TOS: ip.TOS, DontFragment: ip.DontFragment && !in.wasCut, IP: body}
		if h.Kind() == vnet.GSOUDPL4 && len(payload) > int(h.GSOSize) {
			d.SegmentSize = int(h.GSOSize)
		}
		return g.datagram(in, d)
	case packet.ProtoICMP, packet.ProtoICMPv6:
		if own {
			return g.toNetstack(in) // which drops the other version's
		}
		e, ok := packet.ParseEcho(t, ip)
		if !ok {
			return DropProtocol
		}
		e.DontFragment = e.DontFragment && !in.wasCut
		e.IP = body
		return g.echo(e)
	case packet.ProtoTCP:
		if isSYN(t) && !in.connects(own && !g.carries(ip.Dst, t)) {
			return DropPaced
		}
		return g.toNetstack(in)
	}
	return DropProtocol
}

// dialTime is what a connection to the outside costs when its SYN has been read: a
// goroutine, a socket, and connect(2) (15 to 20 us, measured). It counts as the
// reader's, who would otherwise begin dozens in one turn.
const dialTime = 20 * time.Microsecond

// connects reports whether the port may begin one more TCP connection, to the gateway's
// own listeners or to the outside.
func (in *incoming) connects(own bool) bool {
	if own {
		return in.port.connects.take(time.Now(), ownSYNRate)
	}
	in.spawned += dialTime
	return in.port.dials.take(time.Now(), outSYNRate)
}

// carries reports whether the TCP segment t, to the gateway's address a, is for a port
// that the handler of connections to the outside carries on from.
func (g *Gateway) carries(a netip.Addr, t []byte) bool {
	own := g.handlers.Load().OwnTCP
	return own != nil && own(netip.AddrPortFrom(a, binary.BigEndian.Uint16(t[2:])))
}

// isSYN reports whether the TCP segment t wants to begin a connection.
func isSYN(t []byte) bool {
	const flags, syn, ack = 13, 0x02, 0x10
	return len(t) > flags && t[flags]&(syn|ack) == syn
}

// datagram gives d to who listens.
func (g *Gateway) datagram(in *incoming, d packet.Datagram) DropReason {
	own := g.owns(d.Dst.Addr())
	if own {
		if h := (*g.udp.Load())[d.Dst.Port()]; h != nil && g.listensAt(d.Dst.Addr()) {
			h(d)
			return DropNone
		}
		// A published flow may be shown to its container as coming from
		// the gateway: its answers belong to the flow's handler.
	}
	h := g.handlers.Load()
	if h.UDP == nil || h.OwnOnly && !own {
		if own { // else silence, as for TCP: there is no way out
			g.SendICMPError(netip.Addr{}, packet.PortUnreachable(d.Src.Addr().Is4()), d.IP)
		}
		return DropNoHandler
	}
	in.gather.put(d, h.UDP)
	return DropNone
}

func (g *Gateway) echo(e packet.Echo) DropReason {
	h := g.handlers.Load()
	if h.Echo == nil || h.OwnOnly {
		return DropNoHandler
	}
	h.Echo(e)
	return DropNone
}

// headers is the length of the packet's headers in bytes: IP, and TCP if it is that and whole.
func (in *incoming) headers() int {
	const dataOffset = 12 // RFC 9293 3.1: its upper half counts 32-bit words
	n := in.ip.HeaderLen
	if at := packet.EthernetLen + n + dataOffset; in.ip.Proto == packet.ProtoTCP && at < len(in.frame) {
		n += int(in.frame[at]>>4) * 4
	}
	return n
}

// toNetstack delivers the frame's packet. Large frames take their buffer with them, but for
// their headers: netstack keeps hold of these while it looks at them again, which makes it copy
// all of the memory that they are in.
func (g *Gateway) toNetstack(in *incoming) DropReason {
	d := g.link.dispatcher.Load()
	if d == nil {
		return DropNoHandler
	}
	size := in.ip.Len
	var payload buffer.Buffer
	if head := in.headers(); size >= handOver && head < size {
		v := in.view
		in.view = nil
		v.CapLength(packet.EthernetLen + size)
		v.TrimFront(packet.EthernetLen + head)
		payload = buffer.MakeWithData(in.frame[packet.EthernetLen:][:head])
		_ = payload.Append(v)
	} else {
		v := buffer.NewView(size)
		_, _ = v.Write(in.frame[packet.EthernetLen:][:size]) // a view takes all that is given
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
	h := g.handlers.Load()
	if at := addrOf(id.LocalAddress); g.owns(at) {
		// Elsewhere at the gateway's own addresses nothing listens; netstack says
		// so with a RST.
		if h.OwnTCP == nil || !h.OwnTCP(netip.AddrPortFrom(at, id.LocalPort)) {
			return false
		}
	} else if h.OwnOnly {
		return true // no way out: silence, as behind a firewall
	}
	if h.TCP == nil {
		return true
	}
	return h.TCP(id, pkt)
}
