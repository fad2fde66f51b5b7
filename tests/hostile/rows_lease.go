package main

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/tests/world"
)

// Ports and messages of clients (RFC 2131, RFC 8415).
const (
	dhcpClientPort, dhcpServerPort   = 68, 67
	dhcp6ClientPort, dhcp6ServerPort = 546, 547

	dhcpDiscover, dhcpRequest, dhcpDecline, dhcpRelease, dhcpInform                                                      = 1, 3, 4, 7, 8
	dhcp6Solicit, dhcp6Request, dhcp6Confirm, dhcp6Renew, dhcp6Rebind, dhcp6Release, dhcp6Decline, dhcp6Info, dhcp6Relay = 1, 3, 4, 5, 6, 8, 9, 11, 12
)

// allDHCP is where servers of DHCPv6 listen.
var allDHCP = netip.MustParseAddr("ff02::1:2")

// dhcpAsk is a client's message: whose hardware it names, the address that it has, its relay, its options.
func dhcpAsk(kind byte, hardware packet.MAC, has, relay netip.Addr, more ...byte) []byte {
	b := make([]byte, 236, 300)
	b[0], b[1], b[2] = 1, 1, 6
	copy(b[4:], "fbhx")
	copy(b[12:], has.AsSlice())
	copy(b[24:], relay.AsSlice())
	copy(b[28:], hardware[:])
	b = append(b, 99, 130, 83, 99, 53, 1, kind)
	return append(append(b, more...), 255)
}

// dhcpOption is an option of DHCPv4 that is an address.
func dhcpOption(code byte, a netip.Addr) []byte { return append([]byte{code, 4}, a.AsSlice()...) }

// dhcp6Ask is a client's message for one address.
func dhcp6Ask(kind byte, client, server packet.MAC, a netip.Addr) []byte {
	b := []byte{kind, 'f', 'b', 'h'}
	add := func(code uint16, value ...byte) {
		b = binary.BigEndian.AppendUint16(b, code)
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
		b = append(b, value...)
	}
	add(1, append([]byte{0, 3, 0, 1}, client[:]...)...)
	switch kind {
	case dhcp6Request, dhcp6Renew, dhcp6Release, dhcp6Decline:
		add(2, append([]byte{0, 3, 0, 1}, server[:]...)...)
	}
	if kind != dhcp6Info {
		inner := append([]byte{0, 5, 0, 24}, a.AsSlice()...)
		add(3, append(make([]byte, 12), append(inner, make([]byte, 8)...)...)...)
	}
	return b
}

// othersLeases asks for everything that is not hers. What she gets may name no address but her own.
func othersLeases(s *stage, r *result) error {
	me, alice, bob := s.machines["mallory"], s.machines["alice"], s.machines["bob"]
	none, all := netip.IPv4Unspecified(), netip.MustParseAddr("255.255.255.255")
	var frames [][]byte
	send := func(mac packet.MAC, src, dst netip.Addr, message []byte) {
		to := me.gateway
		if dst == all {
			to = packet.Broadcast
		}
		frames = append(frames, inEthernet(to, mac, udpPacket(netip.AddrPortFrom(src, dhcpClientPort), netip.AddrPortFrom(dst, dhcpServerPort), message)))
	}
	send6 := func(src netip.Addr, message []byte) {
		frames = append(frames, inEthernet(packet.MulticastMAC(allDHCP), me.mac,
			udpPacket(netip.AddrPortFrom(src, dhcp6ClientPort), netip.AddrPortFrom(allDHCP, dhcp6ServerPort), message)))
	}
	server := dhcpOption(54, me.gw4)
	for _, a := range []netip.Addr{alice.ip4, bob.ip4, me.gw4, netip.MustParseAddr("10.71.0.200"), netip.MustParseAddr("10.72.0.2"), world.Addr("WEB4")} {
		want, id := dhcpOption(50, a), append([]byte{61, 7, 1}, alice.mac[:]...)
		for _, kind := range []byte{dhcpDiscover, dhcpRequest, dhcpDecline, dhcpRelease, dhcpInform} {
			for _, hardware := range []packet.MAC{me.mac, alice.mac, evilMAC} {
				for _, src := range []netip.Addr{none, me.ip4} {
					send(me.mac, src, all, dhcpAsk(kind, hardware, none, none, want...))
					send(me.mac, src, all, dhcpAsk(kind, hardware, none, none, slices.Concat(want, server, id)...))
					send(me.mac, src, all, dhcpAsk(kind, hardware, a, none, id...))
					send(me.mac, src, me.gw4, dhcpAsk(kind, hardware, a, a, server...))
					send(me.mac, src, me.gw4, dhcpAsk(kind, hardware, a, alice.ip4, want...))
				}
				send(alice.mac, none, all, dhcpAsk(kind, hardware, none, none, want...))
				send(evilMAC, none, all, dhcpAsk(kind, hardware, none, none, want...))
				send(me.mac, alice.ip4, me.gw4, dhcpAsk(kind, hardware, alice.ip4, none, server...))
			}
		}
	}
	for _, a := range []netip.Addr{alice.ip6, bob.ip6, me.gw6, alice.local, netip.MustParseAddr("fd71::2:0"), netip.MustParseAddr("fd72::2"), netip.IPv6Unspecified()} {
		for _, kind := range []byte{dhcp6Solicit, dhcp6Request, dhcp6Confirm, dhcp6Renew, dhcp6Rebind, dhcp6Release, dhcp6Decline, dhcp6Info, dhcp6Relay} {
			for _, client := range []packet.MAC{me.mac, alice.mac, evilMAC} {
				for _, src := range []netip.Addr{me.local, me.ip6, alice.local} {
					send6(src, dhcp6Ask(kind, client, me.gateway, a))
				}
			}
		}
	}
	whole, whole6 := dhcpAsk(dhcpDiscover, me.mac, none, none, append(server, 55, 4, 1, 3, 6, 119)...), dhcp6Ask(dhcp6Solicit, me.mac, me.gateway, me.ip6)
	for n := range whole {
		send(me.mac, none, all, whole[:n])
	}
	for n := range whole6 {
		send6(me.local, whole6[:n])
	}
	chance := random(s.seed)
	for range 500 {
		spoil := func(b []byte) []byte {
			b = bytes.Clone(b)
			for range 1 + chance.Intn(4) {
				b[chance.Intn(len(b))] = byte(chance.Intn(256))
			}
			return b
		}
		send(me.mac, none, all, spoil(whole))
		send6(me.local, spoil(whole6))
	}
	if chance.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] }); s.short {
		frames = frames[:len(frames)/5]
	}
	r.tried += len(frames)

	tidy, err := s.state(alice)
	if err != nil {
		return err
	}
	answers, err := watchFor(me, dhcpClientPort, dhcp6ClientPort)
	if err != nil {
		return err
	}
	err = s.quietly(r, s.lanes("alice"), func() error {
		return s.slowly(me, frames)
	})
	if err != nil {
		return err
	}
	got, err := answers()
	if err != nil {
		return err
	}
	for _, f := range got {
		judgeLease(r, me, f)
	}
	r.remark("%d answers", len(got))
	// She still gets her own.
	good, err := watchFor(me, dhcpClientPort)
	if err != nil {
		return err
	}
	world.Poll(3*time.Second, func() bool { return false })
	ask := inEthernet(packet.Broadcast, me.mac, udpPacket(netip.AddrPortFrom(none, dhcpClientPort), netip.AddrPortFrom(all, dhcpServerPort),
		dhcpAsk(dhcpDiscover, me.mac, none, none)))
	if err := me.actor.call("Send", SendArgs{Interface: me.iface, Frames: [][]byte{ask}}, new(SendReply)); err != nil {
		return err
	}
	world.Poll(time.Second, func() bool { return false })
	if got, err = good(); err != nil {
		return err
	}
	if len(got) == 0 || !bytes.Contains(got[0], me.ip4.AsSlice()) {
		r.bad("she is not offered her own address any more (%d answers)", len(got))
	}
	return s.compareState(r, me, alice, tidy)
}

// slowly sends frames not faster than questions are heard of one container.
func (s *stage) slowly(m *machine, frames [][]byte) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for part := range slices.Chunk(frames, 50) {
		if err := m.actor.call("Send", SendArgs{Interface: m.iface, Frames: part}, new(SendReply)); err != nil {
			return err
		}
		<-tick.C
	}
	return nil
}

// watchFor looks for datagrams to ports, until the function that it gives is called.
func watchFor(m *machine, ports ...uint16) (func() ([][]byte, error), error) {
	ids := make([]int, len(ports))
	for i, port := range ports {
		if err := m.actor.call("Watch", WatchArgs{Interface: m.iface, Port: port}, &ids[i]); err != nil {
			return nil, err
		}
	}
	return func() ([][]byte, error) {
		var all [][]byte
		for _, id := range ids {
			var frames [][]byte
			if err := m.actor.call("Watched", id, &frames); err != nil {
				return nil, err
			}
			all = append(all, frames...)
		}
		return all, nil
	}, nil
}

// judgeLease looks whether an answer gives a machine what is not its own.
func judgeLease(r *result, m *machine, frame []byte) {
	ip, err := packet.ParseIP(frame[packet.EthernetLen:])
	if err != nil {
		return // the actor has parsed it
	}
	message := frame[packet.EthernetLen+ip.HeaderLen+packet.UDPLen:]
	if ip.Src.Is4() {
		const yours = 16
		if len(message) < yours+4 {
			r.in("an answer without an address: %x", message)
			return
		}
		if a := netip.AddrFrom4([4]byte(message[yours:])); !a.IsUnspecified() && a != m.ip4 {
			r.in("she was given %s", a)
		}
		return
	}
	eachOption(message[4:], func(code uint16, value []byte) {
		if code != 3 || len(value) < 12 {
			return
		}
		eachOption(value[12:], func(code uint16, value []byte) {
			if code != 5 || len(value) < 24 {
				return
			}
			a, lifetime := netip.AddrFrom16([16]byte(value)), binary.BigEndian.Uint32(value[20:])
			if lifetime > 0 && a != m.ip6 {
				r.in("she was given %s for %d s", a, lifetime)
			}
		})
	})
}

// eachOption walks through options of DHCPv6.
func eachOption(b []byte, do func(code uint16, value []byte)) {
	for len(b) >= 4 {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if 4+n > len(b) {
			return
		}
		do(binary.BigEndian.Uint16(b), b[4:4+n])
		b = b[4+n:]
	}
}
