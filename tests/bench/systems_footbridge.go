package main

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/footbridge-net/footbridge/tests/world"
)

// footbridge: for each MTU a network, with containers that publish a port.
type footbridge struct{}

func (footbridge) name() string { return footbridgeName }

func (footbridge) find(b *bench) (string, error) { return b.version(world.Binary()) }

// footbridgeNet names the network of an MTU.
func footbridgeNet(mtu int) string { return fmt.Sprintf("n%d", mtu) }

// The subnets are our own, so that addresses are known without asking: container i has host number i+2.
func (f footbridge) box(b *bench, mtu, i int) (*box, error) {
	index := slices.Index(mtus, mtu)
	network, port := footbridgeNet(mtu), publishedPort(f, mtu, i)
	a4 := netip.AddrFrom4([4]byte{10, 240, byte(index), byte(i + 2)})
	a6 := netip.MustParseAddr(fmt.Sprintf("fd00:240:%d::%d", index, i+2))
	pid, err := b.do(world.Host, `set -e
		footbridge network create --ignore --ipv6 --subnet 10.240.%[1]d.0/24 --subnet fd00:240:%[1]d::/64 \
			--opt com.docker.network.driver.mtu=%[2]d %[3]s >/dev/null
		footbridge run -d --name %[3]s-%[4]d --network %[3]s --ip %[5]s --ip6 %[6]s -p %[7]d:%[8]d -p %[9]d:%[10]d sleep infinity >/dev/null
		footbridge inspect -f '{{.State.Pid}}' %[3]s-%[4]d`, index, mtu, network, i, a4, a6, port, iperfPort, port+probeOffset, probePort)
	if err != nil {
		return nil, err
	}
	return &box{place: world.Host, before: enter(pid), address: [2]netip.Addr{a4, a6}, port: [2]int{port, port}}, nil
}
