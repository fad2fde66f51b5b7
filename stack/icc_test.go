package stack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// newApart is a network whose ports are kept apart: a with a Guard, b and c.
func newApart(t testing.TB, g Guard) *extendedWorld {
	t.Helper()
	n, err := New(Options{Name: "apart", Gateway4: gw4, Gateway6: gw6, NoICC: true, Announce: Announce{Messages: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	w := &extendedWorld{world: &world{net: n, a: newMemory(t), b: newMemory(t)}, c: newMemory(t)}
	add := func(name string, m *memory, mac packet.MAC, g Guard, addrs ...netip.Addr) *Port {
		p, err := n.AddPort(PortOptions{Name: name, MAC: mac, Addresses: addrs, Device: m, Guard: g})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	w.pa = add("a", w.a, aMAC, g, a4, a6)
	w.pb = add("b", w.b, bMAC, Guard{}, b4, b6)
	w.pc = add("c", w.c, cMAC, Guard{}, c4, c6)
	return w
}

// web are exceptions by which a reaches ports 80 to 82 of b.
func web(t testing.TB, n *Network) {
	t.Helper()
	var list []Exception
	for _, proto := range []uint8{packet.ProtoTCP, packet.ProtoUDP} {
		list = append(list, Exception{From: a4, To: b4, Proto: proto, First: 80, Last: 82}, Exception{From: a6, To: b6, Proto: proto, First: 80, Last: 82})
	}
	if err := n.SetExceptions("a", list); err != nil {
		t.Fatal(err)
	}
}

// segment makes a TCP segment between ports.
func segment(dstMAC, srcMAC packet.MAC, src, dst netip.AddrPort, flags byte) []byte {
	t := make([]byte, header.TCPMinimumSize)
	binary.BigEndian.PutUint16(t, src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	t[12], t[13] = 5<<4, flags
	binary.BigEndian.PutUint16(t[16:], ^packet.Sum(t, packet.PseudoSum(src.Addr(), dst.Addr(), packet.ProtoTCP, len(t))))
	f := to(dstMAC, ipFrame(src.Addr(), dst.Addr(), packet.ProtoTCP, 64, t))
	copy(f[6:], srcMAC[:])
	return f
}

// cutPart is what a fragment carries whose content does not matter.
var cutPart = make([]byte, 16)

const synFlag, ackFlag, rstFlag, finFlag = 0x02, 0x10, 0x04, 0x01

// from puts the source MAC of a frame.
func from(mac packet.MAC, frame []byte) []byte {
	b := bytes.Clone(frame)
	copy(b[6:], mac[:])
	return b
}

// aboutUDP makes an ICMP error of src to dst about a datagram of dst to src's port.
func aboutUDP(dstMAC, srcMAC packet.MAC, src, dst netip.Addr, at, port uint16) []byte {
	q := datagramFrame(srcMAC, dstMAC, ap(dst, at), ap(src, port), "quoted")[packet.EthernetLen:]
	return packet.ICMPErrorFrame(dstMAC, srcMAC, src, dst, packet.PortUnreachable(dst.Is4()), q)
}

func TestWithoutICCNothingPassesBetweenContainers(t *testing.T) {
	all6 := packet.AllNodes
	frames := map[string][]byte{
		"a datagram":                  datagramFrame(bMAC, aMAC, ap(a4, 1), ap(b4, 80), "x"),
		"an IPv6 datagram":            datagramFrame(bMAC, aMAC, ap(a6, 1), ap(b6, 80), "x"),
		"a SYN":                       segment(bMAC, aMAC, ap(a4, 1), ap(b4, 80), synFlag),
		"an IPv6 SYN":                 segment(bMAC, aMAC, ap(a6, 1), ap(b6, 80), synFlag),
		"a ping":                      to(bMAC, echoRequest(a4, b4, "x")),
		"an IPv6 ping":                to(bMAC, echoRequest(a6, b6, "x")),
		"link-local":                  datagramFrame(bMAC, aMAC, ap(aMAC.LinkLocal(), 1), ap(bMAC.LinkLocal(), 80), "x"),
		"broadcast":                   datagramFrame(packet.Broadcast, aMAC, ap(a4, 1), ap(all4, 80), "x"),
		"directed broadcast":          datagramFrame(packet.Broadcast, aMAC, ap(a4, 1), ap(here4, 80), "x"),
		"multicast":                   datagramFrame(packet.MulticastMAC(netip.MustParseAddr("239.1.2.3")), aMAC, ap(a4, 1), netip.MustParseAddrPort("239.1.2.3:80"), "x"),
		"IPv6 multicast":              datagramFrame(packet.MulticastMAC(all6), aMAC, ap(a6, 1), ap(all6, 80), "x"),
		"a group's address to one":    datagramFrame(bMAC, aMAC, ap(a4, 1), ap(all4, 80), "x"),
		"another protocol":            from4(a4, b4, 47, nil, cutPart),
		"a fragment":                  fragmentOf(from4(a4, b4, packet.ProtoUDP, nil, cutPart), 0x2000),
		"a later fragment":            fragmentOf(from4(a4, b4, packet.ProtoUDP, nil, cutPart), 0x0003),
		"an IPv6 fragment":            from6(a6, b6, packet.ProtoFragment, join(first6(packet.ProtoUDP), cutPart)...),
		"an ICMP error":               quoting(a4, b4, b4, a4),
		"for the outside, by b":       datagramFrame(bMAC, aMAC, ap(a4, 1), ap(out4, 80), "x"),
		"for the outside, by b, IPv6": datagramFrame(bMAC, aMAC, ap(a6, 1), ap(out6, 80), "x"),
	}
	for name, frame := range frames {
		w := newApart(t, Guard{})
		w.a.send(plain, frame)
		w.settle(w.a, aMAC, a4)
		w.b.silent()
		w.c.silent()
		if n := w.pa.Stats().Drops["icc"]; n != 1 {
			t.Errorf("%s: drops are %v", name, w.pa.Stats().Drops)
		}
	}
}

func TestNeighboursAreSeenWithoutICC(t *testing.T) {
	w := newApart(t, Guard{})
	w.a.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: a4, TargetIP: b4}))
	reply, err := packet.ParseARP(w.a.receive().frame[packet.EthernetLen:])
	if err != nil || reply.SenderMAC != bMAC {
		t.Errorf("ARP: %+v, %v", reply, err)
	}
	w.a.send(plain, solicit(a6, b6))
	if frame := w.a.receive().frame; packet.Destination(frame) != aMAC {
		t.Errorf("%x", frame)
	}
	w.b.silent()
	w.c.silent()
}

// What a Guard lets a container announce, or ask for, is no way to the others.
func TestGuardsAreNoWayRoundWithoutICC(t *testing.T) {
	vip := netip.MustParseAddr("172.18.0.99")
	w := newApart(t, Guard{Addresses: []netip.Prefix{netip.PrefixFrom(vip, 32)}})
	claim := packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: vip, TargetIP: vip})
	w.a.send(plain, claim)
	w.settle(w.a, aMAC, a4)
	w.b.silent()
	w.c.silent()
	// Who asks for it does not reach a either: the gateway asks.
	w.pa.net.stations.forget(w.pa)
	w.pa.gone = false
	w.b.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: bMAC, SenderIP: b4, TargetIP: vip}))
	ask, err := packet.ParseARP(w.a.receive().frame[packet.EthernetLen:])
	if err != nil || ask.SenderMAC != gwMAC || ask.TargetIP != vip {
		t.Fatalf("a was asked %+v, %v", ask, err)
	}
	w.a.send(plain, from(aMAC, packet.ARPFrame(gwMAC, packet.ARP{Op: packet.ARPReply, SenderMAC: aMAC, SenderIP: vip, TargetMAC: gwMAC, TargetIP: gw4.Addr()})))
	w.settle(w.a, aMAC, a4)
	w.b.silent()
	w.b.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: bMAC, SenderIP: b4, TargetIP: vip}))
	if reply, err := packet.ParseARP(w.b.receive().frame[packet.EthernetLen:]); err != nil || reply.SenderMAC != aMAC {
		t.Errorf("b was told %+v, %v", reply, err)
	}
	// The virtual address has no exceptions, though a's own has.
	if err := w.net.SetExceptions("a", []Exception{{From: vip, To: b4, Proto: packet.ProtoUDP, First: 80, Last: 80}}); err != nil {
		t.Fatal(err)
	}
	w.a.send(plain, datagramFrame(bMAC, aMAC, ap(vip, 1), ap(b4, 80), "x"))
	w.settle(w.a, aMAC, a4)
	w.b.silent()
}

func TestExceptionsLetThroughWhatTheyNameAndItsAnswers(t *testing.T) {
	for _, f := range []struct{ a, b, c netip.Addr }{{a4, b4, c4}, {a6, b6, c6}} {
		w := newApart(t, Guard{})
		web(t, w.net)
		u := func(port uint16) []byte { return datagramFrame(bMAC, aMAC, ap(f.a, 1000), ap(f.b, port), "x") }
		for _, x := range []struct {
			name   string
			from   *memory
			to     *memory
			mac    packet.MAC
			src    netip.Addr
			frame  []byte
			passes bool
		}{
			{"the first port", w.a, w.b, aMAC, f.a, u(80), true},
			{"the last port", w.a, w.b, aMAC, f.a, u(82), true},
			{"a port below", w.a, w.b, aMAC, f.a, u(79), false},
			{"a port above", w.a, w.b, aMAC, f.a, u(83), false},
			{"a SYN", w.a, w.b, aMAC, f.a, segment(bMAC, aMAC, ap(f.a, 1000), ap(f.b, 80), synFlag), true},
			{"a segment", w.a, w.b, aMAC, f.a, segment(bMAC, aMAC, ap(f.a, 1000), ap(f.b, 80), ackFlag), true},
			{"a SYN to another port", w.a, w.b, aMAC, f.a, segment(bMAC, aMAC, ap(f.a, 80), ap(f.b, 22), synFlag), false},
			{"an answer", w.b, w.a, bMAC, f.b, datagramFrame(aMAC, bMAC, ap(f.b, 82), ap(f.a, 1000), "x"), true},
			{"an answer that nobody waits for", w.b, w.a, bMAC, f.b, datagramFrame(aMAC, bMAC, ap(f.b, 81), ap(f.a, 1000), "x"), false},
			{"an answer to another port", w.b, w.a, bMAC, f.b, datagramFrame(aMAC, bMAC, ap(f.b, 82), ap(f.a, 53), "x"), false},
			{"an answer from another port", w.b, w.a, bMAC, f.b, datagramFrame(aMAC, bMAC, ap(f.b, 1000), ap(f.a, 80), "x"), false},
			{"a SYN-ACK", w.b, w.a, bMAC, f.b, segment(aMAC, bMAC, ap(f.b, 80), ap(f.a, 1000), synFlag|ackFlag), true},
			{"a RST", w.b, w.a, bMAC, f.b, segment(aMAC, bMAC, ap(f.b, 80), ap(f.a, 1000), rstFlag|ackFlag), true},
			{"a connection the other way", w.b, w.a, bMAC, f.b, segment(aMAC, bMAC, ap(f.b, 80), ap(f.a, 1000), synFlag), false},
			{"a ping", w.a, w.b, aMAC, f.a, to(bMAC, echoRequest(f.a, f.b, "x")), false},
			{"an error about a datagram", w.b, w.a, bMAC, f.b, aboutUDP(aMAC, bMAC, f.b, f.a, 1000, 80), true},
			{"an error about an answer", w.a, w.b, aMAC, f.a, aboutUDP(bMAC, aMAC, f.a, f.b, 80, 1000), true},
			{"an error about another datagram", w.b, w.a, bMAC, f.b, aboutUDP(aMAC, bMAC, f.b, f.a, 1000, 53), false},
			{"to a third one", w.a, w.c, aMAC, f.a, datagramFrame(cMAC, aMAC, ap(f.a, 1000), ap(f.c, 80), "x"), false},
			{"to a third one's MAC", w.a, w.c, aMAC, f.a, to(cMAC, u(80)), false},
			{"of a third one", w.c, w.b, cMAC, f.c, datagramFrame(bMAC, cMAC, ap(f.c, 1000), ap(f.b, 80), "x"), false},
		} {
			x.from.send(plain, x.frame)
			if x.passes {
				if got := x.to.receive(); !bytes.Equal(got.frame, x.frame) {
					t.Errorf("%s: got %x, sent %x", x.name, got.frame, x.frame)
				}
			}
			v4 := map[*memory]netip.Addr{w.a: a4, w.b: b4, w.c: c4}[x.from]
			w.settle(x.from, x.mac, v4)
			for _, m := range []*memory{w.a, w.b, w.c} {
				select {
				case s := <-m.out:
					t.Errorf("%s: %x has passed", x.name, s.frame)
				default:
				}
			}
		}
		// They go as they have come.
		if err := w.net.SetExceptions("a", nil); err != nil {
			t.Fatal(err)
		}
		w.a.send(plain, u(80))
		w.settle(w.a, aMAC, a4)
		w.b.silent()
	}
}

func TestFragmentsAreJudgedAsWhatTheyAreOf(t *testing.T) {
	const at = 1000 // where each datagram is cut, of its UDP header on
	cut := func(v4 bool, port uint16, later bool) []byte {
		src, dst := ap(a6, 1000), ap(b6, port)
		if v4 {
			src, dst = ap(a4, 1000), ap(b4, port)
		}
		whole := datagramFrame(bMAC, aMAC, src, dst, string(make([]byte, 1992)))
		head := packet.EthernetLen + packet.IPv6Len
		if v4 {
			head = packet.EthernetLen + packet.IPv4Len
		}
		u := whole[head:]
		if v4 {
			piece, field := u[:at], uint16(0x2000)
			if later {
				piece, field = u[at:], uint16(at/8)
			}
			f := ipFrame(src.Addr(), dst.Addr(), packet.ProtoUDP, 64, piece)
			binary.BigEndian.PutUint16(f[packet.EthernetLen+4:], port) // id
			return to(bMAC, fragmentOf(f, field))
		}
		h := []byte{packet.ProtoUDP, 0, 0, 1, 0, 0, byte(port >> 8), byte(port)}
		piece := u[:at]
		if later {
			binary.BigEndian.PutUint16(h[2:], at)
			piece = u[at:]
		}
		return to(bMAC, ipFrame(src.Addr(), dst.Addr(), packet.ProtoFragment, 64, join(h, piece)))
	}
	for _, v4 := range []bool{true, false} {
		for name, order := range map[string][]bool{"in order": {false, true}, "out of order": {true, false}} {
			w := newApart(t, Guard{})
			web(t, w.net)
			for _, later := range order {
				w.b.silent()
				w.a.send(plain, cut(v4, 80, later))
			}
			body := w.b.receive().frame[packet.EthernetLen:]
			ip, err := packet.ParseIP(body)
			if err != nil || ip.Fragment || len(body)-ip.HeaderLen != 2000 || !packet.HeaderValid(body, &ip) || !packet.TransportValid(body, &ip) {
				t.Errorf("%s, IPv4 %v: %+v, %v", name, v4, ip, err)
			}
			// Whoever may not send the datagram may not send a part of it.
			w.a.send(plain, cut(v4, 90, false))
			w.a.send(plain, cut(v4, 90, true))
			w.a.send(plain, cut(v4, 81, true))
			w.settle(w.a, aMAC, a4)
			w.b.silent()
		}
	}
}

func TestExceptionsThatCannotBeAreRefused(t *testing.T) {
	w := newApart(t, Guard{})
	web(t, w.net)
	for name, x := range map[string]Exception{
		"two families": {From: a4, To: b6, Proto: packet.ProtoTCP, First: 1, Last: 1},
		"itself":       {From: a4, To: a4, Proto: packet.ProtoTCP, First: 1, Last: 1},
		"ICMP":         {From: a4, To: b4, Proto: packet.ProtoICMP, First: 1, Last: 1},
		"port 0":       {From: a4, To: b4, Proto: packet.ProtoTCP, First: 0, Last: 1},
		"no ports":     {From: a4, To: b4, Proto: packet.ProtoTCP, First: 2, Last: 1},
		"no address":   {To: b4, Proto: packet.ProtoTCP, First: 1, Last: 1},
	} {
		if err := w.net.SetExceptions("a", []Exception{x}); !errors.Is(err, ErrException) {
			t.Errorf("%s: %v, want ErrException", name, err)
		}
	}
	if err := w.net.SetExceptions("a", make([]Exception, maxExceptions+1)); !errors.Is(err, ErrException) {
		t.Errorf("too many: %v", err)
	}
	w.a.send(plain, datagramFrame(bMAC, aMAC, ap(a4, 1), ap(b4, 80), "still"))
	w.b.receive()
}

func TestAnExceptionCostsNoAllocation(t *testing.T) {
	w := newApart(t, Guard{})
	w.pc.Close()
	f := switchOne(w.world)
	if err := w.net.SetExceptions("a", []Exception{{From: a4, To: c4, Proto: packet.ProtoUDP, First: 2, Last: 2}}); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, f); n != 0 {
		t.Errorf("%v allocations for a frame of an exception", n)
	}
}

// FuzzApart: any frame of a port of either kind, on a network without ICC. What gets to
// others is what the exceptions name, and nothing else, whatever was sent before.
func FuzzApart(f *testing.F) {
	worlds := map[bool]*extendedWorld{}
	for _, nested := range []bool{false, true} {
		g := Guard{}
		if nested {
			g = Guard{Nested: true, Addresses: vips.Addresses}
		}
		w := newApart(f, g)
		web(f, w.net)
		if err := w.net.SetExceptions("c", []Exception{{From: c4, To: a4, Proto: packet.ProtoTCP, First: 22, Last: 22}}); err != nil {
			f.Fatal(err)
		}
		worlds[nested] = w
	}
	for _, frame := range [][]byte{
		datagramFrame(bMAC, aMAC, ap(a4, 1), ap(b4, 80), "x"), segment(bMAC, aMAC, ap(a6, 1), ap(b6, 80), synFlag),
		segment(cMAC, aMAC, ap(a4, 22), ap(c4, 9), synFlag|ackFlag), segment(cMAC, aMAC, ap(a4, 22), ap(c4, 9), synFlag),
		fragmentOf(from4(a4, b4, packet.ProtoUDP, nil, cutPart), 0x2000), quoting(a4, b4, b4, a4),
		datagramFrame(packet.Broadcast, aMAC, ap(a4, 1), ap(all4, 80), "x"), aboutUDP(bMAC, aMAC, a4, b4, 80, 1000),
		packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: a4, TargetIP: vip4}),
		from6(a6, b6, packet.ProtoFragment, join(first6(packet.ProtoUDP), cutPart)...),
	} {
		f.Add(plain[:], frame, false)
		f.Add(plain[:], frame, true)
	}
	f.Fuzz(func(t *testing.T, hdr, frame []byte, nested bool) {
		if len(hdr) < vnet.Len || len(frame) > maxFrame {
			return
		}
		w := worlds[nested]
		in := &incoming{port: w.pa, hdr: (*[vnet.Len]byte)(bytes.Clone(hdr[:vnet.Len])), frame: bytes.Clone(frame), view: viewOf(frame)}
		w.net.forward(in)
		if in.view != nil {
			in.view.Release()
		}
		for len(w.a.out) > 0 {
			<-w.a.out
		}
		for m, mac := range map[*memory]packet.MAC{w.b: bMAC, w.c: cMAC} {
			for len(m.out) > 0 {
				got := <-m.out
				if packet.Source(got.frame) == gwMAC {
					continue // the switch itself: who has a virtual address?
				}
				if !excepted(got.frame, mac) {
					t.Errorf("%x got to a neighbour, after %x", got.frame, frame)
				}
			}
		}
	})
}

// excepted judges by gVisor's parsers whether FuzzApart's exceptions name a frame.
func excepted(frame []byte, to packet.MAC) bool {
	body := frame[header.EthernetMinimumSize:]
	var src, dst netip.Addr
	var proto uint8
	var t []byte
	switch header.Ethernet(frame).Type() {
	case header.IPv4ProtocolNumber:
		h := header.IPv4(body)
		if !h.IsValid(len(h)) || h.More() || h.FragmentOffset() != 0 {
			return false
		}
		src, dst, proto, t = addrOf(h.SourceAddress()), addrOf(h.DestinationAddress()), h.Protocol(), h.Payload()
	case header.IPv6ProtocolNumber:
		h := header.IPv6(body)
		if !h.IsValid(len(h)) {
			return false
		}
		ip, err := packet.ParseIP(body) // extension headers
		if err != nil || ip.Fragment {
			return false
		}
		src, dst, proto, t = addrOf(h.SourceAddress()), addrOf(h.DestinationAddress()), ip.Proto, body[ip.HeaderLen:ip.Len]
	default:
		return false
	}
	at := func(b []byte, i int) uint16 { return binary.BigEndian.Uint16(b[2*i:]) }
	web := func(port uint16) bool { return port >= 80 && port <= 82 }
	isWeb := func(p uint8) bool { return p == packet.ProtoTCP || p == packet.ProtoUDP }
	switch {
	case to == bMAC && (src == a4 && dst == b4 || src == a6 && dst == b6):
		if isWeb(proto) {
			return web(at(t, 1))
		}
		// An error about an answer of b's.
		quoted := header.IPv4(t[8:])
		if src == a4 && proto == packet.ProtoICMP && len(quoted) >= 20 && isWeb(quoted.Protocol()) {
			return addrOf(quoted.SourceAddress()) == b4 && addrOf(quoted.DestinationAddress()) == a4 && web(at(quoted[quoted.HeaderLength():], 0))
		}
		quoted6 := header.IPv6(t[8:])
		return src == a6 && proto == packet.ProtoICMPv6 && len(quoted6) >= 44 && isWeb(quoted6.NextHeader()) &&
			addrOf(quoted6.SourceAddress()) == b6 && addrOf(quoted6.DestinationAddress()) == a6 && web(at(quoted6[40:], 0))
	case to == cMAC && src == a4 && dst == c4:
		if proto == packet.ProtoTCP {
			return at(t, 0) == 22 && t[13]&(synFlag|ackFlag) != synFlag
		}
		quoted := header.IPv4(t[8:])
		return proto == packet.ProtoICMP && len(quoted) >= 20 && quoted.Protocol() == packet.ProtoTCP &&
			addrOf(quoted.SourceAddress()) == c4 && at(quoted[quoted.HeaderLength():], 1) == 22
	}
	return false
}
