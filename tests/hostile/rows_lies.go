package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
	"github.com/footbridge-net/footbridge/tests/world"
)

const groupLies = "frames that lie"

// lying are the rows whose frames are not what they say.
var lying = []row{
	{group: groupLies, name: "every kind of frame, cut at every byte", run: cutFrames},
	{group: groupLies, name: "whole IP packets, what is in them cut at every byte", run: cutTransports},
	{group: groupLies, name: "lengths, checksums and extension headers that are wrong", run: wrongHeaders},
	{group: groupLies, name: "virtio headers, by a packet socket", run: packetHeaders},
	{group: groupLies, name: "virtio headers, through a TAP and a bridge of her own", run: bridgedHeaders},
}

// samples are good frames of all kinds, from the attacker to a destination.
func samples(me *machine, dst packet.MAC, four, six netip.Addr, port uint16) [][]byte {
	p := sides{me: me}
	from4, to4 := netip.AddrPortFrom(me.ip4, 4242), netip.AddrPortFrom(four, port)
	from6, to6 := netip.AddrPortFrom(me.ip6, 4242), netip.AddrPortFrom(six, port)
	data := []byte("sixteen bytes...")
	e := func(ip []byte) []byte { return inEthernet(dst, p.me.mac, ip) }
	list := [][]byte{
		arp(dst, me.mac, packet.ARP{Op: packet.ARPRequest, SenderMAC: me.mac, SenderIP: me.ip4, TargetIP: four}, nil),
		e(udpPacket(from4, to4, data)),
		e(tcpPacket(from4, to4, flagSYN, 1, 0, data)),
		e(icmpPacket(me.ip4, four, packet.ICMPEchoRequest, 0, 1, data)),
		e(icmpPacket(me.ip4, four, packet.ICMPUnreachable, packet.ICMPCodePort, 0, udpPacket(to4, from4, data))),
		e(ipPacket(me.ip4, four, 2, 1, make([]byte, 8))), // IGMP
		e(ipPacket(me.ip4, four, packet.ProtoUDP, 64, udpDatagram(from4, to4, data), 1, 1, 1, 0)),
		e(fragment(me.ip4, four, packet.ProtoUDP, 5, 0, true, udpDatagram(from4, to4, data))),
	}
	if !me.ip6.IsValid() {
		return list
	}
	return append(list,
		e(udpPacket(from6, to6, data)),
		e(tcpPacket(from6, to6, flagSYN, 1, 0, data)),
		e(icmpPacket(me.ip6, six, packet.ICMPv6EchoRequest, 0, 1, data)),
		e(icmpPacket(me.ip6, six, packet.ICMPv6TooBig, 0, 1280, udpPacket(to6, from6, data))),
		e(neighborSolicit(me.ip6, six, six, me.mac, nil)),
		e(neighborAdvert(me.ip6, six, me.ip6, me.mac, nil)),
		e(icmpPacket(me.local, packet.AllNodes, packet.MLDv2Report, 0, 1, make([]byte, 20))),
		e(fragment(me.ip6, six, packet.ProtoUDP, 5, 0, true, udpDatagram(from6, to6, data))),
		e(ipPacket(me.ip6, six, packet.ProtoDestOpts, 64, append(options(packet.ProtoUDP, 16, nil), udpDatagram(from6, to6, data)...))))
}

// barrage sends frames and sees what of them arrives at lanes: all that is for the port, or has the attacker's MAC.
func (s *stage) barrage(r *result, me *machine, lanes []lane, patterns [][]byte, port uint16, send func() (SendReply, error)) error {
	before, err := s.portCounters(me)
	if err != nil {
		return err
	}
	neighbour := s.machines["alice"]
	tidy, err := s.state(neighbour)
	if err != nil {
		return err
	}
	var watches []watch
	for _, l := range lanes {
		w := watch{lane: l}
		args := WatchArgs{Interface: l.iface, Patterns: append(slices.Clone(patterns), s.control()), Port: port}
		if err := l.actor.call("Watch", args, &w.id); err != nil {
			return err
		}
		watches = append(watches, w)
	}
	sent, err := send()
	if err != nil {
		return err
	}
	r.tried += sent.Sent
	if sent.Refused > 0 {
		r.remark("her own kernel refused %d", sent.Refused)
	}
	if err := s.prove(me, neighbour, watches); err != nil {
		return err
	}
	for _, w := range watches {
		var frames [][]byte
		if err := w.actor.call("Watched", w.id, &frames); err != nil {
			return err
		}
		for _, f := range frames {
			if !bytes.Contains(f, s.control()) && !me.answered(f) {
				r.in("%s saw %x", w.name, f[:min(len(f), 90)])
			}
		}
	}
	if err := s.compareCounters(r, me, before, nil); err != nil {
		return err
	}
	return s.compareState(r, me, neighbour, tidy)
}

// answered reports whether a frame is the network's own answer to who asked for the machine's address.
func (m *machine) answered(frame []byte) bool {
	if packet.EtherType(frame) == packet.TypeARP {
		a, err := packet.ParseARP(frame[packet.EthernetLen:])
		return err == nil && a.Op == packet.ARPReply && a.SenderIP == m.ip4 && a.SenderMAC == m.mac
	}
	ip, err := packet.ParseIP(frame[packet.EthernetLen:])
	if err != nil || ip.Proto != packet.ProtoICMPv6 {
		return false
	}
	t := frame[packet.EthernetLen:][ip.HeaderLen:ip.Len]
	target, mac, _, err := packet.ParseNeighbor(t, &ip)
	return err == nil && t[0] == packet.NDNeighborAdvert && (target == m.ip6 || target == m.local) && mac == m.mac
}

// send is what most barrages do.
func (s *stage) send(me *machine, frames [][]byte, virtio bool) func() (SendReply, error) {
	return func() (SendReply, error) {
		var sent SendReply
		err := me.actor.call("Send", SendArgs{Interface: me.iface, Frames: frames, VNet: virtio}, &sent)
		return sent, err
	}
}

// farAndNear are the lanes at which a barrage's frames would arrive first and last.
func (s *stage) farAndNear() []lane {
	all := s.lanes("alice")
	return []lane{all[0], all[1], all[len(all)-1]}
}

func cutFrames(s *stage, r *result) error {
	me, alice := s.machines["mallory"], s.machines["alice"]
	var frames [][]byte
	for _, good := range slices.Concat(
		samples(me, alice.mac, alice.ip4, alice.ip6, portSecret),
		samples(me, packet.Broadcast, alice.ip4, alice.ip6, portSecret),
		samples(me, me.gateway, world.Addr("WEB4"), world.Addr("WEB6"), portSecret),
	) {
		for n := packet.EthernetLen + 1; n < len(good); n++ {
			frames = append(frames, good[:n])
		}
	}
	return s.barrage(r, me, s.farAndNear(), [][]byte{me.mac[:]}, portSecret, s.send(me, frames, false))
}

// cutTransports cuts a packet and makes its IP header say so: the IP layer is right, the rest is not.
func cutTransports(s *stage, r *result) error {
	me := s.machines["mallory"]
	var frames [][]byte
	for _, dst := range []packet.MAC{me.gateway, packet.Broadcast} {
		for _, good := range samples(me, dst, world.Addr("WEB4"), world.Addr("WEB6"), portSecret)[1:] {
			ip, err := packet.ParseIP(good[packet.EthernetLen:])
			if err != nil {
				return err
			}
			head := packet.IPv4Len
			if ip.Src.Is6() {
				head = packet.IPv6Len
			}
			for n := head; n < ip.Len; n++ {
				f := bytes.Clone(good[:packet.EthernetLen+n])
				if p := f[packet.EthernetLen:]; ip.Src.Is6() {
					binary.BigEndian.PutUint16(p[4:], uint16(n-packet.IPv6Len))
				} else if n >= int(p[0]&0xf)*4 {
					binary.BigEndian.PutUint16(p[2:], uint16(n))
					seal4(p)
				}
				frames = append(frames, f)
			}
		}
	}
	// Neighbours may get them: there is nothing wrong with their addresses.
	all := s.farAndNear()
	all[0].name = "alice, from the outside"
	return s.barrage(r, me, all[:1:1], nil, 0, func() (SendReply, error) {
		sent, err := s.send(me, frames, false)()
		return sent, err
	})
}

func wrongHeaders(s *stage, r *result) error {
	me, alice := s.machines["mallory"], s.machines["alice"]
	var frames [][]byte
	for _, to := range []*machine{alice, {mac: me.gateway, ip4: world.Addr("WEB4"), ip6: world.Addr("WEB6")}} {
		four := func(change func(ip []byte)) {
			f := inEthernet(to.mac, me.mac, udpPacket(netip.AddrPortFrom(me.ip4, 4242), netip.AddrPortFrom(to.ip4, portSecret), make([]byte, 32)))
			change(f[packet.EthernetLen:])
			frames = append(frames, f)
		}
		six := func(change func(ip []byte)) {
			f := inEthernet(to.mac, me.mac, udpPacket(netip.AddrPortFrom(me.ip6, 4242), netip.AddrPortFrom(to.ip6, portSecret), make([]byte, 32)))
			change(f[packet.EthernetLen:])
			frames = append(frames, f)
		}
		for _, words := range []byte{0, 1, 4, 15} { // header length: none, too short, longer than the packet
			four(func(ip []byte) { ip[0] = 0x40 | words; ip[2], ip[3] = 0, 40 })
		}
		for _, n := range []uint16{0, 19, 61, 1500, 65535} {
			four(func(ip []byte) { binary.BigEndian.PutUint16(ip[2:], n); seal4(ip) })
		}
		for _, n := range []uint16{41, 1500, 65535} {
			six(func(ip []byte) { binary.BigEndian.PutUint16(ip[4:], n) })
		}
		for version := range byte(16) {
			if version != 4 && version != 6 {
				four(func(ip []byte) { ip[0] = version<<4 | 5 })
				six(func(ip []byte) { ip[0] = version << 4 })
			}
		}
		// Fragments that begin behind the largest packet.
		four(func(ip []byte) { binary.BigEndian.PutUint16(ip[6:], 0x1fff); seal4(ip) })
		// Extension headers: too many, cut, hop-by-hop not first, two fragment headers.
		chain := func(first uint8, rest ...byte) {
			frames = append(frames, inEthernet(to.mac, me.mac, ipPacket(me.ip6, to.ip6, first, 64, rest)))
		}
		var many []byte
		for range 40 {
			many = append(many, options(packet.ProtoDestOpts, 8, nil)...)
		}
		chain(packet.ProtoDestOpts, many...)
		chain(packet.ProtoDestOpts, packet.ProtoUDP, 200, 1, 4, 0, 0, 0, 0)
		chain(packet.ProtoDestOpts, append(options(packet.ProtoHopByHop, 8, nil), options(packet.ProtoUDP, 8, nil)...)...)
		chain(packet.ProtoFragment, packet.ProtoFragment, 0, 0, 1, 0, 0, 0, 1, packet.ProtoUDP, 0, 0, 0, 0, 0, 0, 1)
		chain(packet.ProtoHopByHop, packet.ProtoUDP)
		chain(packet.ProtoRouting, packet.ProtoUDP, 255, 0, 1)
	}
	gateway := len(frames) / 2
	// What only an end looks at: checksums. A neighbour's kernel does that itself, so these are for the gateway.
	for at := range 2 {
		f := bytes.Clone(frames[gateway])
		copy(f, inEthernet(me.gateway, me.mac, udpPacket(netip.AddrPortFrom(me.ip4, 4242), netip.AddrPortFrom(world.Addr("WEB4"), portSecret), make([]byte, 32))))
		f[packet.EthernetLen+[]int{10, packet.IPv4Len + udpSum}[at]] ^= 0x55
		frames = append(frames, f)
	}
	return s.barrage(r, me, s.farAndNear(), [][]byte{me.mac[:]}, portSecret, s.send(me, frames, false))
}

// headerCases are virtio headers of all kinds of lies over good frames; rounds of them are chosen at random.
func headerCases(s *stage, me, to *machine, rounds int) (heads []vnet.Header, frames [][]byte) {
	small := samples(me, to.mac, to.ip4, to.ip6, portEcho)
	var big [][]byte
	for _, ip := range [][]byte{
		udpPacket(netip.AddrPortFrom(me.ip4, 4242), netip.AddrPortFrom(to.ip4, portEcho), make([]byte, 60000)),
		udpPacket(netip.AddrPortFrom(me.ip6, 4242), netip.AddrPortFrom(to.ip6, portEcho), make([]byte, 65480)),
		tcpPacket(netip.AddrPortFrom(me.ip4, 4242), netip.AddrPortFrom(to.ip4, portEcho), flagACK, 1, 1, make([]byte, 65480)),
		tcpPacket(netip.AddrPortFrom(me.ip6, 4242), netip.AddrPortFrom(to.ip6, portEcho), flagACK, 1, 1, make([]byte, 60000)),
	} {
		big = append(big, inEthernet(to.mac, me.mac, ip))
	}
	random := random(s.seed)
	one := func(values ...int) int { return values[random.Intn(len(values))] }
	for range rounds {
		f := small[random.Intn(len(small))]
		if random.Intn(3) == 0 {
			f = big[random.Intn(len(big))]
		}
		n := len(f)
		heads = append(heads, vnet.Header{
			Flags:      uint8(one(0, 1, 1, 1, 2, 3, 4, 255)),
			GSOType:    uint8(one(0, 1, 1, 3, 4, 4, 5, 5, 0x81, 0x84, 0x85, 0x7f)),
			HdrLen:     uint16(one(0, 14, 42, 54, 74, n-1, n, n+1, 65535)),
			GSOSize:    uint16(one(0, 1, 2, 8, 536, 1448, 1472, n, 65534, 65535)),
			CsumStart:  uint16(one(0, 1, 13, 14, 20, 33, 34, 34, 34, 54, 54, 54, n-2, n-1, n, 0xf000, 65535)),
			CsumOffset: uint16(one(0, 2, 6, 6, 16, 16, 16, 17, n, 65535)),
		})
		frames = append(frames, f)
	}
	return heads, frames
}

func (s *stage) rounds(short, full int) int {
	if s.short {
		return short
	}
	return full
}

func packetHeaders(s *stage, r *result) error {
	me := s.machines["mallory"]
	var all [][]byte
	for _, to := range []*machine{s.machines["alice"], {mac: me.gateway, ip4: world.Addr("HOLE4"), ip6: world.Addr("HOLE6")}, {mac: packet.Broadcast, ip4: me.gw4, ip6: me.gw6}} {
		heads, frames := headerCases(s, me, to, s.rounds(2000, 20000))
		for i := range heads {
			all = append(all, withHeader(heads[i], frames[i]))
		}
	}
	// What the kernel of the sender has passed is right enough for a neighbour's; the outside gets nothing of it.
	return s.barrage(r, me, s.farAndNear()[:1], nil, 0, s.send(me, all, true))
}

// bridgedHeaders lies in the headers of a TAP that the attacker has made and put on a bridge with her interface: the frames
// come into her kernel as from a network card and leave it towards footbridge.
func bridgedHeaders(s *stage, r *result) error {
	me := s.machines["mallory"]
	const own = "evil0"
	if err := me.actor.call("Queue", QueueArgs{Name: own, Single: true, Offloads: unixOffloads}, &struct{}{}); err != nil {
		return err
	}
	defer me.actor.call("Release", struct{}{}, &struct{}{})
	if _, err := me.actor.run("ip link add evilbr type bridge && ip link set evilbr up && ip link set %s master evilbr up && ip link set %s master evilbr", own, me.iface); err != nil {
		return err
	}
	defer me.actor.run("ip link del evilbr")
	var all [][]byte
	for _, to := range []*machine{s.machines["alice"], {mac: me.gateway, ip4: world.Addr("HOLE4"), ip6: world.Addr("HOLE6")}} {
		heads, frames := headerCases(s, me, to, s.rounds(2000, 20000))
		for i := range heads {
			all = append(all, withHeader(heads[i], frames[i]))
		}
	}
	err := s.barrage(r, me, s.farAndNear()[:1], nil, 0, func() (SendReply, error) {
		var sent SendReply
		err := me.actor.call("Inject", InjectArgs{Name: own, Frames: all}, &sent)
		return sent, err
	})
	if err != nil {
		return fmt.Errorf("through %s: %w", own, err)
	}
	return nil
}

// unixOffloads are all that a TAP's owner may take (linux/if_tun.h): checksums, TSO of both families, ECN, UFO, USO of both.
const unixOffloads = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40
