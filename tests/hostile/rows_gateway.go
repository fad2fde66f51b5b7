package main

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/tests/world"
)

// gateways are the rows about what a gateway has by options: nothing at all, or ports of the host.
var gateways = []row{
	{group: groupPolicy, name: "a network without a gateway: the outside, the host, others, the name server's address", run: withoutAGateway},
	{group: groupPolicy, name: "ports of the host: others of its loopback, by other addresses, from other networks", run: aroundHostPorts},
}

// Addresses at which names are asked on networks without a gateway.
var (
	names4 = netip.MustParseAddr("169.254.53.53")
	names6 = netip.MustParseAddr("fd6e:616d:6573::53")
)

// everybody are interfaces of other networks.
func (s *stage) everybody() []*machine {
	var list []*machine
	for _, name := range []string{"alice", "carol", "mole", "db", "olga", "hugo"} {
		list = append(list, s.machines[name])
	}
	return list
}

func withoutAGateway(s *stage, r *result) error {
	me, ivan := s.machines["isla"], s.machines["ivan"]
	if err := reachable(me.actor, openAttempts(ivan)...); err != nil {
		return err
	}
	// She makes herself routes.
	if _, err := me.actor.run("ip route replace default via %s dev %s onlink; ip -6 route replace default via %s dev %s onlink", names4, me.iface, names6, me.iface); err != nil {
		return err
	}
	attempts := s.outside()
	for _, m := range s.everybody() {
		for _, a := range []netip.Addr{m.ip4, m.ip6} {
			attempts = append(attempts, everyWay(a, "", portSecret)...)
		}
		for _, a := range []netip.Addr{m.gw4, m.gw6} {
			attempts = append(attempts, everyWay(a, "", 53)...)
		}
	}
	for _, a := range []netip.Addr{names4, names6} {
		attempts = append(attempts, everyWay(a, "", world.PortLoopback, portLoopback, 67, 547, 80)...)
	}
	attempts = append(attempts, everyWay(me.gateway.LinkLocal(), me.iface, 53, portSecret)...)
	var frames [][]byte
	for _, text := range []netip.Addr{world.Addr("WEB4"), world.Addr("WEB6"), world.Addr("HOST4"), world.Addr("HOST6"), s.machines["alice"].ip4, s.machines["olga"].ip6,
		names4, names6, packet.AllNodes, packet.AllRouters, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")} {
		frames = append(frames, framesFor(me, me.gateway, text)(s.nextMark())...)
		frames = append(frames, inEthernet(me.gateway, me.mac, errorAbout(me.ip4, names4, udpPacket(netip.AddrPortFrom(names4, 53), netip.AddrPortFrom(me.ip4, 4242), s.nextMark()))))
	}
	r.tried += len(frames)
	lanes := append(s.elsewhere(), s.machines["alice"].lane("alice"), s.machines["olga"].lane("olga"))
	return s.quietly(r, lanes, func() error {
		if err := unreachable(r, me.actor, attempts); err != nil {
			return err
		}
		if err := me.actor.call("Send", SendArgs{Interface: me.iface, Frames: frames}, new(SendReply)); err != nil {
			return err
		}
		return reachable(me.actor, openAttempts(ivan)...)
	})
}

func aroundHostPorts(s *stage, r *result) error {
	me, mallory := s.machines["hugo"], s.machines["mallory"]
	attempt := func(network string, a netip.Addr, port int) Attempt {
		return Attempt{Network: network, Address: net.JoinHostPort(a.String(), strconv.Itoa(port)), Say: "GET / HTTP/1.0\r\n\r\n", Wait: patience}
	}
	for _, a := range []netip.Addr{me.gw4, me.gw6} {
		if err := reachable(me.actor, attempt("tcp", a, world.PortLoopback), attempt("udp", a, world.PortLoopback)); err != nil {
			return err
		}
	}
	var attempts []Attempt
	for _, network := range []string{"tcp", "udp"} {
		for _, a := range []netip.Addr{me.gw4, me.gw6} {
			for _, port := range []int{portLoopback, world.PortLocal, portSecret, portOwnOnly, world.PortLoopback - 1, world.PortLoopback + 1} {
				attempts = append(attempts, attempt(network, a, port))
			}
		}
		for _, a := range []netip.Addr{me.gateway.LinkLocal().WithZone(me.iface), mallory.gw4, mallory.gw6, world.Addr("METADATA4")} {
			attempts = append(attempts, attempt(network, a, world.PortLoopback))
		}
	}
	if err := unreachable(r, me.actor, attempts); err != nil {
		return err
	}
	attempts = nil
	for _, network := range []string{"tcp", "udp"} {
		for _, a := range []netip.Addr{me.gw4, me.gw6, mallory.gw4, mallory.gw6} {
			attempts = append(attempts, attempt(network, a, world.PortLoopback))
		}
	}
	if err := unreachable(r, mallory.actor, attempts); err != nil {
		return err
	}
	// Loopback addresses themselves, and the gateway's from elsewhere, as frames.
	lanes := s.elsewhere()
	return s.quietly(r, lanes, func() error {
		var frames [][]byte
		mark := s.nextMark()
		for _, text := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"} {
			to := netip.MustParseAddr(text)
			src := me.ip4
			if to.Is6() {
				src = me.ip6
			}
			frames = append(frames, inEthernet(me.gateway, me.mac, udpPacket(netip.AddrPortFrom(src, 4242), netip.AddrPortFrom(to, world.PortLoopback), mark)),
				inEthernet(me.gateway, me.mac, tcpPacket(netip.AddrPortFrom(src, 4242), netip.AddrPortFrom(to, world.PortLoopback), flagSYN, 1, 0, mark)))
		}
		// As loopback, or as a neighbour, to the port that is open.
		for _, text := range []string{"127.0.0.1", me.gw4.String(), mallory.ip4.String()} {
			frames = append(frames, inEthernet(me.gateway, me.mac,
				udpPacket(netip.AddrPortFrom(netip.MustParseAddr(text), 4242), netip.AddrPortFrom(me.gw4, world.PortLoopback), mark)))
		}
		r.tried += len(frames)
		if err := me.actor.call("Send", SendArgs{Interface: me.iface, Frames: frames}, new(SendReply)); err != nil {
			return err
		}
		if err := reachable(me.actor, attempt("udp", me.gw4, world.PortLoopback)); err != nil {
			return fmt.Errorf("after all that: %w", err)
		}
		return nil
	})
}
