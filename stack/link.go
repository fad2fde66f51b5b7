package stack

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// maxGSO is the largest segment that netstack may hand over in one piece, in
// bytes with IP and TCP headers: what fits an IP length field.
const maxGSO = 65535

// link is the gateway's netstack link endpoint. To netstack it is a wire
// without addresses of its own: who has an IP address is looked up in the
// switch's table when a packet leaves, so netstack keeps no neighbours. TCP
// segments leave up to 64 KiB large, for the container's kernel to take as
// they are.
type link struct {
	gateway    *Gateway
	dispatcher atomic.Pointer[stack.NetworkDispatcher]
}

func newLink(g *Gateway) *link { return &link{gateway: g} }

// maxParts bounds the pieces of one written frame: both headers and the views
// of a 64 KiB segment in netstack's smallest usual pieces. More are joined.
const maxParts = 24

// outgoing is room for one frame on its way from the gateway to a port.
type outgoing struct {
	vnet  [vnet.Len]byte
	head  [packet.EthernetLen + packet.IPv6Len + packet.UDPLen]byte
	parts [maxParts][]byte
}

var outgoingPool = sync.Pool{New: func() any { return new(outgoing) }}

func (o *outgoing) release() {
	clear(o.parts[:])
	outgoingPool.Put(o)
}

// WritePackets implements stack.LinkWriter. It never returns another error
// than ErrNoBufferSpace: others would end the process or the connection.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	n := 0
	for _, pkt := range list.AsSlice() {
		if l.write(pkt) == DropDevice {
			return n, &tcpip.ErrNoBufferSpace{}
		}
		n++
	}
	return n, nil
}

func (l *link) write(pkt *stack.PacketBuffer) DropReason {
	dst, ok := destinationOf(pkt.NetworkHeader().Slice())
	if !ok || dst.IsMulticast() {
		return DropMulticast
	}
	to, fresh, ok := l.gateway.net.way(dst)
	if !fresh {
		l.gateway.net.seek(dst)
	}
	if !ok {
		return DropUnknown
	}
	o := outgoingPool.Get().(*outgoing)
	defer o.release()
	headerOf(pkt).Encode(&o.vnet)
	etherType := uint16(packet.TypeIPv4)
	if dst.Is6() {
		etherType = packet.TypeIPv6
	}
	packet.PutEthernet(o.head[:], to.mac, l.gateway.mac, etherType)
	parts := append(o.parts[:0], o.vnet[:], o.head[:packet.EthernetLen])
	views, skip := pkt.AsViewList()
	for v := views.Front(); v != nil; v = v.Next() {
		b := v.AsSlice()
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		if len(parts) == maxParts {
			return to.port.write(0, [][]byte{o.vnet[:], o.head[:packet.EthernetLen], pkt.ToView().AsSlice()})
		}
		parts = append(parts, b[skip:])
		skip = 0
	}
	return to.port.write(int(pkt.Hash), parts)
}

// headerOf gives the virtio header for a packet of netstack: what its GSO
// options leave to be done.
func headerOf(pkt *stack.PacketBuffer) vnet.Header {
	gso := &pkt.GSOOptions
	if gso.Type == stack.GSONone {
		return vnet.Header{}
	}
	h := vnet.Header{HdrLen: uint16(packet.EthernetLen + pkt.HeaderSize())}
	if gso.NeedsCsum {
		h.Flags = vnet.NeedsCsum
		h.CsumStart = packet.EthernetLen + gso.L3HdrLen
		h.CsumOffset = gso.CsumOffset
	}
	if pkt.Data().Size() > int(gso.MSS) {
		h.GSOType, h.GSOSize = vnet.GSOTCPv4, gso.MSS
		if gso.Type == stack.GSOTCPv6 {
			h.GSOType = vnet.GSOTCPv6
		}
	}
	return h
}

func destinationOf(ip []byte) (netip.Addr, bool) {
	switch {
	case len(ip) >= packet.IPv4Len && ip[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(ip[16:20])), true
	case len(ip) >= packet.IPv6Len && ip[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(ip[24:40])), true
	}
	return netip.Addr{}, false
}

// route gives the way to a container from an address of the same family. A station that
// was forgotten is asked for, so that the next attempt finds it.
func (g *Gateway) route(src, dst netip.Addr) (hop, bool) {
	if src.Is4() != dst.Is4() {
		return hop{}, false
	}
	to, fresh, ok := g.net.way(dst)
	if !fresh {
		g.net.seek(dst)
	}
	return to, ok
}

// SendUDP gives the container that has dst's address a datagram from src,
// whatever src is. payload may be of any length that fits a datagram: the wire
// has no MTU towards the container. It returns EHOSTUNREACH when nobody has
// the address, EMSGSIZE, or ENOBUFS when the device does not take it.
func (g *Gateway) SendUDP(src, dst netip.AddrPort, payload []byte) error {
	to, ok := g.route(src.Addr(), dst.Addr())
	if !ok {
		return errNoHost
	}
	if len(payload) > maxUDP(dst.Addr()) {
		return errTooLong
	}
	if g.writeUDP(to, src, dst, payload, 0) != nil {
		return errDevice
	}
	return nil
}

// SendEchoReply answers an echo request of the container that has dst.
func (g *Gateway) SendEchoReply(src, dst netip.Addr, id, seq uint16, data []byte) error {
	to, ok := g.route(src, dst)
	if !ok {
		return errNoHost
	}
	if len(data) > maxUDP(dst) { // both headers have eight bytes
		return errTooLong
	}
	if to.port.writePlain(packet.EchoFrame(to.mac, g.mac, src, dst, id, seq, data)) != DropNone {
		return errDevice
	}
	return nil
}

// SendICMPError tells the sender of the packet quoted, which begins with its
// IP header, of an error. from is who says so; where it is invalid or of the
// other family, the gateway itself. Nothing is said, without an error here,
// about packets that no ICMP error may be about (packet.MayAnswer, and those
// to all stations), nor more often than errorRate, nor where there is no gateway.
func (g *Gateway) SendICMPError(from netip.Addr, e packet.ICMPError, quoted []byte) error {
	ip, err := packet.ParseIP(quoted)
	if err != nil {
		return err
	}
	if !packet.MayAnswer(quoted, &ip) || g.isBroadcast(ip.Dst) || g.hidden(ip.Src.Is4()) {
		return nil
	}
	to, ok := g.net.find(ip.Src)
	if !ok {
		return errNoHost
	}
	if !to.port.errors.take(time.Now(), errorRate) {
		return nil
	}
	if !from.IsValid() || from.Is4() != ip.Src.Is4() {
		own, ok := g.addr(ip.Src.Is4())
		if !ok {
			return errNoHost
		}
		from = own
	}
	if to.port.writePlain(packet.ICMPErrorFrame(to.mac, g.mac, from, ip.Src, e, quoted[:ip.Len])) != DropNone {
		return errDevice
	}
	return nil
}

// MTU implements stack.LinkEndpoint.
func (l *link) MTU() uint32 { return uint32(l.gateway.net.opts.MTU) }

// SetMTU implements stack.LinkEndpoint; a network's MTU does not change.
func (*link) SetMTU(uint32) {}

// MaxHeaderLength implements stack.LinkEndpoint.
func (*link) MaxHeaderLength() uint16 { return 0 }

// LinkAddress implements stack.LinkEndpoint.
func (*link) LinkAddress() tcpip.LinkAddress { return "" }

// SetLinkAddress implements stack.LinkEndpoint.
func (*link) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities implements stack.LinkEndpoint. Checksums of what comes in are
// verified in input where the container's kernel has not left them open.
func (*link) Capabilities() stack.LinkEndpointCapabilities { return stack.CapabilityRXChecksumOffload }

// Attach implements stack.LinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		l.dispatcher.Store(nil)
		return
	}
	l.dispatcher.Store(&d)
}

// IsAttached implements stack.LinkEndpoint.
func (l *link) IsAttached() bool { return l.dispatcher.Load() != nil }

// Wait implements stack.LinkEndpoint; the link has no goroutines.
func (*link) Wait() {}

// ARPHardwareType implements stack.LinkEndpoint.
func (*link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader implements stack.LinkEndpoint; write does it.
func (*link) AddHeader(*stack.PacketBuffer) {}

// ParseHeader implements stack.LinkEndpoint; input does it.
func (*link) ParseHeader(*stack.PacketBuffer) bool { return true }

// Close implements stack.LinkEndpoint.
func (*link) Close() {}

// SetOnCloseAction implements stack.LinkEndpoint.
func (*link) SetOnCloseAction(func()) {}

// GSOMaxSize implements stack.GSOEndpoint.
func (*link) GSOMaxSize() uint32 { return maxGSO }

// SupportedGSO implements stack.GSOEndpoint.
func (*link) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }
