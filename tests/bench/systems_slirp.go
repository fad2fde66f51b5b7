package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/footbridge-net/footbridge/tests/world"
)

// slirp is slirp4netns: one process for each container, with a port published on all addresses.
type slirp struct{}

func (slirp) name() string { return slirpName }

func (slirp) find(b *bench) (string, error) {
	path, err := located("slirp4netns", *slirpPath)
	if err != nil {
		return "", err
	}
	r := b.w.Run(world.Host, path, "--version")
	if r.Err != nil || r.Code != 0 {
		return "", fmt.Errorf("%s --version: exit status %d, %v%s", path, r.Code, r.Err, suffix(r.Stderr))
	}
	version, rest, _ := strings.Cut(r.Stdout, "\n")
	for line := range strings.Lines(rest) {
		if library, ok := strings.CutPrefix(line, "libslirp: "); ok {
			version += ", libslirp " + strings.TrimSpace(library)
		}
	}
	return version, nil
}

func (s slirp) box(b *bench, mtu, i int) (*box, error) {
	path, err := located("slirp4netns", *slirpPath)
	if err != nil {
		return nil, err
	}
	pid, err := b.hold()
	if err != nil {
		return nil, err
	}
	made := &box{place: world.Host, before: enter(pid)}
	socket := fmt.Sprintf("%s/slirp%d-%d", world.RuntimeDir, mtu, i)
	_, said, err := b.start(&box{place: world.Host}, path, "--configure", "--enable-ipv6", "--mtu", strconv.Itoa(mtu), "--api-socket", socket, pid, "tap0")
	if err != nil {
		return nil, err
	}
	if _, err := b.until(made, "ip -4 addr show tap0 | grep -q 10.0.2.100 && ip -6 addr show tap0 scope global -tentative | grep -q inet6 && test -S %s", socket); err != nil {
		return nil, fmt.Errorf("%w%s", err, suffix(said.String()))
	}
	port := publishedPort(s, mtu, i)
	for from, to := range map[int]int{port: iperfPort, port + probeOffset: probePort} {
		forward := fmt.Sprintf(`{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"0.0.0.0","host_port":%d,"guest_port":%d}}`, from, to)
		if _, err := b.do(world.Host, `python3 -c 'import socket,sys
s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode()); s.shutdown(socket.SHUT_WR)
r=s.recv(9999).decode(); sys.exit("error" in r and r)' %s '%s'`, socket, forward); err != nil {
			return nil, err
		}
	}
	made.port[ip4] = port // it publishes IPv4 only
	return made, nil
}
