package main

import (
	"net/netip"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/tests/world"
)

// Names of the port's counters, as the daemon gives them.
const (
	dropSourceMAC = "source_mac"
	dropSourceIP  = "source_address"
	dropNeighbor  = "neighbor"
	dropEtherType = "ethertype"
	dropNoIPv6    = "no_ipv6"
	dropMalformed = "malformed"
)

// spoofing are the rows in which a container speaks for others.
var spoofing = []row{
	spoof("router advertisement: router, prefix, RDNSS", routerShots),
	spoof("router advertisement behind extension headers, in fragments", hiddenRouterShots),
	spoof("DHCPv4 and DHCPv6 server's answers", dhcpShots),
	spoof("ICMP redirects, both families", redirectShots),
	spoof("ARP: the gateway's and a neighbour's address", arpShots),
	spoof("neighbour discovery: the gateway's and a neighbour's address", ndShots),
	spoof("other source MAC", macShots),
	spoof("other source address, both families", addressShots),
	spoof("VLAN tags, single and double", vlanShots),
	spoof("STP, LLDP, EAPOL, PPPoE, MPLS and other EtherTypes", etherTypeShots),
	{group: groupSpoof, name: "any IPv6 on a network without it", run: strayIPv6},
}

const groupSpoof = "speaking for others"

// attackers are the two sides of a spoofing row.
type sides struct {
	me, victim, other *machine // other is a second neighbour of the victim's
}

// spoof makes a row in which mallory attacks alice, speaking for bob or the gateway.
func spoof(name string, shots func(sides) []shot) row {
	return row{group: groupSpoof, name: name, run: func(s *stage, r *result) error {
		p := sides{s.machines["mallory"], s.machines["alice"], s.machines["bob"]}
		return s.fire(r, p.me, p.victim, s.lanes("alice"), shots(p))
	}}
}

// both sends an IP packet to the victim alone and to all.
func (p sides) both(ip []byte) [][]byte {
	group := packet.Broadcast
	if ip[0]>>4 == 6 {
		group = packet.MulticastMAC(packet.AllNodes)
	}
	return [][]byte{inEthernet(p.victim.mac, p.me.mac, ip), inEthernet(group, p.me.mac, ip)}
}

func (p sides) shot(name, reason string, ip func(mark []byte) []byte) shot {
	return shot{name, reason, func(mark []byte) [][]byte { return p.both(ip(mark)) }}
}

// stolen is a prefix that no network here has.
var stolen = netip.MustParseAddr("fd66::")

func routerShots(p sides) []shot {
	return []shot{
		p.shot("a router", dropNeighbor, func(m []byte) []byte {
			return routerAdvert(p.me.local, p.me.mac, netip.Addr{}, netip.Addr{}, m)
		}),
		p.shot("a prefix", dropNeighbor, func(m []byte) []byte {
			return routerAdvert(p.me.local, p.me.mac, stolen, netip.Addr{}, m)
		}),
		p.shot("a name server", dropNeighbor, func(m []byte) []byte {
			return routerAdvert(p.me.local, p.me.mac, netip.Addr{}, p.me.ip6, m)
		}),
		p.shot("a router at my global address", dropNeighbor, func(m []byte) []byte {
			return routerAdvert(p.me.ip6, p.me.mac, stolen, p.me.ip6, m)
		}),
		p.shot("the gateway's link-local address", dropSourceIP, func(m []byte) []byte {
			return routerAdvert(p.me.gateway.LinkLocal(), p.me.gateway, stolen, p.me.ip6, m)
		}),
	}
}

// hiddenRouterShots are what has passed the guards of others (RFC 7113).
func hiddenRouterShots(p sides) []shot {
	advert := func(m []byte) []byte { return routerAdvert(p.me.local, p.me.mac, stolen, p.me.ip6, m)[packet.IPv6Len:] }
	hops := func(ip []byte) []byte { ip[7] = 255; return ip }
	var shots []shot
	for name, first := range map[string]uint8{
		"behind hop-by-hop options": packet.ProtoHopByHop, "behind destination options": packet.ProtoDestOpts,
	} {
		shots = append(shots, p.shot(name, dropNeighbor, func(m []byte) []byte {
			return ipPacket(p.me.local, packet.AllNodes, first, 255, append(options(packet.ProtoICMPv6, 8, m), advert(m)...))
		}))
	}
	return append(shots,
		// The header chain fills the first fragment, the advertisement is the second: nothing without the first.
		shot{"in the second fragment", "", func(m []byte) [][]byte {
			chain := options(packet.ProtoICMPv6, 64, m)
			return append(p.both(hops(fragment(p.me.local, packet.AllNodes, packet.ProtoDestOpts, 7001, 0, true, chain))),
				p.both(hops(fragment(p.me.local, packet.AllNodes, packet.ProtoDestOpts, 7001, len(chain), false, advert(nil))))...)
		}},
		shot{"an atomic fragment", "", func(m []byte) [][]byte {
			return p.both(hops(fragment(p.me.local, packet.AllNodes, packet.ProtoICMPv6, 7002, 0, false, advert(m))))
		}})
}

// options is an IPv6 extension header of at least n bytes that everybody skips, with a mark in an experimental option
// (RFC 4727) where it has room for one.
func options(next uint8, n int, m []byte) []byte {
	const experimental, padN = 0x1e, 1
	size := max(n, (2+2+len(m)+7)/8*8)
	b := make([]byte, size)
	b[0], b[1], b[2], b[3] = next, byte(size/8-1), experimental, byte(len(m))
	copy(b[4:], m)
	switch rest := b[4+len(m):]; {
	case len(rest) >= 2:
		rest[0], rest[1] = padN, byte(len(rest)-2)
	}
	return b
}

func dhcpShots(p sides) []shot {
	const server, client = 67, 68
	broadcast := netip.MustParseAddr("255.255.255.255")
	offer := func(from, to uint16, operation byte) func(m []byte) []byte {
		return func(m []byte) []byte {
			return udpPacket(netip.AddrPortFrom(p.me.ip4, from), netip.AddrPortFrom(broadcast, to),
				dhcpAnswer(p.me.ip4, p.me.ip4, p.victim.mac, operation, m))
		}
	}
	six := func(from, to uint16, kind byte) func(m []byte) []byte {
		return func(m []byte) []byte {
			return udpPacket(netip.AddrPortFrom(p.me.local, from), netip.AddrPortFrom(p.victim.local, to), dhcpv6Answer(kind, p.me.ip6, m))
		}
	}
	return []shot{
		p.shot("an offer", dropNeighbor, offer(server, client, dhcpOffer)),
		p.shot("an acknowledgement", dropNeighbor, offer(server, client, dhcpACK)),
		p.shot("an offer from another port", dropNeighbor, offer(4011, client, dhcpOffer)),
		p.shot("an offer to another port", dropNeighbor, offer(server, 4011, dhcpOffer)),
		p.shot("a DHCPv6 advertisement", dropNeighbor, six(547, 546, dhcpv6Advertise)),
		p.shot("a DHCPv6 reply from another port", dropNeighbor, six(4011, 546, dhcpv6OK)),
		{"a DHCPv6 reply whose header is in the second fragment", "", func(m []byte) [][]byte {
			chain := options(packet.ProtoUDP, 8, m)
			from, to := netip.AddrPortFrom(p.me.local, 547), netip.AddrPortFrom(p.victim.local, 546)
			second := fragment(p.me.local, p.victim.local, packet.ProtoDestOpts, 7003, len(chain), false,
				udpDatagram(from, to, dhcpv6Answer(dhcpv6OK, p.me.ip6, nil)))
			return [][]byte{
				inEthernet(p.victim.mac, p.me.mac, fragment(p.me.local, p.victim.local, packet.ProtoDestOpts, 7003, 0, true, chain)),
				inEthernet(p.victim.mac, p.me.mac, second),
			}
		}},
	}
}

func redirectShots(p sides) []shot {
	web4, web6 := world.Addr("WEB4"), world.Addr("WEB6")
	quote := func(src, dst netip.Addr) []byte {
		return udpPacket(netip.AddrPortFrom(src, 5000), netip.AddrPortFrom(dst, 7), []byte("quoted"))
	}
	return []shot{
		p.shot("from my address", dropNeighbor, func(m []byte) []byte {
			return redirect(p.me.ip4, p.victim.ip4, p.me.ip4, web4, p.me.mac, quote(p.victim.ip4, web4), m)
		}),
		p.shot("from the gateway's address", dropSourceIP, func(m []byte) []byte {
			return redirect(p.me.gw4, p.victim.ip4, p.me.ip4, web4, p.me.mac, quote(p.victim.ip4, web4), m)
		}),
		p.shot("IPv6, from my address", dropNeighbor, func(m []byte) []byte {
			return redirect(p.me.local, p.victim.ip6, p.me.local, web6, p.me.mac, nil, m)
		}),
		p.shot("IPv6, from the gateway's address", dropSourceIP, func(m []byte) []byte {
			return redirect(p.me.gateway.LinkLocal(), p.victim.ip6, p.me.local, web6, p.me.mac, nil, m)
		}),
	}
}

func arpShots(p sides) []shot {
	var shots []shot
	for who, address := range map[string]netip.Addr{"the gateway": p.me.gw4, "a neighbour": p.other.ip4} {
		for what, a := range map[string]packet.ARP{
			"reply":              {Op: packet.ARPReply, SenderMAC: p.me.mac, SenderIP: address, TargetMAC: p.victim.mac, TargetIP: p.victim.ip4},
			"request":            {Op: packet.ARPRequest, SenderMAC: p.me.mac, SenderIP: address, TargetIP: p.victim.ip4},
			"announcement":       {Op: packet.ARPRequest, SenderMAC: p.me.mac, SenderIP: address, TargetIP: address},
			"announcing reply":   {Op: packet.ARPReply, SenderMAC: p.me.mac, SenderIP: address, TargetIP: address},
			"reply, another MAC": {Op: packet.ARPReply, SenderMAC: evilMAC, SenderIP: address, TargetMAC: p.victim.mac, TargetIP: p.victim.ip4},
		} {
			shots = append(shots, shot{who + ", " + what, dropNeighbor, func(m []byte) [][]byte {
				return [][]byte{arp(p.victim.mac, p.me.mac, a, m), arp(packet.Broadcast, p.me.mac, a, m)}
			}})
		}
	}
	return append(shots, shot{"my address at another MAC", dropNeighbor, func(m []byte) [][]byte {
		a := packet.ARP{Op: packet.ARPReply, SenderMAC: evilMAC, SenderIP: p.me.ip4, TargetMAC: p.victim.mac, TargetIP: p.victim.ip4}
		return [][]byte{arp(p.victim.mac, p.me.mac, a, m)}
	}})
}

func ndShots(p sides) []shot {
	var shots []shot
	for who, address := range map[string]netip.Addr{
		"the gateway": p.me.gw6, "the gateway's link-local": p.me.gateway.LinkLocal(), "a neighbour": p.other.ip6, "a neighbour's link-local": p.other.local,
	} {
		shots = append(shots,
			p.shot(who+", unsolicited advertisement", dropNeighbor, func(m []byte) []byte {
				return neighborAdvert(p.me.local, packet.AllNodes, address, p.me.mac, m)
			}),
			p.shot(who+", solicited advertisement", dropNeighbor, func(m []byte) []byte {
				return neighborAdvert(p.me.ip6, p.victim.ip6, address, p.me.mac, m)
			}),
			p.shot(who+", advertisement from its address", dropSourceIP, func(m []byte) []byte {
				return neighborAdvert(address, p.victim.ip6, address, p.me.mac, m)
			}),
			p.shot(who+", solicitation from its address", dropSourceIP, func(m []byte) []byte {
				return neighborSolicit(address, p.victim.ip6, p.victim.ip6, p.me.mac, m)
			}))
	}
	return append(shots, p.shot("my address at another MAC", dropNeighbor, func(m []byte) []byte {
		return neighborAdvert(p.me.ip6, p.victim.ip6, p.me.ip6, evilMAC, m)
	}), p.shot("solicitation with another MAC", dropNeighbor, func(m []byte) []byte {
		return neighborSolicit(p.me.ip6, p.victim.ip6, p.victim.ip6, evilMAC, m)
	}))
}
