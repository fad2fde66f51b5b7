package world

import (
	"fmt"

	"github.com/footbridge-net/footbridge/internal/testserver"
)

// A longer way leads from the internet to a far machine, in worlds that are made with Options.Routers:
//
//	 internet                              hop                                    far
//	+-----------------+     +----------------------------------+     +-----------------------------+
//	| onward      MTU 1400 --> onward0            last     MTU 1280 --> last0                      |
//	| 198.51.100.129  |     | 198.51.100.130   198.51.100.133  |     | 198.51.100.134              |
//	| 2001:db8:101::1 |     | 2001:db8:101::2  2001:db8:102::1 |     | 2001:db8:102::2             |
//	+-----------------+     +----------------------------------+     | services on 198.51.100.200  |
//	                                                                 | and 2001:db8:200::10        |
//	                                                                 +-----------------------------+
//
// So a host that sends packets of 1500 bytes is told twice that they are too big, by the one router and then by the
// other.
const (
	onwardLinks = `
link add name onward type veth peer name onward0 netns hop
link set onward up mtu 1400
addr add 198.51.100.129/30 dev onward
addr add 2001:db8:101::1/64 dev onward nodad
`
	hopLinks = `
link set lo up
link set onward0 up mtu 1400
addr add 198.51.100.130/30 dev onward0
addr add 2001:db8:101::2/64 dev onward0 nodad
route add default via 198.51.100.129
route add default via 2001:db8:101::1
link add name last type veth peer name last0 netns far
link set last up mtu 1280
addr add 198.51.100.133/30 dev last
addr add 2001:db8:102::1/64 dev last nodad
`
	farLinks = `
link set lo up
link set last0 up mtu 1280
addr add 198.51.100.134/30 dev last0
addr add 2001:db8:102::2/64 dev last0 nodad
addr add 198.51.100.200/32 dev lo
addr add 2001:db8:200::10/128 dev lo nodad
route add default via 198.51.100.133
route add default via 2001:db8:102::1
`
	// Routes come when both ends of their links are up.
	hopRoutes = `
route add 198.51.100.200/32 via 198.51.100.134
route add 2001:db8:200::/64 via 2001:db8:102::2
`
	onwardRoutes = `
route add 198.51.100.132/30 via 198.51.100.130
route add 198.51.100.200/32 via 198.51.100.130
route add 2001:db8:102::/64 via 2001:db8:101::2
route add 2001:db8:200::/64 via 2001:db8:101::2
`
)

// makeRouters makes the longer way.
func makeRouters() error {
	for _, place := range []Place{Hop, Far} {
		if err := makeNetns(place); err != nil {
			return err
		}
		if err := inPlace(place, func() error { return writeSysctls(sysctls) }); err != nil {
			return fmt.Errorf("setting up %s: %w", place, err)
		}
	}
	if err := inPlace(Hop, func() error { return writeSysctls(forwarding) }); err != nil {
		return fmt.Errorf("making %s a router: %w", Hop, err)
	}
	for _, step := range []struct {
		place Place
		links string
	}{{Internet, onwardLinks}, {Hop, hopLinks}, {Far, farLinks}, {Hop, hopRoutes}, {Internet, onwardRoutes}} {
		if err := inPlace(step.place, func() error { return ipBatch(step.links) }); err != nil {
			return fmt.Errorf("setting up the network of %s: %w", step.place, err)
		}
	}
	return nil
}

func farServices() error {
	for _, address := range []string{"FAR4", "FAR6"} {
		ip := Addr(address).String()
		if err := serveHTTP(ip, 80, "hello from afar\n"); err != nil {
			return err
		}
		if err := serveTCP(ip, PortEcho, testserver.Echo); err != nil {
			return err
		}
		if err := serveUDP(ip, PortEcho, testserver.EchoDatagram); err != nil {
			return err
		}
	}
	return nil
}
