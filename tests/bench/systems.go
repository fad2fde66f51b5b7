package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/footbridge-net/footbridge/tests/world"
)

// TCP ports. Published ones are these plus 0 for the small MTU and 1 for the large one.
const (
	iperfPort   = 5201
	ourPort     = 5310
	slirpPort   = 5320
	settleLimit = 10 * time.Second
)

// bench is the stage: containers, namespaces and slirp4netns processes that do the same for each MTU.
type bench struct {
	w     *world.World
	slirp map[int]string // by MTU: process id of the namespaces that slirp4netns serves
}

func index(mtu int) int {
	if mtu == mtus[0] {
		return 0
	}
	return 1
}

func (b *bench) setUp() error {
	if err := b.chooseCubic(world.Admin); err != nil {
		return err
	}
	if err := b.chooseCubic(world.Client); err != nil {
		return err
	}
	// The host's own server holds the world's capabilities: iperf3 sets CUBIC on both sides.
	if err := b.server(world.Admin); err != nil {
		return err
	}
	for _, mtu := range mtus {
		if err := b.setUpFootbridge(mtu); err != nil {
			return fmt.Errorf("footbridge: %w", err)
		}
		if err := b.setUpKernel(mtu); err != nil {
			return fmt.Errorf("the kernel's bridge: %w", err)
		}
		if err := b.setUpSlirp(mtu); err != nil {
			return fmt.Errorf("slirp4netns: %w", err)
		}
	}
	return nil
}

// do runs a shell command that must succeed and returns its output.
func (b *bench) do(place world.Place, format string, args ...any) (string, error) {
	command := fmt.Sprintf(format, args...)
	r := b.w.Run(place, "sh", "-c", command)
	if r.Err != nil || r.Code != 0 {
		return "", fmt.Errorf("%s: exit status %d, %v: %s%s", command, r.Code, r.Err, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout), nil
}

// until repeats a command until it succeeds.
func (b *bench) until(place world.Place, format string, args ...any) error {
	var err error
	if !world.Poll(settleLimit, func() bool {
		_, err = b.do(place, format, args...)
		return err == nil
	}) {
		return fmt.Errorf("waited %v: %w", settleLimit, err)
	}
	return nil
}

// chooseCubic writes the congestion control into every IPv4 route of a machine. Unlike the sysctl and the socket option,
// that is allowed to whoever owns the network namespace, whatever the machine's administrator chose.
func (b *bench) chooseCubic(place world.Place) error {
	_, err := b.do(place, `for t in local main; do
		ip -4 route show table $t | grep -v ^broadcast | while read -r route; do
			ip -4 route change $route table $t congctl cubic; done; done`)
	return err
}

// server starts an iperf3 server that lives as long as the world.
func (b *bench) server(place world.Place) error {
	c := b.w.Command(place, "iperf3", "-s", "-p", strconv.Itoa(iperfPort))
	if err := c.Start(); err != nil {
		return err
	}
	return b.until(place, "ss -Hltn sport = :%d | grep -q .", iperfPort)
}

// NET_ADMIN is what iperf3 needs to choose its congestion control.
//
// Footbridge: on each MTU's network a container that serves, also on a published port, and one that asks.

func (b *bench) setUpFootbridge(mtu int) error {
	if _, err := b.do(world.Host, "footbridge network create --opt com.docker.network.driver.mtu=%d n%d", mtu, mtu); err != nil {
		return err
	}
	if _, err := b.do(world.Host, "footbridge run -d --cap-add NET_ADMIN --name s%d --network n%d -p %d:%d iperf3 -s -p %d",
		mtu, mtu, ourPort+index(mtu), iperfPort, iperfPort); err != nil {
		return err
	}
	if _, err := b.do(world.Host, "footbridge run -d --cap-add NET_ADMIN --name c%d --network n%d sleep infinity", mtu, mtu); err != nil {
		return err
	}
	return b.until(world.Host, "footbridge exec s%d ss -Hltn sport = :%d | grep -q .", mtu, iperfPort)
}

func (b *bench) inContainer(mtu int) []string {
	return []string{"footbridge", "exec", fmt.Sprintf("c%d", mtu)}
}

func (b *bench) containers(mtu int) (measurement, error) {
	address, err := b.do(world.Host, "footbridge inspect -f '{{.NetworkSettings.Networks.n%d.IPAddress}}' s%d", mtu, mtu)
	if err != nil {
		return measurement{}, err
	}
	return b.iperf(world.Host, b.inContainer(mtu), address, iperfPort)
}

func (b *bench) toHost(mtu int) (measurement, error) {
	return b.iperf(world.Host, b.inContainer(mtu), world.Addr("HOST4").String(), iperfPort)
}

func (b *bench) fromHost(mtu int) (measurement, error) {
	return b.iperf(world.Admin, nil, "127.0.0.1", ourPort+index(mtu))
}

func (b *bench) fromClient(mtu int) (measurement, error) {
	return b.iperf(world.Client, nil, world.Addr("HOST4").String(), ourPort+index(mtu))
}

// The kernel: two network namespaces on a bridge in a third, all owned by the world's user namespace.

func (b *bench) setUpKernel(mtu int) error {
	if _, err := b.do(world.Admin, `set -e
		for n in kbridge kserver kclient; do ip netns add ${n}%[1]d; done
		ip -n kbridge%[1]d link add br0 mtu %[1]d type bridge
		ip -n kbridge%[1]d link set br0 up
		for n in server client; do
			ip -n kbridge%[1]d link add $n mtu %[1]d type veth peer name eth0 mtu %[1]d netns k${n}%[1]d
			ip -n kbridge%[1]d link set $n master br0 up
			ip -n k${n}%[1]d link set lo up
			ip -n k${n}%[1]d link set eth0 up
		done
		ip -n kserver%[1]d addr add 10.250.0.2/24 dev eth0
		ip -n kclient%[1]d addr add 10.250.0.3/24 dev eth0`, mtu); err != nil {
		return err
	}
	return b.server(world.Place(fmt.Sprintf("kserver%d", mtu)))
}

func (b *bench) kernel(mtu int) (measurement, error) {
	return b.iperf(world.Place(fmt.Sprintf("kclient%d", mtu)), nil, "10.250.0.2", iperfPort)
}

// slirp4netns: one process serving namespaces of the user's, with a published port on all addresses.

func (b *bench) setUpSlirp(mtu int) error {
	holder := b.w.Command(world.Host, "unshare", "--user", "--map-root-user", "--net", "sleep", "infinity")
	if err := holder.Start(); err != nil {
		return err
	}
	pid := strconv.Itoa(holder.PID)
	b.slirp[mtu] = pid
	if err := b.until(world.Host, "grep -q sleep /proc/%s/comm && [ $(readlink /proc/%s/ns/net) != $(readlink /proc/self/ns/net) ]", pid, pid); err != nil {
		return err
	}
	socket := fmt.Sprintf("%s/slirp%d", world.RuntimeDir, mtu)
	slirp := b.w.Command(world.Host, "slirp4netns", "--configure", "--mtu", strconv.Itoa(mtu), "--api-socket", socket, pid, "tap0")
	if err := slirp.Start(); err != nil {
		return err
	}
	if err := b.until(world.Host, "nsenter -t %s -U -n --preserve-credentials ip -4 addr show tap0 | grep -q 10.0.2.100 && test -S %s", pid, socket); err != nil {
		return err
	}
	server := b.w.Command(world.Host, append(b.inSlirp(mtu), "iperf3", "-s", "-p", strconv.Itoa(iperfPort))...)
	if err := server.Start(); err != nil {
		return err
	}
	forward := fmt.Sprintf(`{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"0.0.0.0","host_port":%d,"guest_port":%d}}`,
		slirpPort+index(mtu), iperfPort)
	_, err := b.do(world.Host, `python3 -c 'import socket,sys
s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode()); s.shutdown(socket.SHUT_WR)
r=s.recv(9999).decode(); sys.exit("error" in r and r)' %s '%s'`, socket, forward)
	return err
}

func (b *bench) inSlirp(mtu int) []string {
	return []string{"nsenter", "-t", b.slirp[mtu], "-U", "-n", "--preserve-credentials"}
}

func (b *bench) slirpToHost(mtu int) (measurement, error) {
	return b.iperf(world.Host, b.inSlirp(mtu), world.Addr("HOST4").String(), iperfPort)
}

func (b *bench) slirpFromHost(mtu int) (measurement, error) {
	return b.iperf(world.Admin, nil, "127.0.0.1", slirpPort+index(mtu))
}

func (b *bench) slirpFromClient(mtu int) (measurement, error) {
	return b.iperf(world.Client, nil, world.Addr("HOST4").String(), slirpPort+index(mtu))
}
