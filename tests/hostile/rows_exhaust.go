package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
	"github.com/footbridge-net/footbridge/tests/world"
)

const groupExhaust = "taking what is everybody's"

// Places of fields in a frame, in bytes.
const (
	atIP4ID    = packet.EthernetLen + 4
	atSource4  = packet.EthernetLen + packet.IPv4Len // of TCP and UDP ports, and of ICMP's type
	atPort4    = atSource4 + 2
	atICMPID4  = atSource4 + 4
	atICMPSeq4 = atSource4 + 6
	atUDP4     = atSource4 + packet.UDPLen
	atSource6  = packet.EthernetLen + packet.IPv6Len
	atFragID6  = atSource6 + 6 // the lower half
)

// exhausting are the rows in which a container takes as much as it can get.
var exhausting = []row{
	flood("50,000 SYN/s to an address that does not answer, both families", synFlood("HOLE4", "HOLE6")),
	flood("50,000 SYN/s to an address that refuses", synFlood("WEB4", "WEB6")),
	flood("a million UDP source ports", udpPorts),
	flood("ping with every identifier", pingIDs),
	flood("DNS questions for ever new names, over UDP", dnsFlood("aaaa.example.test")),
	flood("DNS questions that nobody answers", dnsFlood("silent.example.test")),
	flood("SYN flood on the gateway's port 53", gatewaySYN),
	flood("broadcast and multicast storm, as fast as she can", storm),
	flood("ARP and neighbour solicitations for every address", solicitations),
	flood("frames that are dropped, as fast as she can", dropped),
	flood("fragments: 10,000 incomplete datagrams", incomplete),
	flood("fragments: overlaps, gaps, more than 64 KiB", oddFragments),
	flood("datagrams that make ICMP errors", icmpErrors),
	flood("a neighbour's mailbox: 64 KiB datagrams to one who does not read", mailbox),
	flood("connections to the outside, half closed", halfClosed),
	flood("downloads that she does not read", unread),
	flood("flows to a network that is open, from ever new ports, and for nobody there", flowsAcross),
	flood("DHCP questions and router solicitations", configurationQuestions),
	{group: groupExhaust, name: "20,000 connections to a published port", run: func(s *stage, r *result) error {
		return s.exhaust(r, maxCrowdMemory, func(m *machine, d time.Duration) (int, error) { return publishedCrowd(s, m, d) })
	}},
}

// flood makes a row of an attack.
func flood(name string, attack func(s *stage, m *machine, d time.Duration) (int, error)) row {
	return row{group: groupExhaust, name: name, run: func(s *stage, r *result) error {
		return s.exhaust(r, maxMemory, func(m *machine, d time.Duration) (int, error) { return attack(s, m, d) })
	}}
}

// send floods and returns how many frames were sent.
func (m *machine) flood(args FloodArgs) (int, error) {
	args.Interface = m.iface
	var sent int
	err := m.actor.call("Flood", args, &sent)
	return sent, err
}

// open is a frame of a datagram or segment from the machine to an address by its gateway, whose checksum holds for any
// ports: the pseudo-header's, for the receiver to complete.
func (m *machine) open(proto uint8, to netip.AddrPort, payload []byte) ([]byte, vnet.Header) {
	src, ipLen := m.ip4, packet.IPv4Len
	if to.Addr().Is6() {
		src, ipLen = m.ip6, packet.IPv6Len
	}
	from := netip.AddrPortFrom(src, 1024)
	ip, at := udpPacket(from, to, payload), udpSum
	if proto == packet.ProtoTCP {
		ip, at = tcpPacket(from, to, flagSYN, 1, 0, payload), tcpSum
	}
	sum := packet.PseudoSum(src, to.Addr(), proto, len(ip)-ipLen)
	ip[ipLen+at], ip[ipLen+at+1] = byte(sum>>8), byte(sum)
	head := vnet.Header{Flags: vnet.NeedsCsum, CsumStart: uint16(packet.EthernetLen + ipLen), CsumOffset: uint16(at)}
	return inEthernet(m.gateway, m.mac, ip), head
}

// halves runs one flood after the other, each for half the time: one for each family.
func halves(d time.Duration, one, other func(d time.Duration) (int, error)) (int, error) {
	n, err := one(d / 2)
	if err != nil {
		return n, err
	}
	k, err := other(d / 2)
	return n + k, err
}

func synFlood(four, six string) func(*stage, *machine, time.Duration) (int, error) {
	const rate = 50_000
	return func(_ *stage, m *machine, d time.Duration) (int, error) {
		part := func(name string, at int) func(time.Duration) (int, error) {
			return func(d time.Duration) (int, error) {
				f, head := m.open(packet.ProtoTCP, netip.AddrPortFrom(world.Addr(name), 81), nil)
				return m.flood(FloodArgs{Frames: [][]byte{f}, Head: head, Rate: rate, Time: d, Vary: []Field{{Offset: at}, {Offset: at + 6, Mode: randomly}}})
			}
		}
		return halves(d, part(four, atSource4), part(six, atSource6))
	}
}

// udpPorts takes source ports as fast as it can: 65,535 of two families to a dozen targets are more than a million in the
// full form's time.
func udpPorts(_ *stage, m *machine, d time.Duration) (int, error) {
	part := func(name string, at int) func(time.Duration) (int, error) {
		return func(d time.Duration) (int, error) {
			f, head := m.open(packet.ProtoUDP, netip.AddrPortFrom(world.Addr(name), 9), []byte("flood"))
			return m.flood(FloodArgs{Frames: [][]byte{f}, Head: head, Time: d, Rate: 200_000, Vary: []Field{{Offset: at}, {Offset: at + 2, Every: 65536}}})
		}
	}
	return halves(d, part("HOLE4", atSource4), part("HOLE6", atSource6))
}

func pingIDs(_ *stage, m *machine, d time.Duration) (int, error) {
	f := inEthernet(m.gateway, m.mac, icmpPacket(m.ip4, world.Addr("HOLE4"), packet.ICMPEchoRequest, 0, 0x0000ffff, []byte("flood")))
	return m.flood(FloodArgs{Frames: [][]byte{f}, Time: d, Rate: 100_000, Vary: []Field{{Offset: atICMPID4}, {Offset: atICMPSeq4, Mode: countDown}}})
}

func dnsFlood(name string) func(*stage, *machine, time.Duration) (int, error) {
	return func(_ *stage, m *machine, d time.Duration) (int, error) {
		f, head := m.open(packet.ProtoUDP, netip.AddrPortFrom(m.gw4, 53), question(1, "aa."+name))
		const label = 12 + 1 // behind the header and the length of the first label
		return m.flood(FloodArgs{Frames: [][]byte{f}, Head: head, Time: d, Rate: 50_000,
			Vary: []Field{{Offset: atSource4}, {Offset: atUDP4, Mode: randomly}, {Offset: atUDP4 + label, Mode: alphabetic}}})
	}
}

func gatewaySYN(_ *stage, m *machine, d time.Duration) (int, error) {
	f, head := m.open(packet.ProtoTCP, netip.AddrPortFrom(m.gw4, 53), nil)
	return m.flood(FloodArgs{Frames: [][]byte{f}, Head: head, Time: d, Rate: 100_000, Vary: []Field{{Offset: atSource4}, {Offset: atSource4 + 4, Mode: randomly}}})
}

func storm(_ *stage, m *machine, d time.Duration) (int, error) {
	var frames [][]byte
	for _, to := range []string{"10.71.0.255", "255.255.255.255", "224.0.0.251", "ff02::1", "ff02::fb"} {
		a := netip.MustParseAddr(to)
		src, dst := m.ip4, packet.Broadcast
		if a.Is6() {
			src = m.ip6
		}
		if a.IsMulticast() {
			dst = packet.MulticastMAC(a)
		}
		frames = append(frames, inEthernet(dst, m.mac, udpPacket(netip.AddrPortFrom(src, 4242), netip.AddrPortFrom(a, portNobody), make([]byte, 200))))
	}
	return m.flood(FloodArgs{Frames: frames, Time: d})
}

func solicitations(s *stage, m *machine, d time.Duration) (int, error) {
	part := func(d time.Duration) (int, error) {
		f := arp(packet.Broadcast, m.mac, packet.ARP{Op: packet.ARPRequest, SenderMAC: m.mac, SenderIP: m.ip4, TargetIP: s.machines["alice"].ip4}, nil)
		const target = packet.EthernetLen + 26 // the lower half of the address asked for
		return m.flood(FloodArgs{Frames: [][]byte{f, append([]byte(nil), f...)}, Time: d, Vary: []Field{{Offset: target, Mode: randomly}}})
	}
	six := func(d time.Duration) (int, error) {
		f := inEthernet(packet.MulticastMAC(s.machines["alice"].ip6), m.mac, neighborSolicit(m.ip6, s.machines["alice"].ip6, s.machines["alice"].ip6, m.mac, nil))
		return m.flood(FloodArgs{Frames: [][]byte{f}, Time: d})
	}
	return halves(d, part, six)
}

func dropped(s *stage, m *machine, d time.Duration) (int, error) {
	p := sides{me: m, victim: s.machines["alice"], other: s.machines["bob"]}
	mark := make([]byte, markLen)
	frames := [][]byte{
		inEthernet(p.victim.mac, evilMAC, p.good(mark, false)), ethernet(packet.Broadcast, m.mac, 0x88cc, mark),
		inEthernet(p.victim.mac, m.mac, udpPacket(netip.AddrPortFrom(p.other.ip4, 1), netip.AddrPortFrom(p.victim.ip4, 1), mark)),
		inEthernet(p.victim.mac, m.mac, routerAdvert(m.local, m.mac, stolen, m.ip6, mark)),
	}
	return m.flood(FloodArgs{Frames: frames, Time: d})
}

func incomplete(_ *stage, m *machine, d time.Duration) (int, error) {
	part := func(name string, src netip.Addr, at Field, seal bool) func(time.Duration) (int, error) {
		return func(d time.Duration) (int, error) {
			first := fragment(src, world.Addr(name), packet.ProtoUDP, 0, 0, true, make([]byte, 1400))
			last := fragment(src, world.Addr(name), packet.ProtoUDP, 0, 60000, false, make([]byte, 1000))
			at.Every = 2 // both are of one datagram, which lacks its middle
			return m.flood(FloodArgs{Frames: [][]byte{inEthernet(m.gateway, m.mac, first), inEthernet(m.gateway, m.mac, last)}, Vary: []Field{at}, Seal: seal, Time: d, Rate: 20_000})
		}
	}
	return halves(d, part("WEB4", m.ip4, Field{Offset: atIP4ID}, true), part("WEB6", m.ip6, Field{Offset: atFragID6}, false))
}

func oddFragments(_ *stage, m *machine, d time.Duration) (int, error) {
	part := func(name string, src netip.Addr, at Field, seal bool) func(time.Duration) (int, error) {
		return func(d time.Duration) (int, error) {
			to := world.Addr(name)
			var frames [][]byte
			for _, f := range []struct {
				offset, size int
				more         bool
			}{
				{0, 1400, true}, {8, 1400, true}, {0, 1400, true}, {696, 8, true}, {1000, 1400, false}, // overlaps
				{0, 8, true}, {16, 8, true}, {32, 8, false}, // gaps
				{65000, 528, false}, {65504, 24, true}, {64000, 1400, true}, // up to the limit, and over it
			} {
				frames = append(frames, inEthernet(m.gateway, m.mac, fragment(src, to, packet.ProtoUDP, 1, f.offset, f.more, make([]byte, f.size))))
			}
			at.Every = len(frames)
			return m.flood(FloodArgs{Frames: frames, Vary: []Field{at}, Seal: seal, Time: d, Rate: 20_000})
		}
	}
	return halves(d, part("WEB4", m.ip4, Field{Offset: atIP4ID}, true), part("WEB6", m.ip6, Field{Offset: atFragID6}, false))
}

// icmpErrors sends what the gateway has to say no to: hop limits that end there, closed addresses, ports without a server.
func icmpErrors(_ *stage, m *machine, d time.Duration) (int, error) {
	dying := udpPacket(netip.AddrPortFrom(m.ip4, 1), netip.AddrPortFrom(world.Addr("WEB4"), 9), []byte("dies"))
	dying[8] = 1
	seal4(dying)
	frames := [][]byte{
		inEthernet(m.gateway, m.mac, dying),
		inEthernet(m.gateway, m.mac, udpPacket(netip.AddrPortFrom(m.ip4, 2), netip.AddrPortFrom(world.Addr("METADATA4"), 9), nil)),
		inEthernet(m.gateway, m.mac, udpPacket(netip.AddrPortFrom(m.ip4, 3), netip.AddrPortFrom(m.gw4, 9), nil)),
		inEthernet(m.gateway, m.mac, udpPacket(netip.AddrPortFrom(m.ip4, 4), netip.AddrPortFrom(world.Addr("UNREACHABLE4"), 9), nil)),
		inEthernet(m.gateway, m.mac, udpPacket(netip.AddrPortFrom(m.ip6, 4), netip.AddrPortFrom(world.Addr("WEB6"), 9999), nil)),
	}
	return m.flood(FloodArgs{Frames: frames, Time: d})
}

// mailbox fills the socket of a neighbour who does not read: from then on her kernel puts the datagrams together and throws
// them away. They are as many as footbridge can carry whole: of more each would lack a part, and none get to the socket.
func mailbox(s *stage, m *machine, d time.Duration) (int, error) {
	const each, rate = 1480, 500 // bytes of a fragment's payload; datagrams a second
	dora := s.machines["dora"]
	datagram := udpDatagram(netip.AddrPortFrom(m.ip4, 1), netip.AddrPortFrom(dora.ip4, portMailbox), make([]byte, 65507))
	var frames [][]byte
	for offset := 0; offset < len(datagram); offset += each {
		end := min(offset+each, len(datagram))
		f := fragment(m.ip4, dora.ip4, packet.ProtoUDP, 1, offset, end < len(datagram), datagram[offset:end])
		frames = append(frames, inEthernet(dora.mac, m.mac, f))
	}
	args := FloodArgs{Frames: frames, Vary: []Field{{Offset: atIP4ID, Every: len(frames)}}, Seal: true, Time: d, Rate: rate * len(frames)}
	if m.alone {
		return m.flood(args)
	}
	var full uint64
	if err := dora.actor.call("Mailbox", portMailbox, &struct{}{}); err != nil {
		return 0, err
	}
	n, err := m.flood(args)
	err = errors.Join(err, dora.actor.call("Overflow", portMailbox, &full), dora.actor.call("Release", struct{}{}, &struct{}{}))
	if err == nil && full == 0 {
		err = fmt.Errorf("no datagram found dora's mailbox full, of %d fragments", n)
	}
	return n, err
}

// crowd opens connections until the time is over. ownPort is who serves them when she is alone with herself.
func crowd(m *machine, args CrowdArgs, ownPort int, d time.Duration) (int, error) {
	args.Limit = d
	if m.alone {
		args.Target = net.JoinHostPort("127.0.0.1", strconv.Itoa(ownPort))
	}
	var reply CrowdReply
	err := m.actor.call("Crowd", args, &reply)
	return reply.Opened + reply.Failed, err
}

func halfClosed(_ *stage, m *machine, d time.Duration) (int, error) {
	return crowd(m, CrowdArgs{Target: at("WEB4", world.PortSilent), Count: 20_000, Says: [][]byte{[]byte("hello")}, HalfClose: true, Keep: true}, portEcho, d)
}

func unread(_ *stage, m *machine, d time.Duration) (int, error) {
	return crowd(m, CrowdArgs{Target: at("WEB4", 80), Count: 1000, Says: [][]byte{[]byte("GET /bytes/1000000000 HTTP/1.0\r\n\r\n")}, Keep: true}, portStream, d)
}

func publishedCrowd(s *stage, m *machine, d time.Duration) (int, error) {
	client := &machine{actor: s.actors[onClient], alone: m.alone}
	n, err := crowd(client, CrowdArgs{Target: at("HOST4", portPubCrowd), Count: 20_000, Keep: true}, portEcho, d)
	if err != nil {
		return n, err
	}
	return n, client.actor.call("Release", struct{}{}, &struct{}{})
}

// at is an address of the world with a port.
func at(name string, port int) string {
	return netip.AddrPortFrom(world.Addr(name), uint16(port)).String()
}
