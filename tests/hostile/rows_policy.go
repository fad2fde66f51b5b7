package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/tests/world"
)

// Rows about what a network's options say: who is kept apart from neighbours, and who is reached from other networks.
const groupPolicy = "what a network's options close"

var policy = []row{
	{group: groupPolicy, name: "neighbours that are kept apart: frames, fragments, groups, errors, by the gateway", run: keptApart},
	{group: groupPolicy, name: "what a link opens: its other ports, cut and overlapping; back from an open port", run: aroundALink},
	{group: groupPolicy, name: "a network that is open: spoofed, its gateway, groups, other protocols, errors", run: intoOpenNetwork},
	{group: groupPolicy, name: "from a network that is open: to those who reach it, and their neighbours", run: outOfOpenNetwork},
	{group: groupPolicy, name: "DHCP: addresses of others, in the name of others, by relays; cut at every byte", run: othersLeases},
}

// protoSCTP, protoGRE, protoAH and protoHIP are protocols of IP (IANA).
const (
	protoSCTP = 132
	protoGRE  = 47
	protoAH   = 51
	protoHIP  = 139
)

// tries are all ways from one interface to an address behind a MAC, for a port.
func tries(me *machine, mac packet.MAC, src, dst netip.Addr, port uint16) []shot {
	from, at := netip.AddrPortFrom(src, 4242), netip.AddrPortFrom(dst, port)
	name := func(what string) string { return fmt.Sprintf("%s from %s to %s at %s", what, src, at, mac) }
	one := func(what string, ip func(m []byte) []byte) shot {
		return shot{name(what), "", func(m []byte) [][]byte { return [][]byte{inEthernet(mac, me.mac, ip(m))} }}
	}
	cut := func(m []byte, sizes ...int) [][]byte {
		whole, id := udpDatagram(from, at, append(bytes.Repeat([]byte("padding."), 4), m...)), uint32(m[len(m)-1])+uint32(m[len(m)-2])<<8
		var frames [][]byte
		for begin := 0; begin < len(whole); {
			end := min(begin+sizes[0], len(whole))
			frames = append(frames, inEthernet(mac, me.mac, fragment(src, dst, packet.ProtoUDP, id, begin, end < len(whole), whole[begin:end])))
			if begin = end; len(sizes) > 1 {
				sizes = sizes[1:]
			}
		}
		return frames
	}
	shots := []shot{
		one("a datagram", func(m []byte) []byte { return udpPacket(from, at, m) }),
		one("a SYN", func(m []byte) []byte { return tcpPacket(from, at, flagSYN, 1, 0, m) }),
		one("a segment", func(m []byte) []byte { return tcpPacket(from, at, flagACK, 1, 1, m) }),
		one("a RST", func(m []byte) []byte { return tcpPacket(from, at, flagRST|flagACK, 1, 1, m) }),
		one("a ping", func(m []byte) []byte { return icmpPacket(src, dst, echoOf(src), 0, 1, m) }),
		one("SCTP", func(m []byte) []byte {
			return ipPacket(src, dst, protoSCTP, 64, append([]byte{16, 146, byte(port >> 8), byte(port), 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20}, m...))
		}),
		one("GRE", func(m []byte) []byte {
			return ipPacket(src, dst, protoGRE, 64, append([]byte{0, 0, 8, 0}, udpPacket(from, at, m)...))
		}),
		one("an authenticated packet", func(m []byte) []byte {
			return ipPacket(src, dst, protoAH, 64, append([]byte{packet.ProtoUDP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, udpDatagram(from, at, m)...))
		}),
		one("an ICMP error about its packet to me", func(m []byte) []byte { return errorAbout(src, dst, udpPacket(at, from, m)) }),
		one("an ICMP error about its packet to the outside", func(m []byte) []byte {
			return errorAbout(src, dst, udpPacket(netip.AddrPortFrom(dst, port), netip.AddrPortFrom(outsideOf(src), 53), m))
		}),
		{name("fragments"), "", func(m []byte) [][]byte { return cut(m, 16) }},
		{name("fragments, the header alone"), "", func(m []byte) [][]byte { return cut(m, 8, 1024) }},
	}
	if src.Is6() {
		for what, proto := range map[string]uint8{"hop-by-hop": packet.ProtoHopByHop, "destination": packet.ProtoDestOpts, "HIP": protoHIP} {
			shots = append(shots, one("a datagram behind "+what+" options", func(m []byte) []byte {
				return ipPacket(src, dst, proto, 64, append(options(packet.ProtoUDP, 8, nil), udpDatagram(from, at, m)...))
			}))
		}
		shots = append(shots, one("an atomic fragment", func(m []byte) []byte {
			return fragment(src, dst, packet.ProtoUDP, 77, 0, false, udpDatagram(from, at, m))
		}))
	}
	return shots
}

// errorAbout is "port unreachable" and quotes a packet.
func errorAbout(src, dst netip.Addr, quoted []byte) []byte {
	if src.Is4() {
		return icmpPacket(src, dst, packet.ICMPUnreachable, packet.ICMPCodePort, 0, quoted)
	}
	return icmpPacket(src, dst, packet.ICMPv6Unreachable, packet.ICMPv6CodePort, 0, quoted)
}

// outsideOf is a server of the internet, of the family.
func outsideOf(a netip.Addr) netip.Addr {
	if a.Is4() {
		return world.Addr("WEB4")
	}
	return world.Addr("WEB6")
}

// groupsOf are the addresses for all stations of a machine's network.
func groupsOf(m *machine) []netip.Addr {
	subnet, _ := m.gw4.Prefix(24)
	last := subnet.Addr().As4()
	last[3] = 255
	return []netip.Addr{netip.AddrFrom4(last), netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("224.0.0.251"), packet.AllNodes, netip.MustParseAddr("ff02::fb")}
}

// lanesOf are those of a neighbour, of others besides, and of everybody else's places.
func (s *stage) lanesOf(neighbour string, others ...string) []lane {
	lanes := []lane{s.machines[neighbour].lane(neighbour)}
	for _, name := range others {
		lanes = append(lanes, s.machines[name].lane(name))
	}
	return append(lanes, s.lanes(neighbour)[1:]...)
}

func keptApart(s *stage, r *result) error {
	me, db, tess := s.machines["eve"], s.machines["db"], s.machines["tess"]
	var shots []shot
	for _, mac := range []packet.MAC{tess.mac, me.gateway, db.mac, packet.Broadcast} {
		shots = append(shots, tries(me, mac, me.ip4, tess.ip4, portSecret)...)
		shots = append(shots, tries(me, mac, me.ip6, tess.ip6, portSecret)...)
		shots = append(shots, tries(me, mac, me.local, tess.local, portSecret)...)
	}
	shots = append(shots, tries(me, tess.mac, tess.ip4, tess.ip4, portSecret)...)
	shots = append(shots, tries(me, tess.mac, me.gw4, tess.ip4, portSecret)...)
	shots = append(shots, tries(me, tess.mac, db.ip4, tess.ip4, portSecret)...)
	for _, group := range groupsOf(me) {
		src := me.ip4
		if group.Is6() {
			src = me.ip6
		}
		for _, mac := range []packet.MAC{packet.Broadcast, packet.MulticastMAC(group), tess.mac, me.gateway} {
			shots = append(shots, tries(me, mac, src, group, portSecret)[:2]...)
		}
	}
	// What one may have to say of itself is for the switch alone.
	shots = append(shots,
		shot{"an announcement", "", func(m []byte) [][]byte {
			return [][]byte{arp(packet.Broadcast, me.mac, packet.ARP{Op: packet.ARPRequest, SenderMAC: me.mac, SenderIP: me.ip4, TargetIP: me.ip4}, m),
				arp(tess.mac, me.mac, packet.ARP{Op: packet.ARPReply, SenderMAC: me.mac, SenderIP: me.ip4, TargetMAC: tess.mac, TargetIP: tess.ip4}, m),
				inEthernet(tess.mac, me.mac, neighborAdvert(me.ip6, tess.ip6, me.ip6, me.mac, m)),
				inEthernet(packet.MulticastMAC(packet.AllNodes), me.mac, neighborAdvert(me.ip6, packet.AllNodes, me.ip6, me.mac, m))}
		}})
	return s.fire(r, me, db, s.lanesOf("db", "tess"), shots)
}

// portOpen is what the link of eve to db opens besides portNobody, of TCP and UDP.
const portOpen = portEcho

func aroundALink(s *stage, r *result) error {
	me, db := s.machines["eve"], s.machines["db"]
	var shots []shot
	for _, p := range [][2]netip.Addr{{me.ip4, db.ip4}, {me.ip6, db.ip6}} {
		src, dst := p[0], p[1]
		shots = append(shots, tries(me, db.mac, src, dst, portSecret)...)
		shots = append(shots, tries(me, me.gateway, src, dst, portOpen)...)
		from, open, secret := netip.AddrPortFrom(src, portOpen), netip.AddrPortFrom(dst, portOpen), netip.AddrPortFrom(dst, portSecret)
		shots = append(shots,
			shot{"from the number of an open port", "", func(m []byte) [][]byte {
				return [][]byte{inEthernet(db.mac, me.mac, udpPacket(from, secret, m)), inEthernet(db.mac, me.mac, tcpPacket(from, secret, flagSYN, 1, 0, m))}
			}},
			shot{"fragments that overlap: an open port, then another", "", func(m []byte) [][]byte {
				first, second := udpDatagram(from, open, append(m, m...)), udpDatagram(from, secret, append(m, m...))
				send := func(id uint32, at int, more bool, b []byte) []byte {
					return inEthernet(db.mac, me.mac, fragment(src, dst, packet.ProtoUDP, id, at, more, b))
				}
				return [][]byte{
					send(901, 0, true, first[:16]), send(901, 0, true, second[:16]), send(901, 16, false, second[16:]),
					send(902, 8, false, second[8:]), send(902, 0, true, first[:16]), send(902, 0, true, second[:8]),
				}
			}})
	}
	shots = append(shots, tries(me, db.mac, me.local, db.local, portOpen)...)
	shots = append(shots, tries(me, db.mac, me.ip4, s.machines["tess"].ip4, portOpen)...)
	if err := s.fire(r, me, db, s.lanesOf("db", "tess"), shots); err != nil {
		return err
	}
	// The other way: db has an open port, and from it speaks to those of hers that she has not asked from.
	var frames [][]byte
	mark := s.nextMark()
	for _, p := range [][2]netip.Addr{{db.ip4, me.ip4}, {db.ip6, me.ip6}} {
		for _, port := range []uint16{portOpen, portNobody, portSecret} {
			from, at := netip.AddrPortFrom(p[0], port), netip.AddrPortFrom(p[1], portSecret)
			frames = append(frames, inEthernet(me.mac, db.mac, udpPacket(from, at, mark)))
			for _, flags := range []uint8{flagSYN, flagSYN | flagFIN, flagSYN | 0x08} {
				frames = append(frames, inEthernet(me.mac, db.mac, tcpPacket(from, at, flags, 1, 0, mark)))
			}
			whole := udpDatagram(from, at, append(bytes.Repeat([]byte{0}, 16), mark...))
			frames = append(frames, inEthernet(me.mac, db.mac, fragment(p[0], p[1], packet.ProtoUDP, 903, 0, true, whole[:16])),
				inEthernet(me.mac, db.mac, fragment(p[0], p[1], packet.ProtoUDP, 903, 16, false, whole[16:])))
		}
		frames = append(frames, inEthernet(me.mac, db.mac, icmpPacket(p[0], p[1], echoOf(p[0]), 0, 1, mark)))
	}
	r.tried += len(frames)
	return s.quietly(r, []lane{me.lane("eve")}, func() error {
		if err := db.actor.call("Send", SendArgs{Interface: db.iface, Frames: frames}, new(SendReply)); err != nil {
			return err
		}
		// What db answers comes after it, through the same port.
		return reachable(me.actor, openAttempts(db)...)
	})
}

// openAttempts reach portOpen of a machine.
func openAttempts(m *machine) []Attempt {
	var list []Attempt
	for _, a := range []netip.Addr{m.ip4, m.ip6} {
		for _, network := range []string{"tcp", "udp"} {
			list = append(list, Attempt{Network: network, Address: net.JoinHostPort(a.String(), strconv.Itoa(portOpen)), Say: "hello", Wait: 5 * time.Second})
		}
	}
	return list
}

func intoOpenNetwork(s *stage, r *result) error {
	me, alice, olga, mole := s.machines["mallory"], s.machines["alice"], s.machines["olga"], s.machines["mole"]
	if err := reachable(me.actor, openAttempts(olga)...); err != nil {
		return err
	}
	if err := unreachable(r, mole.actor, append(everyWay(olga.ip4, "", portOpen), everyWay(olga.ip6, "", portOpen)...)); err != nil {
		return err
	}
	carol := s.machines["carol"]
	var shots []shot
	for _, p := range [][2]netip.Addr{
		{alice.ip4, olga.ip4}, {carol.ip4, olga.ip4}, {olga.gw4, olga.ip4}, {olga.ip4, olga.ip4}, {world.Addr("WEB4"), olga.ip4}, {netip.MustParseAddr("127.0.0.1"), olga.ip4},
		{me.ip4, olga.gw4}, {alice.ip6, olga.ip6}, {carol.ip6, olga.ip6}, {olga.gw6, olga.ip6}, {me.local, olga.ip6}, {me.ip6, olga.gw6}, {me.local, olga.local},
	} {
		shots = append(shots, tries(me, me.gateway, p[0], p[1], portSecret)...)
	}
	for _, mac := range []packet.MAC{olga.mac, olga.gateway} { // of which hers may be the same
		if mac != me.gateway {
			shots = append(shots, tries(me, mac, me.ip4, olga.ip4, portSecret)...)
		}
	}
	for _, group := range groupsOf(olga) {
		src := me.ip4
		if group.Is6() {
			src = me.ip6
		}
		shots = append(shots, tries(me, me.gateway, src, group, portSecret)[:2]...)
	}
	for _, p := range [][2]netip.Addr{{me.ip4, olga.ip4}, {me.ip6, olga.ip6}} {
		for _, t := range tries(me, me.gateway, p[0], p[1], portSecret) {
			switch {
			case bytes.Contains([]byte(t.name), []byte("a datagram")), bytes.Contains([]byte(t.name), []byte("a SYN")), bytes.Contains([]byte(t.name), []byte("ping")),
				bytes.Contains([]byte(t.name), []byte("fragment")):
			default: // the others begin no flow, or are of none
				shots = append(shots, t)
			}
		}
	}
	return s.fire(r, me, alice, s.lanesOf("alice", "olga"), shots)
}

func outOfOpenNetwork(s *stage, r *result) error {
	me, alice, mallory := s.machines["olga"], s.machines["alice"], s.machines["mallory"]
	victims := []*machine{alice, mallory, s.machines["carol"], s.machines["mole"], s.machines["db"]}
	for _, v := range victims {
		if err := unreachable(r, me.actor, append(everyWay(v.ip4, "", portSecret), everyWay(v.ip6, "", portSecret)...)); err != nil {
			return err
		}
	}
	// Flows of alice's are there, and pass.
	if err := reachable(alice.actor, openAttempts(me)...); err != nil {
		return err
	}
	mark := s.nextMark()
	var frames [][]byte
	for _, v := range victims {
		for _, p := range [][2]netip.Addr{{me.ip4, v.ip4}, {me.ip6, v.ip6}, {mallory.ip4, alice.ip4}, {me.gw4, v.ip4}} {
			for _, t := range tries(me, me.gateway, p[0], p[1], portSecret) {
				frames = append(frames, t.make(mark)...)
			}
			from, at := netip.AddrPortFrom(p[0], portOpen), netip.AddrPortFrom(p[1], portSecret)
			for _, flags := range []uint8{flagSYN, flagSYN | flagACK, flagACK, flagRST} {
				frames = append(frames, inEthernet(me.gateway, me.mac, tcpPacket(from, at, flags, 1, 1, mark)))
			}
			frames = append(frames, inEthernet(me.gateway, me.mac, udpPacket(from, at, mark)))
		}
	}
	r.tried += len(frames)
	lanes := append(s.lanes("alice"), s.machines["mallory"].lane("mallory"), s.machines["mole"].lane("mole"), s.machines["db"].lane("db"))
	return s.quietly(r, lanes, func() error {
		if err := me.actor.call("Send", SendArgs{Interface: me.iface, Frames: frames}, new(SendReply)); err != nil {
			return err
		}
		return reachable(alice.actor, openAttempts(me)...)
	})
}
