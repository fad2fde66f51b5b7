package main

import (
	"net/netip"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// flowsAcross begins flows to another network as fast as it can: half of the time to a container, half for addresses that
// nobody has.
func flowsAcross(s *stage, m *machine, d time.Duration) (int, error) {
	olga := s.machines["olga"]
	nobody := olga.ip4.As4()
	nobody[3] = 200
	part := func(proto uint8, to netip.Addr) func(time.Duration) (int, error) {
		return func(d time.Duration) (int, error) {
			f, head := m.open(proto, netip.AddrPortFrom(to, portNobody), nil)
			return m.flood(FloodArgs{Frames: [][]byte{f}, Head: head, Rate: 100_000, Time: d, Vary: []Field{{Offset: atSource4}, {Offset: atPort4, Every: 65536}}})
		}
	}
	both := func(to netip.Addr) func(time.Duration) (int, error) {
		return func(d time.Duration) (int, error) {
			return halves(d, part(packet.ProtoTCP, to), part(packet.ProtoUDP, to))
		}
	}
	return halves(d, both(olga.ip4), both(netip.AddrFrom4(nobody)))
}

// configurationQuestions asks to be configured as fast as it can.
func configurationQuestions(_ *stage, m *machine, d time.Duration) (int, error) {
	none, all := netip.AddrPortFrom(netip.IPv4Unspecified(), dhcpClientPort), netip.AddrPortFrom(netip.MustParseAddr("255.255.255.255"), dhcpServerPort)
	solicit := inEthernet(packet.MulticastMAC(packet.AllRouters), m.mac, icmpPacket(m.local, packet.AllRouters, packet.NDRouterSolicit, 0, 0, nil))
	return m.flood(FloodArgs{Time: d, Rate: 100_000, Frames: [][]byte{
		inEthernet(packet.Broadcast, m.mac, udpPacket(none, all, dhcpAsk(dhcpDiscover, m.mac, none.Addr(), none.Addr()))),
		inEthernet(packet.MulticastMAC(allDHCP), m.mac, udpPacket(netip.AddrPortFrom(m.local, dhcp6ClientPort), netip.AddrPortFrom(allDHCP, dhcp6ServerPort),
			dhcp6Ask(dhcp6Solicit, m.mac, m.gateway, m.ip6))),
		solicit,
	}})
}
