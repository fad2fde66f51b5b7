package stack

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// fuzzWorld is a network whose container a is hostile: a plain port, or one with
// every freedom that a Guard can give. What its neighbours b and c get is judged by
// gVisor's parsers, not by ours.
type fuzzWorld struct {
	*extendedWorld
	nested bool
}

func newFuzzWorld(f *testing.F, nested bool) *fuzzWorld {
	g := Guard{}
	if nested {
		g = Guard{Nested: true, Addresses: vips.Addresses}
	}
	e := newExtendedWorld(f, g, Guard{Addresses: vips.Addresses})
	w := &fuzzWorld{e, nested}
	gw := e.net.Gateway()
	gw.ListenUDP(53, func(d packet.Datagram) { _ = gw.SendUDP(d.Dst, d.Src, d.Payload) })
	gw.SetHandlers(Handlers{
		UDP: func(d packet.Datagram) {
			if !d.Src.IsValid() || !d.Dst.IsValid() || d.SegmentSize < 0 || d.SegmentSize > len(d.Payload) {
				f.Errorf("invalid datagram %+v", d)
			}
			_ = gw.SendICMPError(netip.Addr{}, packet.HostUnreachable(d.Src.Addr().Is4()), d.IP)
		},
		Echo: func(e packet.Echo) { _ = gw.SendEchoReply(e.Dst, e.Src, e.ID, e.Seq, e.Data) },
	})
	ask := func(q Question) {
		if q.Port != w.pa || (q.MAC != aMAC && !nested) || (!q.Src.IsUnspecified() && !w.maybe(q.Src)) {
			f.Errorf("question of %s, %s", q.MAC, q.Src)
		}
		_ = gw.SendFrom(ap(gw4.Addr(), 67), q.Port, q.MAC, ap(packet.LimitedBroadcast, 68), q.Message)
	}
	gw.SetConfigurer(Configurer{DHCPv4: ask, DHCPv6: ask, RouterSolicit: ask})
	return w
}

// send carries a frame of a, and judges what the others get.
func (w *fuzzWorld) send(t *testing.T, hdr [vnet.Len]byte, frame []byte) {
	t.Helper()
	in := &incoming{port: w.pa, hdr: &hdr}
	for range 3 { // the second and third are of a row
		in.frame, in.view = frame, viewOf(frame)
		reason := w.net.forward(in)
		if in.view != nil {
			in.view.Release()
		}
		_ = reason.String()
	}
	in.gather.rest()
	for len(w.a.out) > 0 {
		<-w.a.out
	}
	for _, m := range []*memory{w.b, w.c} {
		for len(m.out) > 0 {
			got := <-m.out
			if why := w.judge(got); why != "" {
				t.Errorf("%s: %x got to a neighbour, after %x", why, got.frame, frame)
			}
		}
	}
	if n, cost := w.pa.fragments.held(); n > w.pa.limits.FragmentDatagrams || cost > w.pa.limits.FragmentBytes {
		t.Errorf("%d packets of %d bytes wait for fragments", n, cost)
	}
	for a, p := range map[netip.Addr]*Port{b4: w.pb, c4: w.pc, b6: w.pb, c6: w.pc, bMAC.LinkLocal(): w.pb} {
		if to, ok := w.net.find(a); !ok || to.port != p || to.mac != p.mac {
			t.Errorf("%s has gone to %+v, after %x", a, to, frame)
		}
	}
}

// judge says why a frame must not get to a neighbour.
func (w *fuzzWorld) judge(s sent) string {
	b := s.frame
	if len(b) < header.EthernetMinimumSize {
		return "no frame"
	}
	eth := header.Ethernet(b)
	src := packet.MAC([]byte(eth.SourceAddress()))
	if h := vnet.Decode(&s.hdr); h.Check(len(b), uint16(eth.Type())) != nil {
		return "a lie in the virtio header"
	}
	foreign := src == gwMAC || src == bMAC || src == cMAC || src[0]&1 != 0
	if foreign || (!w.nested && src != aMAC) {
		return "another's MAC"
	}
	body := b[header.EthernetMinimumSize:]
	switch eth.Type() {
	case header.ARPProtocolNumber:
		a := header.ARP(body)
		sender, _ := netip.AddrFromSlice(a.ProtocolAddressSender())
		if !a.IsValid() || packet.MAC(a.HardwareAddressSender()) != src ||
			(!w.maybe(sender) && !(sender.IsUnspecified() && a.Op() == header.ARPRequest)) { // a probe
			return "ARP on behalf of others"
		}
	case header.IPv4ProtocolNumber:
		return w.judge4(header.IPv4(body))
	case header.IPv6ProtocolNumber:
		return w.judge6(header.IPv6(body), src)
	default:
		return "another EtherType"
	}
	return ""
}

// maybe reports whether a may send from an address.
func (w *fuzzWorld) maybe(a netip.Addr) bool {
	if a == a4 || a == a6 || a == aMAC.LinkLocal() {
		return true
	}
	taken := a == gw4.Addr() || a == gw6.Addr() || a == b4 || a == b6 || a == c4 || a == c6 || a == bMAC.LinkLocal() || a == cMAC.LinkLocal()
	if !w.nested || taken || a.IsMulticast() {
		return false
	}
	return gw4.Contains(a) || gw6.Contains(a) || a.IsLinkLocalUnicast()
}

func (w *fuzzWorld) judge4(h header.IPv4) string {
	if !h.IsValid(len(h)) {
		return "a malformed packet"
	}
	if !w.maybe(addrOf(h.SourceAddress())) {
		return "another's address"
	}
	if dst := addrOf(h.DestinationAddress()); dst.IsLoopback() || dst.IsUnspecified() {
		return "a closed destination"
	}
	for it := h.Options().MakeIterator(); ; {
		o, done, err := it.Next()
		if err != nil || done {
			break
		}
		if t := o.Type(); t == 131 || t == 137 {
			return "a source route"
		}
	}
	if h.FragmentOffset() != 0 {
		return ""
	}
	p := h.Payload()
	switch {
	case h.Protocol() == packet.ProtoICMP && len(p) > 0 && (p[0] == packet.ICMPRedirect || p[0] == packet.ICMPRouterAdvert):
		return "a redirect"
	case h.Protocol() == packet.ProtoUDP && len(p) >= 4 && (binary.BigEndian.Uint16(p) == 67 || binary.BigEndian.Uint16(p[2:]) == 68):
		return "a DHCP answer"
	case h.Protocol() == packet.ProtoTCP && h.More() && len(p) < header.TCPMinimumSize:
		return "a TCP header cut apart"
	case h.Protocol() == packet.ProtoICMP && len(p) >= 28 && (p[0] == 3 || p[0] == 11 || p[0] == 12):
		return w.judgeQuote(addrOf(h.DestinationAddress()), netip.AddrFrom4([4]byte(p[20:24])), netip.AddrFrom4([4]byte(p[24:28])))
	}
	return ""
}

// judgeQuote judges an ICMP error to dst.
func (w *fuzzWorld) judgeQuote(dst, quotedSrc, quotedDst netip.Addr) string {
	if quotedSrc != dst {
		return "an error about what its receiver has not sent"
	}
	for _, other := range []netip.Addr{gw4.Addr(), gw6.Addr(), b4, b6, c4, c6} {
		if quotedDst == other {
			return "an error about another's packet"
		}
	}
	return ""
}

func (w *fuzzWorld) judge6(h header.IPv6, src packet.MAC) string {
	if !h.IsValid(len(h)) {
		return "a malformed packet"
	}
	from, dst := addrOf(h.SourceAddress()), addrOf(h.DestinationAddress())
	if !w.maybe(from) && !from.IsUnspecified() {
		return "another's address"
	}
	if dst.IsLoopback() || dst.IsUnspecified() || dst.Is4In6() {
		return "a closed destination"
	}
	it := header.MakeIPv6PayloadIterator(header.IPv6ExtensionHeaderIdentifier(h.NextHeader()), buffer.MakeWithData(h.Payload()))
	defer it.Release()
	cut := false
	for {
		next, done, err := it.Next()
		if err != nil || done {
			return "" // gVisor would not take it
		}
		switch next := next.(type) {
		case header.IPv6FragmentExtHdr:
			cut = true
			if next.FragmentOffset() != 0 {
				return ""
			}
		case header.IPv6RoutingExtHdr:
			left := next.SegmentsLeft()
			next.Release()
			if left != 0 {
				return "a source route"
			}
		case header.IPv6ExperimentExtHdr:
			next.Release()
			return "" // Linux knows no such header (253), and reads nothing behind it
		case header.IPv6RawPayloadHeader:
			p := next.Buf.Flatten()
			next.Release()
			return w.judgeTransport6(uint8(next.Identifier), p, src, from, dst, cut)
		default:
			next.Release()
		}
	}
}

func (w *fuzzWorld) judgeTransport6(proto uint8, p []byte, src packet.MAC, from, dst netip.Addr, cut bool) string {
	switch {
	case proto == packet.ProtoUDP && len(p) >= 4 && (binary.BigEndian.Uint16(p) == 547 || binary.BigEndian.Uint16(p[2:]) == 546):
		return "a DHCPv6 answer"
	case proto != packet.ProtoICMPv6 || len(p) == 0:
	case p[0] == packet.NDRouterAdvert || p[0] == packet.NDRedirect:
		return "a router's word"
	case p[0] == packet.NDNeighborAdvert || p[0] == packet.NDNeighborSolicit:
		ip := packet.IP{Src: from, Dst: dst, TTL: 255}
		target, mac, hasMAC, err := packet.ParseNeighbor(p, &ip)
		switch {
		case cut:
			return "discovery in fragments"
		case err != nil || (hasMAC && mac != src):
			return "discovery on behalf of others"
		// To b, which may have them, questions for virtual addresses pass.
		case p[0] == packet.NDNeighborAdvert && !w.maybe(target), p[0] == packet.NDNeighborSolicit && target != vip6:
			return "discovery that is the switch's"
		}
	case p[0] < 128 && len(p) >= 48:
		return w.judgeQuote(dst, netip.AddrFrom16([16]byte(p[16:32])), netip.AddrFrom16([16]byte(p[32:48])))
	}
	return ""
}

// both runs a fuzz target's body for either kind of port.
func both(f *testing.F) func(t *testing.T, nested bool) *fuzzWorld {
	plainPort, nestedPort := newFuzzWorld(f, false), newFuzzWorld(f, true)
	return func(t *testing.T, nested bool) *fuzzWorld {
		if nested {
			return nestedPort
		}
		return plainPort
	}
}

// FuzzFrame: any virtio header with any frame, of a port of either kind.
func FuzzFrame(f *testing.F) {
	worlds := both(f)
	f.Fuzz(func(t *testing.T, hdr, frame []byte, nested bool) {
		if len(hdr) < vnet.Len || len(frame) > maxFrame {
			return
		}
		worlds(t, nested).send(t, [vnet.Len]byte(hdr), frame)
	})
}

// FuzzARP: the bytes behind an Ethernet header of a's.
func FuzzARP(f *testing.F) {
	worlds := both(f)
	f.Fuzz(func(t *testing.T, dst, src, arp []byte, nested bool) {
		if len(dst) != 6 || len(src) != 6 || len(arp) > 1500 {
			return
		}
		worlds(t, nested).send(t, plain, join(dst, src, []byte{0x08, 0x06}, arp))
	})
}

// FuzzND: an ICMPv6 message of neighbour discovery, with its checksum put right.
func FuzzND(f *testing.F) {
	worlds := both(f)
	f.Fuzz(func(t *testing.T, dst, src, from, to []byte, hops byte, message []byte, nested bool) {
		if len(dst) != 6 || len(src) != 6 || len(from) != 16 || len(to) != 16 || len(message) < 4 || len(message) > 1400 {
			return
		}
		a, b := netip.AddrFrom16([16]byte(from)), netip.AddrFrom16([16]byte(to))
		m := append([]byte(nil), message...)
		m[2], m[3] = 0, 0
		binary.BigEndian.PutUint16(m[2:], ^packet.Sum(m, packet.PseudoSum(a, b, packet.ProtoICMPv6, len(m))))
		ip := make([]byte, packet.IPv6Len, packet.IPv6Len+len(m))
		packet.PutIPv6(ip, a, b, packet.ProtoICMPv6, hops, len(m))
		worlds(t, nested).send(t, plain, join(dst, src, []byte{0x86, 0xdd}, ip, m))
	})
}

// FuzzICMP: an ICMP message of either version to a neighbour, the gateway or the
// outside.
func FuzzICMP(f *testing.F) {
	worlds := both(f)
	f.Fuzz(func(t *testing.T, v6 bool, where byte, message []byte, nested bool) {
		if len(message) > 1400 {
			return
		}
		src, dsts := a4, []netip.Addr{b4, c4, gw4.Addr(), out4, all4, netip.MustParseAddr("224.0.0.1")}
		proto := uint8(packet.ProtoICMP)
		if v6 {
			src, dsts, proto = a6, []netip.Addr{b6, c6, gw6.Addr(), out6, bMAC.LinkLocal(), packet.AllNodes}, packet.ProtoICMPv6
		}
		i := int(where) % len(dsts)
		macs := []packet.MAC{bMAC, cMAC, gwMAC, gwMAC, bMAC, packet.Broadcast}
		m := append([]byte(nil), message...)
		if len(m) >= 4 {
			m[2], m[3] = 0, 0
			initial := uint16(0)
			if v6 {
				initial = packet.PseudoSum(src, dsts[i], proto, len(m))
			}
			binary.BigEndian.PutUint16(m[2:], ^packet.Sum(m, initial))
		}
		worlds(t, nested).send(t, plain, to(macs[i], ipFrame(src, dsts[i], proto, 255, m)))
	})
}

// FuzzIPv6Headers: a chain of extension headers, and what is behind it.
func FuzzIPv6Headers(f *testing.F) {
	worlds := both(f)
	f.Fuzz(func(t *testing.T, next byte, chain []byte, toGateway, nested bool) {
		if len(chain) > 1400 {
			return
		}
		frame := from6(a6, b6, next, chain...)
		if toGateway {
			frame = to(gwMAC, from6(a6, out6, next, chain...))
		}
		worlds(t, nested).send(t, plain, frame)
	})
}

// FuzzFragments: a sequence of fragments, eight bytes each: packet, offset, length,
// flags. What is put together must be what was cut, and the quota must hold after
// each.
func FuzzFragments(f *testing.F) {
	const (
		more  = 1 << iota // fragments follow
		six               // IPv6
		wrong             // other bytes than belong there
		later             // ten seconds later
	)
	f.Fuzz(func(t *testing.T, ops []byte, datagrams, bytes uint16) {
		s := newStore(t, Limits{FragmentDatagrams: 1 + int(datagrams%16), FragmentBytes: 1000 + int(bytes)})
		given, lost := 0, 0
		spoiled := map[uint32]bool{}
		for ; len(ops) >= 8 && given < 2000; ops = ops[8:] {
			id, at, n, flags := uint32(ops[0]), int(binary.BigEndian.Uint16(ops[1:]))&^7, int(binary.BigEndian.Uint16(ops[3:]))%1481, ops[5]
			if flags&later != 0 {
				s.now = s.now.Add(10 * time.Second)
				_, dropped := s.expire(s.now)
				lost += dropped
			}
			data := make([]byte, n)
			for i := range data {
				data[i] = byte((at + i) * (int(id) + 1) >> 3)
			}
			key := id
			if flags&six != 0 {
				key |= 1 << 31
			}
			if flags&wrong != 0 && n > 0 {
				data[n-1]++
				spoiled[key] = true
			}
			frame := fragment4(uint16(id), at, flags&more != 0, data)
			if flags&six != 0 {
				frame = fragment6(id, at, flags&more != 0, packet.ProtoUDP, data)
			}
			body := frame[packet.EthernetLen:]
			ip, err := packet.ParseIP(body)
			if err != nil || !ip.Fragment {
				continue
			}
			given++
			whole, dropped := s.add(frame)
			lost += dropped
			if whole != nil {
				ip, err := packet.ParseIP(whole)
				if err != nil || ip.Fragment || ip.Len != len(whole) || !packet.HeaderValid(whole, &ip) {
					t.Fatalf("%x was put together: %v", whole, err)
				}
				for i, b := range whole[ip.HeaderLen:] {
					if b != byte(i*(int(id)+1)>>3) && !spoiled[key] {
						t.Fatalf("byte %d of packet %d is %d", i, id, b)
					}
				}
			}
			packets, cost, parts := 0, 0, 0
			for _, p := range s.waiting {
				packets++
				cost += p.cost
				parts += len(p.parts)
				if p.have == p.total && p.head != nil {
					t.Fatalf("packet %d is whole, and waits", p.key.id)
				}
			}
			if packets != len(s.byAge) || cost != s.cost || packets > s.limits.FragmentDatagrams || cost > s.limits.FragmentBytes || parts > given-lost {
				t.Fatalf("%d packets, %d in order, of %d bytes, %d accounted, %d fragments of %d", packets, len(s.byAge), cost, s.cost, parts, given)
			}
		}
	})
}
