package stack

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// from4 makes an IPv4 frame of a for b with options (a multiple of four bytes).
func from4(src, dst netip.Addr, proto uint8, options, t []byte) []byte {
	b := ipFrame(src, dst, proto, 64, append(append([]byte(nil), options...), t...))
	copy(b, bMAC[:])
	ip := b[packet.EthernetLen:]
	ip[0] = 0x45 + byte(len(options)/4)
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:12], ^packet.Sum(ip[:packet.IPv4Len+len(options)], 0))
	return b
}

// from6 makes an IPv6 frame of a for b whose first header behind IPv6's is next.
func from6(src, dst netip.Addr, next uint8, rest ...byte) []byte {
	b := ipFrame(src, dst, next, 255, rest)
	copy(b, bMAC[:])
	return b
}

// icmp6 makes an ICMPv6 message with its checksum, for the end of a packet.
func icmp6(src, dst netip.Addr, typ byte, body ...byte) []byte {
	m := append([]byte{typ, 0, 0, 0}, body...)
	binary.BigEndian.PutUint16(m[2:], ^packet.Sum(m, packet.PseudoSum(src, dst, packet.ProtoICMPv6, len(m))))
	return m
}

// quoting makes an ICMP error of src to dst about a packet.
func quoting(src, dst, quotedSrc, quotedDst netip.Addr) []byte {
	q := ipFrame(quotedSrc, quotedDst, packet.ProtoUDP, 64, bareUDP)[packet.EthernetLen:]
	return packet.ICMPErrorFrame(bMAC, aMAC, src, dst, packet.PortUnreachable(dst.Is4()), q)
}

// tagged puts an EtherType and its bytes before the frame's own.
func tagged(frame []byte, tag ...byte) []byte {
	return append(append(append([]byte(nil), frame[:12]...), tag...), frame[12:]...)
}

// typed gives the frame another EtherType.
func typed(frame []byte, etherType uint16) []byte {
	b := append([]byte(nil), frame...)
	binary.BigEndian.PutUint16(b[12:], etherType)
	return b
}

// to sends the frame to another MAC.
func to(mac packet.MAC, frame []byte) []byte {
	b := append([]byte(nil), frame...)
	copy(b, mac[:])
	return b
}

// Extension headers, each followed by the one named.
func options6(next uint8) []byte           { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }
func atomic6(next uint8) []byte            { return []byte{next, 0, 0, 0, 0, 0, 0, 1} }
func first6(next uint8) []byte             { return []byte{next, 0, 0, 1, 0, 0, 0, 1} }
func routing6(next, typ, left byte) []byte { return []byte{next, 0, typ, left, 0, 0, 0, 0} }

func join(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// Nothing of what a hostile container may send reaches its neighbour, and each is
// counted. The rows are named after what peers were attacked with.
func TestHostileFramesAreDroppedAndCounted(t *testing.T) {
	udp := func(from, to uint16, payload ...byte) []byte {
		b := make([]byte, packet.UDPLen, packet.UDPLen+len(payload))
		binary.BigEndian.PutUint16(b, from)
		binary.BigEndian.PutUint16(b[2:], to)
		binary.BigEndian.PutUint16(b[4:], uint16(packet.UDPLen+len(payload)))
		return append(b, payload...)
	}
	good4 := from4(a4, b4, packet.ProtoUDP, nil, udp(9, 9))
	addr := netip.MustParseAddr
	ll := aMAC.LinkLocal()
	ra := icmp6(ll, packet.AllNodes, packet.NDRouterAdvert, make([]byte, 12)...)
	rdnss := icmp6(ll, packet.AllNodes, packet.NDRouterAdvert, append(make([]byte, 12), join([]byte{25, 3, 0, 0, 0, 0, 0xff, 0xff}, a6.AsSlice())...)...)
	echo := icmp6(a6, b6, packet.ICMPv6EchoRequest, 0, 1, 0, 1)
	all6 := packet.MulticastMAC(packet.AllNodes)
	tcpPart := make([]byte, 24)
	announce := func(claimed netip.Addr, mac packet.MAC) []byte {
		b := packet.NeighborAdvertFrame(all6, mac, packet.AllNodes, claimed)
		copy(b[6:12], aMAC[:])
		return b
	}
	probe := packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: netip.IPv4Unspecified(), TargetIP: addr("172.18.0.99")})
	dad := to(packet.MulticastMAC(addr("ff02::1:ff00:99")), from6(netip.IPv6Unspecified(), addr("ff02::1:ff00:99"), packet.ProtoICMPv6,
		icmp6(netip.IPv6Unspecified(), addr("ff02::1:ff00:99"), packet.NDNeighborSolicit, append(make([]byte, 4), addr("fd00:1::99").AsSlice()...)...)...))
	foreignARP := packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: bMAC, SenderIP: a4, TargetIP: b4})
	copy(foreignARP[6:12], aMAC[:])

	for _, c := range []struct {
		name, reason string
		frame        []byte
	}{
		{"broadcast as the source MAC", "source_mac", func() []byte { b := to(bMAC, good4); copy(b[6:12], packet.Broadcast[:]); return b }()},
		{"a group as the source MAC", "source_mac", func() []byte { b := to(bMAC, good4); b[6] |= 1; return b }()},

		{"VLAN tag", "ethertype", tagged(good4, 0x81, 0x00, 0x00, 0x05)},
		{"two VLAN tags", "ethertype", tagged(good4, 0x88, 0xa8, 0x00, 0x05, 0x81, 0x00, 0x00, 0x06)},
		{"VLAN 0, a priority tag", "ethertype", tagged(good4, 0x81, 0x00, 0xe0, 0x00)},
		{"old double tag", "ethertype", tagged(good4, 0x91, 0x00, 0x00, 0x05)},
		{"LLDP", "ethertype", to(packet.MAC{0x01, 0x80, 0xc2, 0, 0, 0x0e}, typed(good4, 0x88cc))},
		{"STP, a length instead of a type", "ethertype", to(packet.MAC{0x01, 0x80, 0xc2}, typed(good4, 0x0026))},
		{"EAPOL", "ethertype", to(packet.MAC{0x01, 0x80, 0xc2, 0, 0, 0x03}, typed(good4, 0x888e))},
		{"pause frames", "ethertype", to(packet.MAC{0x01, 0x80, 0xc2, 0, 0, 0x01}, typed(good4, 0x8808))},
		{"MPLS", "ethertype", typed(good4, 0x8847)},
		{"PPPoE", "ethertype", typed(good4, 0x8863)},
		{"RARP", "ethertype", typed(good4, 0x8035)},

		{"from the broadcast address", "source_address", from4(here4, b4, packet.ProtoUDP, nil, udp(9, 9))},
		{"from loopback", "source_address", from4(addr("127.0.0.1"), b4, packet.ProtoUDP, nil, udp(9, 9))},
		{"from 0.0.0.0", "source_address", from4(netip.IPv4Unspecified(), b4, packet.ProtoUDP, nil, udp(68, 67))},
		{"from the metadata address", "source_address", from4(addr("169.254.169.254"), b4, packet.ProtoUDP, nil, udp(9, 9))},
		{"from its own address, mapped", "source_address", from6(addr("::ffff:172.18.0.2"), b6, packet.ProtoUDP, udp(9, 9)...)},
		{"from its own address, 6to4", "source_address", from6(addr("2002:ac12:0002::1"), b6, packet.ProtoUDP, udp(9, 9)...)},
		{"from its own address, NAT64", "source_address", from6(addr("64:ff9b::ac12:2"), b6, packet.ProtoUDP, udp(9, 9)...)},
		{"from IPv6 loopback", "source_address", from6(netip.IPv6Loopback(), b6, packet.ProtoUDP, udp(9, 9)...)},
		{"from another link-local address", "source_address", from6(bMAC.LinkLocal(), b6, packet.ProtoUDP, udp(9, 9)...)},
		{"from a group", "source_address", from6(packet.AllNodes, b6, packet.ProtoUDP, udp(9, 9)...)},
		{"from nobody: a datagram", "source_address", from6(netip.IPv6Unspecified(), b6, packet.ProtoUDP, udp(9, 9)...)},
		{"from nobody: an echo request to all", "source_address", to(all6, from6(netip.IPv6Unspecified(), packet.AllNodes, packet.ProtoICMPv6, echo...))},
		{"from nobody: an advertisement", "source_address", to(all6, from6(netip.IPv6Unspecified(), packet.AllNodes, packet.ProtoICMPv6,
			icmp6(netip.IPv6Unspecified(), packet.AllNodes, packet.NDNeighborAdvert, append(make([]byte, 4), a6.AsSlice()...)...)...))},

		{"to loopback", "destination", from4(a4, addr("127.0.0.1"), packet.ProtoUDP, nil, udp(9, 9))},
		{"to IPv6 loopback", "destination", from6(a6, netip.IPv6Loopback(), packet.ProtoUDP, udp(9, 9)...)},
		{"to nobody", "destination", from4(a4, netip.IPv4Unspecified(), packet.ProtoUDP, nil, udp(9, 9))},
		{"to a mapped address", "destination", from6(a6, addr("::ffff:172.18.0.3"), packet.ProtoUDP, udp(9, 9)...)},
		{"to a mapped address through the gateway", "destination", to(gwMAC, from6(a6, addr("::ffff:169.254.169.254"), packet.ProtoUDP, udp(9, 9)...))},

		{"ARP in another's name", "neighbor", foreignARP},
		{"a gratuitous ARP for the gateway", "neighbor", packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: gw4.Addr(), TargetIP: gw4.Addr()})},
		{"a gratuitous ARP for a neighbour", "neighbor", packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: b4, TargetIP: b4})},
		{"a gratuitous ARP for an address of nobody", "neighbor", packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPReply, SenderMAC: aMAC, SenderIP: c4, TargetIP: c4})},
		{"an ARP probe for an address of nobody", "neighbor", probe},
		{"an ARP reply of nobody", "neighbor", packet.ARPFrame(bMAC, packet.ARP{Op: packet.ARPReply, SenderMAC: aMAC, SenderIP: netip.IPv4Unspecified(), TargetMAC: bMAC, TargetIP: b4})},
		{"an advertisement for the gateway", "source_address", announce(gw6.Addr(), aMAC)},
		{"an advertisement for a neighbour, from it", "source_address", announce(b6, aMAC)},
		{"its own address at a neighbour's MAC", "neighbor", announce(a6, bMAC)},
		{"duplicate address detection for an address of nobody", "neighbor", dad},
		{"a router advertisement", "neighbor", to(all6, from6(ll, packet.AllNodes, packet.ProtoICMPv6, ra...))},
		{"a router advertisement with a resolver", "neighbor", to(all6, from6(ll, packet.AllNodes, packet.ProtoICMPv6, rdnss...))},
		{"a router advertisement to one", "neighbor", from6(ll, b6, packet.ProtoICMPv6, ra...)},
		{"a router advertisement behind options", "neighbor", from6(ll, b6, packet.ProtoDestOpts, join(options6(packet.ProtoICMPv6), ra)...)},
		{"a router advertisement behind hop-by-hop and destination options", "neighbor", from6(ll, b6, packet.ProtoHopByHop,
			join(options6(packet.ProtoDestOpts), options6(packet.ProtoDestOpts), options6(packet.ProtoICMPv6), ra)...)},
		{"a router advertisement behind a route that was gone", "neighbor", from6(ll, b6, packet.ProtoRouting, join(routing6(packet.ProtoICMPv6, 2, 0), ra)...)},
		{"a router advertisement in an atomic fragment", "neighbor", from6(ll, b6, packet.ProtoFragment, join(atomic6(packet.ProtoICMPv6), ra)...)},
		{"a router advertisement in a first fragment", "neighbor", from6(ll, b6, packet.ProtoFragment, join(first6(packet.ProtoICMPv6), ra)...)},
		{"a router advertisement in a fragment behind options", "neighbor", from6(ll, b6, packet.ProtoDestOpts, join(options6(packet.ProtoFragment), first6(packet.ProtoDestOpts), options6(packet.ProtoICMPv6), ra)...)},
		{"options without end", "malformed", from6(ll, b6, packet.ProtoDestOpts, join(options6(60), options6(60), options6(60), options6(60), options6(60), options6(60), options6(60), options6(60), options6(packet.ProtoICMPv6), ra)...)},
		{"a header chain that goes on in the next fragment", "malformed", from6(ll, b6, packet.ProtoFragment, join(first6(packet.ProtoDestOpts), []byte{packet.ProtoICMPv6, 3, 1, 4, 0, 0, 0, 0})...)},
		{"a solicitation in an atomic fragment", "malformed", from6(a6, b6, packet.ProtoFragment, join(atomic6(packet.ProtoICMPv6),
			icmp6(a6, b6, packet.NDNeighborSolicit, append(make([]byte, 4), b6.AsSlice()...)...))...)},
		{"a router solicitation in an atomic fragment", "malformed", from6(a6, b6, packet.ProtoFragment, join(atomic6(packet.ProtoICMPv6),
			icmp6(a6, b6, packet.NDRouterSolicit, 0, 0, 0, 0))...)},
		{"a redirect", "neighbor", from6(ll, b6, packet.ProtoICMPv6, icmp6(ll, b6, packet.NDRedirect, make([]byte, 36)...)...)},
		{"router renumbering", "neighbor", from6(a6, b6, packet.ProtoICMPv6, icmp6(a6, b6, packet.RouterRenumbering, make([]byte, 12)...)...)},
		{"an IPv4 router advertisement", "neighbor", from4(a4, b4, packet.ProtoICMP, nil, []byte{9, 0, 0, 0, 1, 2, 0, 30, 172, 18, 0, 2, 0, 0, 0, 0})},
		{"a DHCP offer to all", "neighbor", to(packet.Broadcast, from4(a4, all4, packet.ProtoUDP, nil, udp(67, 68, 2, 1, 6, 0)))},
		{"a DHCP offer behind options", "neighbor", from4(a4, b4, packet.ProtoUDP, []byte{1, 1, 1, 1}, udp(1067, 68, 2, 1, 6, 0))},
		{"a DHCP offer in a first fragment", "neighbor", fragmentOf(from4(a4, b4, packet.ProtoUDP, nil, udp(67, 68)), 0x2000)},
		{"a DHCPv6 answer", "neighbor", from6(ll, b6, packet.ProtoUDP, udp(547, 546, 7, 0, 0, 1)...)},

		{"a loose source route", "source_route", from4(a4, b4, packet.ProtoUDP, []byte{131, 7, 4, 172, 18, 0, 1, 0}, udp(9, 9))},
		{"a strict source route to the gateway", "source_route", to(gwMAC, from4(a4, out4, packet.ProtoUDP, []byte{1, 137, 7, 4, 10, 0, 0, 1}, udp(9, 9)))},
		{"an IPv6 route of type 0", "source_route", from6(a6, b6, packet.ProtoRouting, join(routing6(packet.ProtoUDP, 0, 0), udp(9, 9))...)},
		{"an IPv6 route with segments left", "source_route", to(gwMAC, from6(a6, out6, packet.ProtoRouting, join(routing6(packet.ProtoUDP, 4, 1), udp(9, 9))...))},
		{"unreadable IPv4 options", "malformed", from4(a4, b4, packet.ProtoUDP, []byte{131, 200, 4, 0}, udp(9, 9))},

		{"half a TCP header", "malformed", from4(a4, b4, packet.ProtoTCP, nil, tcpPart[:19])},
		{"half a UDP header", "malformed", from4(a4, b4, packet.ProtoUDP, nil, tcpPart[:7])},
		{"half an ICMP header", "malformed", from4(a4, b4, packet.ProtoICMP, nil, []byte{9, 0, 0, 0})},
		{"half an ICMPv6 header", "malformed", from6(a6, b6, packet.ProtoICMPv6, 134, 0, 0, 0)},
		{"an ICMPv6 header without anything", "malformed", from6(a6, b6, packet.ProtoICMPv6)},
		{"a TCP header cut apart", "fragments", fragmentOf(from4(a4, b4, packet.ProtoTCP, nil, tcpPart[:8]), 0x2000)},
		{"a fragment that writes over a TCP header", "fragments", fragmentOf(from4(a4, b4, packet.ProtoTCP, nil, tcpPart[:8]), 0x0001)},
		{"an IPv6 TCP header cut apart", "fragments", from6(a6, b6, packet.ProtoFragment, join(first6(packet.ProtoTCP), tcpPart[:16])...)},
		{"an ICMPv6 header cut apart", "fragments", from6(a6, b6, packet.ProtoFragment, join(first6(packet.ProtoDestOpts), options6(packet.ProtoICMPv6), ra[:4])...)},

		{"an error about a flow with the gateway", "icmp_error", quoting(a4, b4, b4, gw4.Addr())},
		{"an error about a flow between others", "icmp_error", quoting(a4, b4, b4, c4)},
		{"an error about a flow of others", "icmp_error", quoting(a4, b4, c4, a4)},
		{"an error to the gateway about a neighbour's flow", "icmp_error", to(gwMAC, quoting(a4, out4, out4, b4))},
		{"an IPv6 error about a flow with the gateway", "icmp_error", quoting(a6, b6, b6, gw6.Addr())},
		{"an IPv6 error to the gateway about a neighbour's flow", "icmp_error", to(gwMAC, quoting(a6, gw6.Addr(), gw6.Addr(), b6))},
		{"an error about nothing", "icmp_error", from4(a4, b4, packet.ProtoICMP, nil, []byte{3, 3, 0, 0, 0, 0, 0, 0})},

		{"a membership query", "multicast", from4(a4, b4, 2, []byte{148, 4, 0, 0}, []byte{0x11, 100, 0, 0, 0, 0, 0, 0})},
		{"an MLD query", "multicast", to(all6, from6(ll, packet.AllNodes, packet.ProtoICMPv6, icmp6(ll, packet.AllNodes, packet.MLDQuery, make([]byte, 20)...)...))},
		{"one station's packet in a frame for all", "multicast", to(packet.Broadcast, good4)},
		{"one station's packet in a frame for bridges", "multicast", to(packet.MAC{0x01, 0x80, 0xc2}, good4)},

		{"IPv4 in IPv4 to the gateway", "protocol", to(gwMAC, from4(a4, gw4.Addr(), 4, nil, good4[packet.EthernetLen:]))},
		{"IPv4 in IPv4 to the outside", "protocol", to(gwMAC, from4(a4, out4, 4, nil, good4[packet.EthernetLen:]))},
		{"IPv6 in IPv4 to the gateway", "protocol", to(gwMAC, from4(a4, gw4.Addr(), 41, nil, from6(a6, b6, packet.ProtoUDP, udp(9, 9)...)[packet.EthernetLen:]))},
		{"GRE to the gateway", "protocol", to(gwMAC, from4(a4, gw4.Addr(), 47, nil, join([]byte{0, 0, 8, 0}, good4[packet.EthernetLen:])))},
		{"IPv4 in IPv6 to the gateway", "protocol", to(gwMAC, from6(a6, gw6.Addr(), 4, good4[packet.EthernetLen:]...))},
		{"ESP to the gateway", "protocol", to(gwMAC, from4(a4, gw4.Addr(), 50, nil, make([]byte, 16)))},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, true)
			w.net.Gateway().SetHandlers(Handlers{
				UDP:  func(d packet.Datagram) { t.Errorf("a datagram to %s went out", d.Dst) },
				Echo: func(e packet.Echo) { t.Errorf("an echo request to %s went out", e.Dst) },
			})
			w.a.send(plain, c.frame)
			w.settle(w.a, aMAC, a4)
			w.a.silent()
			w.b.silent()
			if d := w.pa.Stats().Drops; d[c.reason] != 1 || len(d) != 1 {
				t.Errorf("drops are %v, want one for %s", d, c.reason)
			}
		})
	}
}

// The guard is not so strict that it would break what containers do.
func TestOrdinaryFramesPass(t *testing.T) {
	echo6 := icmp6(a6, b6, packet.ICMPv6EchoRequest, 0, 1, 0, 1)
	part := make([]byte, 24)
	for name, frame := range map[string][]byte{
		"a datagram behind a recorded route":       from4(a4, b4, packet.ProtoUDP, []byte{7, 7, 4, 0, 0, 0, 0, 0}, bareUDP),
		"VRRP":                                     to(packet.MulticastMAC(netip.MustParseAddr("224.0.0.18")), from4(a4, netip.MustParseAddr("224.0.0.18"), 112, nil, part)),
		"GRE between containers":                   from4(a4, b4, 47, nil, part),
		"an echo request behind options":           from6(a6, b6, packet.ProtoHopByHop, join(options6(packet.ProtoICMPv6), echo6)...),
		"an echo request in an atomic fragment":    from6(a6, b6, packet.ProtoFragment, join(atomic6(packet.ProtoICMPv6), echo6)...),
		"a first fragment":                         fragmentOf(from4(a4, b4, packet.ProtoUDP, nil, part), 0x2000),
		"a later fragment":                         fragmentOf(from4(a4, b4, packet.ProtoUDP, nil, part), 0x0003),
		"a first fragment of TCP":                  fragmentOf(from4(a4, b4, packet.ProtoTCP, nil, part), 0x2000),
		"an IPv6 fragment":                         from6(a6, b6, packet.ProtoFragment, join(first6(packet.ProtoUDP), part)...),
		"an error about a datagram to itself":      quoting(a4, b4, b4, a4),
		"an IPv6 error about a datagram to itself": quoting(a6, b6, b6, a6),
		"an error of who is another's way out":     quoting(a4, b4, b4, out4),
		"from the link-local address":              from6(aMAC.LinkLocal(), bMAC.LinkLocal(), packet.ProtoICMPv6, icmp6(aMAC.LinkLocal(), bMAC.LinkLocal(), packet.ICMPv6EchoRequest, 0, 1, 0, 1)...),
	} {
		w := newWorld(t, true)
		w.a.send(plain, frame)
		w.settle(w.a, aMAC, a4)
		select {
		case got := <-w.b.out:
			if string(got.frame) != string(frame) {
				t.Errorf("%s: %x came as %x", name, frame, got.frame)
			}
		default:
			t.Errorf("%s was dropped: %v", name, w.pa.Stats().Drops)
		}
	}
}

// Who tries out an address that is taken is told so, and nobody else hears of it.
func TestDuplicateAddressesAreDetected(t *testing.T) {
	w := newWorld(t, true)
	w.a.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: netip.IPv4Unspecified(), TargetIP: b4}))
	if a, err := packet.ParseARP(w.a.receive().frame[packet.EthernetLen:]); err != nil || a.SenderIP != b4 || a.SenderMAC != bMAC {
		t.Errorf("%+v, %v", a, err)
	}
	group := netip.MustParseAddr("ff02::1:ff00:3")
	f := from6(netip.IPv6Unspecified(), group, packet.ProtoICMPv6,
		icmp6(netip.IPv6Unspecified(), group, packet.NDNeighborSolicit, append(make([]byte, 4), b6.AsSlice()...)...)...)
	w.a.send(plain, to(packet.MulticastMAC(group), f))
	body := w.a.receive().frame[packet.EthernetLen:]
	if ip, err := packet.ParseIP(body); err != nil || ip.Dst != packet.AllNodes {
		t.Errorf("%+v, %v", ip, err)
	}
	w.b.silent()
}
