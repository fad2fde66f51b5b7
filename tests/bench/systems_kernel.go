package main

import (
	"fmt"
	"net/netip"

	"github.com/footbridge-net/footbridge/tests/world"
)

// kernelBridge is what rootless runtimes build for traffic between containers: network namespaces whose veth devices are
// ports of a bridge in one more, all owned by a user namespace, here the world's.
type kernelBridge struct{}

func (kernelBridge) name() string { return kernelName }

func (kernelBridge) find(b *bench) (string, error) {
	return b.do(world.Host, "uname -sr")
}

func (kernelBridge) box(b *bench, mtu, i int) (*box, error) {
	name := fmt.Sprintf("k%d-%d", mtu, i)
	a4, a6 := netip.AddrFrom4([4]byte{10, 250, 0, byte(i + 2)}), netip.MustParseAddr(fmt.Sprintf("fd00:250::%d", i+2))
	_, err := b.do(world.Admin, `set -e
		if ! [ -e /run/netns/kbridge%[1]d ]; then
			ip netns add kbridge%[1]d
			ip -n kbridge%[1]d link add br0 mtu %[1]d type bridge
			ip -n kbridge%[1]d link set br0 up
		fi
		ip netns add %[2]s
		ip -n kbridge%[1]d link add v%[3]d mtu %[1]d type veth peer name eth0 mtu %[1]d netns %[2]s
		ip -n kbridge%[1]d link set v%[3]d master br0 up
		ip -n %[2]s link set lo up
		ip -n %[2]s link set eth0 up
		ip -n %[2]s addr add %[4]s/24 dev eth0
		ip -n %[2]s addr add %[5]s/64 dev eth0 nodad`, mtu, name, i, a4, a6)
	if err != nil {
		return nil, err
	}
	none := "it leads nowhere but to the other containers"
	return &box{place: world.Place(name), address: [2]netip.Addr{a4, a6}, cannot: [2]string{none, none}}, nil
}
