package main

import (
	"net/netip"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/tests/world"
)

// good is a packet that the attacker could send: to the victim, in a family.
func (p sides) good(m []byte, six bool) []byte {
	if six {
		return udpPacket(netip.AddrPortFrom(p.me.ip6, 4242), netip.AddrPortFrom(p.victim.ip6, portEcho), m)
	}
	return udpPacket(netip.AddrPortFrom(p.me.ip4, 4242), netip.AddrPortFrom(p.victim.ip4, portEcho), m)
}

func macShots(p sides) []shot {
	var shots []shot
	for name, mac := range map[string]packet.MAC{
		"nobody's": evilMAC, "the neighbour's": p.other.mac, "the gateway's": p.me.gateway, "the victim's": p.victim.mac,
		"a group's": packet.MulticastMAC(packet.AllNodes), "all zero": {},
	} {
		shots = append(shots, shot{name, dropSourceMAC, func(m []byte) [][]byte {
			a := packet.ARP{Op: packet.ARPRequest, SenderMAC: p.me.mac, SenderIP: p.me.ip4, TargetIP: p.victim.ip4}
			return [][]byte{
				inEthernet(p.victim.mac, mac, p.good(m, false)), inEthernet(p.victim.mac, mac, p.good(m, true)),
				inEthernet(packet.Broadcast, mac, p.good(m, false)), arp(packet.Broadcast, mac, a, m),
			}
		}})
	}
	return shots
}

func addressShots(p sides) []shot {
	var shots []shot
	web4, web6 := world.Addr("WEB4"), world.Addr("WEB6")
	add := func(name string, src netip.Addr, reason string) {
		shots = append(shots, shot{name, reason, func(m []byte) [][]byte {
			victim, web := p.victim.ip4, web4
			if src.Is6() {
				victim, web = p.victim.ip6, web6
			}
			from := netip.AddrPortFrom(src, 4242)
			return [][]byte{
				inEthernet(p.victim.mac, p.me.mac, udpPacket(from, netip.AddrPortFrom(victim, portEcho), m)),
				inEthernet(p.victim.mac, p.me.mac, tcpPacket(from, netip.AddrPortFrom(victim, portEcho), flagSYN, 1, 0, m)),
				inEthernet(p.victim.mac, p.me.mac, icmpPacket(src, victim, echoOf(src), 0, 1, m)),
				inEthernet(p.me.gateway, p.me.mac, udpPacket(from, netip.AddrPortFrom(web, 9), m)),
				inEthernet(p.me.gateway, p.me.mac, icmpPacket(src, web, echoOf(src), 0, 1, m)),
				inEthernet(p.victim.mac, p.me.mac, fragment(src, victim, packet.ProtoUDP, 9, 8, true, append(m, make([]byte, 6)...))),
			}
		}})
	}
	for name, text := range map[string]string{
		"another subnet's": "10.72.0.2", "the internet's": "198.51.100.10", "loopback": "127.0.0.1",
		"link-local": "169.254.1.1", "nobody's of this subnet": "10.71.0.200", "group": "224.0.0.1",
		"broadcast": "255.255.255.255", "unspecified": "0.0.0.0",
		"IPv6, another subnet's": "fd72::2", "IPv6, the internet's": "2001:db8:100::10", "IPv6, loopback": "::1",
		"IPv6, another link-local": "fe80::66", "IPv6, group": "ff02::1", "a published port's client's": "192.0.2.2", "the host's": "192.0.2.1", "IPv6, the client's": "2001:db8:1::2", "v4-mapped": "::ffff:10.71.0.3",
	} {
		reason := dropSourceIP
		if text == "::ffff:10.71.0.3" {
			reason = "" // malformed or not its own: either is right
		}
		add(name, netip.MustParseAddr(text), reason)
	}
	add("a neighbour's", p.other.ip4, dropSourceIP)
	add("the gateway's", p.me.gw4, dropSourceIP)
	add("the victim's", p.victim.ip4, dropSourceIP)
	add("IPv6, a neighbour's", p.other.ip6, dropSourceIP)
	add("IPv6, the gateway's", p.me.gw6, dropSourceIP)
	add("IPv6, a neighbour's link-local", p.other.local, dropSourceIP)
	return shots
}

func vlanShots(p sides) []shot {
	const dot1q, dot1ad = 0x8100, 0x88a8
	var shots []shot
	for name, tag := range map[string]func([]byte) []byte{
		"802.1Q":         func(f []byte) []byte { return tagged(f, dot1q, 1) },
		"priority only":  func(f []byte) []byte { return tagged(f, dot1q, 7<<13) },
		"802.1ad":        func(f []byte) []byte { return tagged(f, dot1ad, 100) },
		"double":         func(f []byte) []byte { return tagged(tagged(f, dot1q, 200), dot1q, 1) },
		"double 802.1ad": func(f []byte) []byte { return tagged(tagged(f, dot1q, 200), dot1ad, 1) },
		"triple 0x9100":  func(f []byte) []byte { return tagged(tagged(tagged(f, dot1q, 1), dot1q, 2), 0x9100, 3) },
	} {
		shots = append(shots, shot{name, dropEtherType, func(m []byte) [][]byte {
			return [][]byte{
				tag(inEthernet(p.victim.mac, p.me.mac, p.good(m, false))), tag(inEthernet(p.victim.mac, p.me.mac, p.good(m, true))),
				tag(inEthernet(packet.Broadcast, p.me.mac, p.good(m, false))), tag(inEthernet(p.me.gateway, p.me.mac, p.good(m, false))),
			}
		}})
	}
	return shots
}

func etherTypeShots(p sides) []shot {
	group := func(last ...byte) packet.MAC { return packet.MAC(append([]byte{0x01, 0x80, 0xc2, 0, 0}, last...)) }
	var shots []shot
	add := func(name string, dst packet.MAC, etherType uint16, head ...byte) {
		shots = append(shots, shot{name, dropEtherType, func(m []byte) [][]byte {
			payload := append(append(append([]byte{}, head...), m...), make([]byte, 40)...)
			return [][]byte{
				ethernet(dst, p.me.mac, etherType, payload), ethernet(p.victim.mac, p.me.mac, etherType, payload),
				ethernet(packet.Broadcast, p.me.mac, etherType, payload),
			}
		}})
	}
	add("spanning tree", group(0), 38, 0x42, 0x42, 3, 0, 0, 0, 0) // a length: 802.3 with LLC
	add("LLDP", group(0x0e), 0x88cc, 2, 7, 4, 2, 0x42, 1, 2, 3, 4)
	add("EAPOL", group(3), 0x888e, 2, 1, 0, 0)
	add("MAC pause", group(1), 0x8808, 0, 1, 0xff, 0xff)
	add("LACP", group(2), 0x8809, 1, 1)
	add("Cisco discovery", packet.MAC{0x01, 0, 0x0c, 0xcc, 0xcc, 0xcc}, 40, 0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0)
	add("RARP", packet.Broadcast, 0x8035, 0, 1, 8, 0, 6, 4, 0, 3)
	add("PPPoE", packet.Broadcast, 0x8863, 0x11, 9)
	add("MPLS", packet.Broadcast, 0x8847, 0, 1, 1, 64)
	add("loopback test", packet.MAC{0xcf, 0, 0, 0, 0, 0}, 0x9000)
	add("IPX", packet.Broadcast, 0x8137)
	add("MACsec", packet.Broadcast, 0x88e5)
	add("batman", packet.Broadcast, 0x4305)
	add("type 0", packet.Broadcast, 0)
	add("type 0xffff", packet.Broadcast, 0xffff)
	// The right type with another version inside.
	shots = append(shots, shot{"IPv6 as IPv4 and the other way round", dropMalformed, func(m []byte) [][]byte {
		return [][]byte{
			ethernet(p.victim.mac, p.me.mac, packet.TypeIPv4, p.good(m, true)), ethernet(p.victim.mac, p.me.mac, packet.TypeIPv6, p.good(m, false)),
		}
	}})
	return shots
}

// strayIPv6 sends IPv6 over a network that has none; interfaces there have no IPv6 addresses.
func strayIPv6(s *stage, r *result) error {
	p := sides{me: s.machines["mallory/"+plainNet], victim: s.machines["victor"]}
	me, victim := p.me.mac.LinkLocal(), p.victim.mac.LinkLocal()
	for _, m := range []*machine{p.me, p.victim} {
		if m.local.IsValid() || m.ip6.IsValid() {
			r.in("%s has IPv6 addresses on a network without IPv6: %s %s", m.actor.Name, m.local, m.ip6)
		}
	}
	disabled, err := p.victim.actor.run("cat /proc/sys/net/ipv6/conf/%s/disable_ipv6", p.victim.iface)
	if err != nil {
		return err
	}
	if disabled != "1" {
		r.bad("disable_ipv6 of the victim's interface is %s", disabled)
	}
	from, to := netip.AddrPortFrom(me, 4242), netip.AddrPortFrom(victim, portEcho)
	shots := []shot{
		p.shot("a datagram", dropNoIPv6, func(m []byte) []byte { return udpPacket(from, to, m) }),
		p.shot("to all nodes", dropNoIPv6, func(m []byte) []byte {
			return udpPacket(from, netip.AddrPortFrom(packet.AllNodes, portEcho), m)
		}),
		p.shot("a TCP SYN", dropNoIPv6, func(m []byte) []byte { return tcpPacket(from, to, flagSYN, 1, 0, m) }),
		p.shot("ping of all nodes", dropNoIPv6, func(m []byte) []byte {
			return icmpPacket(me, packet.AllNodes, packet.ICMPv6EchoRequest, 0, 1, m)
		}),
		p.shot("a router advertisement", dropNoIPv6, func(m []byte) []byte {
			return routerAdvert(me, p.me.mac, stolen, me, m)
		}),
		p.shot("a neighbour solicitation", dropNoIPv6, func(m []byte) []byte {
			return neighborSolicit(me, packet.AllNodes, victim, p.me.mac, m)
		}),
		p.shot("a fragment", dropNoIPv6, func(m []byte) []byte {
			return fragment(me, victim, packet.ProtoUDP, 1, 0, true, append(m, make([]byte, 6)...))
		}),
	}
	shots = append(shots, shot{"to the gateway", dropNoIPv6, func(m []byte) [][]byte {
		web := netip.AddrPortFrom(world.Addr("WEB6"), 9)
		return [][]byte{inEthernet(p.me.gateway, p.me.mac, udpPacket(from, web, m))}
	}})
	return s.fire(r, p.me, p.victim, s.lanes("victor"), shots)
}
