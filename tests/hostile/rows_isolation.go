package main

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/tests/world"
)

const groupIsolation = "places that are not hers"

// isolation are the rows in which a container tries to get where it does not belong.
var isolation = []row{
	{group: groupIsolation, name: "another network, by sockets: containers, gateway, names, broadcast", run: otherNetworkBySockets},
	{group: groupIsolation, name: "another network, by frames: its MACs, its addresses by the gateway", run: otherNetworkByFrames},
	{group: groupIsolation, name: "loopback, link-local, metadata, groups, by sockets", run: closedBySockets},
	{group: groupIsolation, name: "the same, mapped, 6to4, NAT64, 0.0.0.0, ::, by frames", run: closedByFrames},
	{group: groupIsolation, name: "source routes, both families", run: sourceRoutes},
	{group: groupIsolation, name: "IPIP, 6in4, GRE and all other IP protocols", run: otherProtocols},
	{group: groupIsolation, name: "the outside from an internal network, by sockets and frames", run: outsideFromInternal},
	{group: groupIsolation, name: "the same, by a neighbour on two networks who forwards", run: throughANeighbour},
}

// ports of a place, by the protocols that have them.
func everyWay(a netip.Addr, zone string, ports ...int) []Attempt {
	host := a.WithZone(zone).String()
	list := []Attempt{{Network: "ping", Address: host, Wait: patience}}
	for _, port := range ports {
		address := net.JoinHostPort(host, strconv.Itoa(port))
		list = append(list, Attempt{Network: "tcp", Address: address, Say: "GET / HTTP/1.0\r\n\r\n", Wait: patience},
			Attempt{Network: "udp", Address: address, Say: "hello", Wait: patience})
	}
	return list
}

// patience is how long an attempt waits that should fail. A real answer comes within a millisecond.
const patience = 700 * 1e6

// unreachable makes attempts of which none may succeed.
func unreachable(r *result, a *actor, attempts []Attempt) error {
	outcomes, err := a.try(attempts...)
	if err != nil {
		return err
	}
	for i, o := range outcomes {
		r.tried++
		if o.Reached {
			r.in("%s: %s", a.Name, outcomeText(attempts[i], o))
		}
	}
	return nil
}

// reachable makes attempts all of which must succeed: else the others show nothing.
func reachable(a *actor, attempts ...Attempt) error {
	outcomes, err := a.try(attempts...)
	if err != nil {
		return err
	}
	for i, o := range outcomes {
		if !o.Reached {
			return fmt.Errorf("%s: %s should be reached, and is not: %s", a.Name, attempts[i].describe(), o.Error)
		}
	}
	return nil
}

// quietly watches lanes while something is done; whatever then arrives for the secret port, or with a mark, was let in.
func (s *stage) quietly(r *result, lanes []lane, do func() error) error {
	watches, err := s.lookAt(lanes)
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	for _, w := range watches {
		var frames [][]byte
		if err := w.actor.call("Watched", w.id, &frames); err != nil {
			return err
		}
		for _, f := range frames {
			if !w.witness {
				r.in("%s saw %x", w.name, f[:min(len(f), 90)])
			}
		}
	}
	return nil
}

// elsewhere are the lanes of all but the attacker's own network.
func (s *stage) elsewhere() []lane { return s.lanes("alice")[1:] }

func otherNetworkBySockets(s *stage, r *result) error {
	me, carol, mole := s.machines["mallory"], s.machines["carol"], s.machines["mole"]
	var attempts []Attempt
	for _, a := range []netip.Addr{carol.ip4, carol.ip6, mole.ip4, mole.ip6, s.machines["dora/"+insideNet].ip4} {
		attempts = append(attempts, everyWay(a, "", portSecret)...)
	}
	for _, a := range []netip.Addr{carol.gw4, carol.gw6, mole.gw4, mole.gw6} {
		attempts = append(attempts, everyWay(a, "", 53, portSecret)...)
	}
	for _, text := range []string{"10.72.0.255", "10.72.0.0", "10.74.0.255"} {
		attempts = append(attempts, Attempt{Network: "udp", Address: net.JoinHostPort(text, strconv.Itoa(portSecret)), Say: "hello", Wait: patience})
	}
	// Her neighbour is reached by the same ways.
	alice := s.machines["alice"]
	if err := reachable(me.actor, append(everyWay(alice.ip4, "", portSecret), everyWay(alice.ip6, "", portSecret)...)...); err != nil {
		return err
	}
	err := s.quietly(r, s.elsewhere(), func() error { return unreachable(r, me.actor, attempts) })
	if err != nil {
		return err
	}
	// The way back: those of the other network, and of the internal one, do not reach her either.
	for _, from := range []*machine{carol, mole} {
		if err := unreachable(r, from.actor, append(everyWay(me.ip4, "", portSecret), everyWay(me.ip6, "", portSecret)...)); err != nil {
			return err
		}
	}
	return nil
}

// framesFor makes a shot of a datagram, a SYN and a ping from the attacker to an address, in frames for a MAC.
func framesFor(me *machine, dst packet.MAC, to netip.Addr) func(m []byte) [][]byte {
	return func(m []byte) [][]byte {
		src := me.ip4
		if to.Is6() {
			src = me.ip6
		}
		from, at := netip.AddrPortFrom(src, 4242), netip.AddrPortFrom(to, portSecret)
		return [][]byte{
			inEthernet(dst, me.mac, udpPacket(from, at, m)),
			inEthernet(dst, me.mac, tcpPacket(from, at, flagSYN, 1, 0, m)),
			inEthernet(dst, me.mac, icmpPacket(src, to, echoOf(src), 0, 1, m)),
			inEthernet(dst, me.mac, fragment(src, to, packet.ProtoUDP, uint32(m[len(m)-1]), 8, false, append(m[:len(m):len(m)], 0, 0, 0, 0, 0, 0))),
		}
	}
}

func otherNetworkByFrames(s *stage, r *result) error {
	me, carol := s.machines["mallory"], s.machines["carol"]
	var shots []shot
	for _, to := range []netip.Addr{carol.ip4, carol.ip6, carol.local, carol.gw4, carol.gw6, netip.MustParseAddr("10.72.0.255")} {
		shots = append(shots,
			shot{"for " + to.String() + ", to the gateway", "", framesFor(me, me.gateway, to)},
			shot{"for " + to.String() + ", to the other gateway's MAC", "", framesFor(me, carol.gateway, to)},
			shot{"for " + to.String() + ", to its MAC", "", framesFor(me, carol.mac, to)})
	}
	lanes := s.lanes("alice")
	// The gateways of both networks may have one MAC, which is nothing to her neighbours.
	return s.fire(r, me, s.machines["alice"], lanes, shots)
}

func closedBySockets(s *stage, r *result) error {
	me := s.machines["mallory"]
	var attempts []Attempt
	add := func(text, zone string, ports ...int) {
		attempts = append(attempts, everyWay(netip.MustParseAddr(text), zone, ports...)...)
	}
	add(world.Addr("METADATA4").String(), "", 80, portSecret)
	add("169.254.1.1", "", portSecret)
	add("fd00:ec2::254", "", 80, portSecret)
	add("fe80::1", me.iface, 80, portSecret)
	for _, text := range []string{
		"2002:7f00:1::1", "2002:a9fe:a9fe::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "::7f00:1", "::a9fe:a9fe", "2002:a48:2::1", "64:ff9b::a48:2",
	} {
		add(text, "", world.PortLoopback, 80, portSecret)
	}
	for _, gateway := range []netip.Addr{me.gw4, me.gw6} {
		host := gateway.String()
		for _, port := range []int{world.PortLoopback, portLoopback, portSecret, world.PortLocal} {
			for _, network := range []string{"tcp", "udp"} {
				attempts = append(attempts, Attempt{Network: network, Address: net.JoinHostPort(host, strconv.Itoa(port)), Say: "GET / HTTP/1.0\r\n\r\n", Wait: patience})
			}
		}
	}
	// The same are reached from the host itself: there is something to be had.
	err := reachable(s.actors[onHost],
		Attempt{Network: "tcp", Address: net.JoinHostPort(world.Addr("METADATA4").String(), "80")},
		Attempt{Network: "udp", Address: fmt.Sprintf("127.0.0.1:%d", world.PortLoopback), Say: "x"},
		Attempt{Network: "tcp", Address: fmt.Sprintf("[::1]:%d", world.PortLoopback)})
	if err != nil {
		return err
	}
	return s.quietly(r, s.elsewhere(), func() error { return unreachable(r, me.actor, attempts) })
}

func closedByFrames(s *stage, r *result) error {
	me := s.machines["mallory"]
	var shots []shot
	for _, text := range []string{
		"127.0.0.1", "127.1.2.3", "127.0.0.53", "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.1.1", "224.0.0.1", "224.0.0.251", "239.255.255.250", "255.255.255.255",
		"10.71.0.255", "10.71.0.0",
		"::1", "::", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.72.0.2", "::127.0.0.1", "fe80::1", "fd00:ec2::254",
		"ff01::1", "ff02::1", "ff02::fb", "ff05::2", "ff0e::1", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2002:a48:2::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a48:2",
	} {
		shots = append(shots, shot{text, "", framesFor(me, me.gateway, netip.MustParseAddr(text))})
	}
	return s.fire(r, me, s.machines["alice"], s.lanes("alice"), shots)
}

func sourceRoutes(s *stage, r *result) error {
	me, carol, alice := s.machines["mallory"], s.machines["carol"], s.machines["alice"]
	var shots []shot
	for _, target := range []netip.Addr{carol.ip4, world.Addr("METADATA4"), netip.MustParseAddr("127.0.0.1")} {
		for kind, name := range map[byte]string{131: "loose", 137: "strict", 7: "recorded"} {
			shots = append(shots, shot{fmt.Sprintf("%s route over the gateway to %s", name, target), "", func(m []byte) [][]byte {
				t := target.As4()
				option := append([]byte{1, kind, 7, 4}, t[:]...)
				from, via := netip.AddrPortFrom(me.ip4, 4242), netip.AddrPortFrom(me.gw4, portSecret)
				return [][]byte{inEthernet(me.gateway, me.mac, ipPacket(me.ip4, me.gw4, packet.ProtoUDP, 64, udpDatagram(from, via, m), option...))}
			}})
		}
	}
	for _, target := range []netip.Addr{carol.ip6, netip.MustParseAddr("::1"), netip.MustParseAddr("fd00:ec2::254"), alice.ip6} {
		for _, kind := range []byte{0, 2, 3, 4} {
			shots = append(shots, shot{fmt.Sprintf("routing header %d over the gateway to %s", kind, target), "", func(m []byte) [][]byte {
				t := target.As16()
				from, via := netip.AddrPortFrom(me.ip6, 4242), netip.AddrPortFrom(me.gw6, portSecret)
				header := append([]byte{packet.ProtoUDP, 2, kind, 1, 0, 0, 0, 0}, t[:]...)
				return [][]byte{inEthernet(me.gateway, me.mac, ipPacket(me.ip6, me.gw6, packet.ProtoRouting, 64, append(header, udpDatagram(from, via, m)...)))}
			}})
		}
	}
	return s.fire(r, me, alice, s.lanes("alice"), shots)
}

func otherProtocols(s *stage, r *result) error {
	me, carol := s.machines["mallory"], s.machines["carol"]
	inner4 := func(m []byte) []byte {
		return udpPacket(netip.AddrPortFrom(me.ip4, 4242), netip.AddrPortFrom(carol.ip4, portSecret), m)
	}
	inner6 := func(m []byte) []byte {
		return udpPacket(netip.AddrPortFrom(me.ip6, 4242), netip.AddrPortFrom(carol.ip6, portSecret), m)
	}
	gre := func(etherType uint16, inner []byte) []byte {
		return append([]byte{0, 0, byte(etherType >> 8), byte(etherType)}, inner...)
	}
	var shots []shot
	for _, to := range []netip.Addr{me.gw4, world.Addr("WEB4"), world.Addr("HOST4"), carol.ip4, me.gw6, world.Addr("WEB6"), world.Addr("HOST6"), carol.ip6} {
		src := me.ip4
		if to.Is6() {
			src = me.ip6
		}
		shots = append(shots, shot{"tunnels to " + to.String(), "", func(m []byte) [][]byte {
			var frames [][]byte
			for proto, payload := range map[uint8][]byte{4: inner4(m), 41: inner6(m), 47: gre(packet.TypeIPv4, inner4(m)), 137: inner4(m), 98: inner4(m), 55: inner4(m), 94: inner4(m)} {
				frames = append(frames, inEthernet(me.gateway, me.mac, ipPacket(src, to, proto, 64, payload)))
			}
			return append(frames, inEthernet(me.gateway, me.mac, ipPacket(src, to, 47, 64, gre(packet.TypeIPv6, inner6(m)))))
		}}, shot{"all protocols to " + to.String(), "", func(m []byte) [][]byte {
			var frames [][]byte
			for proto := range 256 {
				switch proto {
				case packet.ProtoUDP, packet.ProtoTCP, packet.ProtoICMP, packet.ProtoICMPv6:
					continue // these are let out, where the address is
				}
				frames = append(frames, inEthernet(me.gateway, me.mac, ipPacket(src, to, uint8(proto), 64, append([]byte{0x11, 0x11, 0, 9}, append(m[:len(m):len(m)], make([]byte, 24)...)...))))
			}
			return frames
		}})
	}
	return s.fire(r, me, s.machines["alice"], s.lanes("alice"), shots)
}

// outside are attempts to leave: the web, the host, the name servers, and the other networks.
func (s *stage) outside() []Attempt {
	var attempts []Attempt
	for _, name := range []string{"WEB4", "WEB6", "HOST4", "HOST6", "UPLINK4", "CLIENT4", "METADATA4", "DNS4", "DNS6"} {
		attempts = append(attempts, everyWay(world.Addr(name), "", 80, 53, portSecret)...)
	}
	for _, name := range []string{"alice", "carol"} {
		m := s.machines[name]
		attempts = append(append(attempts, everyWay(m.ip4, "", portSecret)...), everyWay(m.ip6, "", portSecret)...)
	}
	return attempts
}

func outsideFromInternal(s *stage, r *result) error {
	mole, dora := s.machines["mole"], s.machines["dora/"+insideNet]
	if err := reachable(mole.actor, everyWay(dora.ip4, "", portSecret)...); err != nil {
		return err
	}
	// There may be no default route; she makes one.
	if _, err := mole.actor.run("ip route replace default via %s; ip -6 route replace default via %s", mole.gw4, mole.gw6); err != nil {
		return err
	}
	lanes := append(s.elsewhere(), s.machines["alice"].lane("alice"))
	return s.quietly(r, lanes, func() error {
		if err := unreachable(r, mole.actor, s.outside()); err != nil {
			return err
		}
		for _, name := range []string{"WEB4", "WEB6", "HOST4", "HOST6", "DNS4"} {
			frames := framesFor(mole, mole.gateway, world.Addr(name))(s.nextMark())
			r.tried += len(frames)
			if err := mole.actor.call("Send", SendArgs{Interface: mole.iface, Frames: frames}, &SendReply{}); err != nil {
				return err
			}
		}
		return reachable(mole.actor, everyWay(dora.ip6, "", portSecret)...)
	})
}

// throughANeighbour lets one who is on two networks forward for another. Without an address of her own before them, which
// would be her traffic, the packets have a source that is not hers.
func throughANeighbour(s *stage, r *result) error {
	mole, dora := s.machines["mole"], s.machines["dora/"+insideNet]
	if _, err := dora.actor.run("echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; echo 0 | tee /proc/sys/net/ipv4/conf/*/rp_filter >/dev/null"); err != nil {
		return err
	}
	if _, err := mole.actor.run("ip route replace default via %s; ip -6 route replace default via %s", dora.ip4, dora.ip6); err != nil {
		return err
	}
	before, err := s.portCounters(s.machines["dora"])
	if err != nil {
		return err
	}
	lanes := append(s.elsewhere(), s.machines["alice"].lane("alice"))
	if err := s.quietly(r, lanes, func() error { return unreachable(r, mole.actor, s.outside()) }); err != nil {
		return err
	}
	if err := s.compareCounters(r, s.machines["dora"], before, nil); err != nil {
		return err
	}
	if r.counted[dropSourceIP] == 0 {
		return fmt.Errorf("nothing of it was dropped at %s's port, so it did not get there: %s", dora.actor.Name, strings.TrimSpace(r.lastCell()))
	}
	return nil
}
