package main

import (
	"fmt"
	"strconv"

	"github.com/footbridge-net/footbridge/tests/world"
)

// pasta: one process for each container, with a port published on all addresses; clients on the host's loopback are
// spliced to the container's loopback.
type pasta struct {
	queue int // frames that its device holds; 0 leaves what it has
}

func (p pasta) name() string {
	if p.queue > 0 {
		return longPastaName
	}
	return pastaName
}

func (pasta) find(b *bench) (string, error) {
	path, err := located("pasta", *pastaPath)
	if err != nil {
		return "", err
	}
	version, err := b.version(path)
	if err == nil && version == "pasta unknown version" {
		// Debian's says so; the package's knows.
		if installed, err := b.do(world.Host, "dpkg-query -W -f '${Version}' passt"); err == nil && *pastaPath == "" {
			version = "pasta " + installed
		}
	}
	return version, err
}

func (p pasta) box(b *bench, mtu, i int) (*box, error) {
	path, err := located("pasta", *pastaPath)
	if err != nil {
		return nil, err
	}
	pid, err := b.hold()
	if err != nil {
		return nil, err
	}
	made := &box{place: world.Host, before: enter(pid)}
	port := publishedPort(p, mtu, i)
	_, said, err := b.start(&box{place: world.Host}, path, "--foreground", "--config-net", "--mtu", strconv.Itoa(mtu), "--ns-ifname", "eth0",
		"--tcp-ports", fmt.Sprintf("%d:%d,%d:%d", port, iperfPort, port+probeOffset, probePort), "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none", pid)
	if err != nil {
		return nil, err
	}
	if _, err := b.until(made, "ip route get %s && ip -6 addr show eth0 scope global -tentative | grep -q inet6 && ip link set lo up", world.Addr("HOST4")); err != nil {
		return nil, fmt.Errorf("%w%s", err, suffix(said.String()))
	}
	if _, err := b.until(&box{place: world.Host}, "ss -Hltn sport = :%d | grep -q .", port); err != nil {
		return nil, fmt.Errorf("%w%s", err, suffix(said.String()))
	}
	made.port = [2]int{port, port}
	if p.queue > 0 {
		_, err = b.doIn(made, "ip link set eth0 txqueuelen %d", p.queue)
	}
	return made, err
}
