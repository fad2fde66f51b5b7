package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/footbridge-net/footbridge/tests/world"
)

// rootlesskit is RootlessKit with one of its networks and one of its port drivers.
type rootlesskit struct {
	title  string
	net    string
	driver string
}

func (r rootlesskit) name() string { return r.title }

func (r rootlesskit) find(b *bench) (string, error) {
	path, err := located("rootlesskit", *rootlesskitPath)
	if err != nil {
		return "", err
	}
	version, err := b.version(path)
	if err != nil {
		return "", err
	}
	help := b.w.Run(world.Host, path, "--help")
	for _, part := range []string{r.net, r.driver} {
		if !strings.Contains(help.Stdout, part) {
			return "", fmt.Errorf("%w: %s has no %s", errAbsent, version, part)
		}
	}
	return version, nil
}

// mapOnlySelf stand for newuidmap and newgidmap, which RootlessKit insists on: in the world, where only one id exists,
// there is no other to be mapped. The first range is the user's own.
const mapOnlySelf = `set -e
	mkdir -p %[1]s && cd %[1]s
	printf '#!/bin/sh\necho "$2 $3 1" >/proc/$1/uid_map\n' >newuidmap
	printf '#!/bin/sh\necho deny >/proc/$1/setgroups\necho "$2 $3 1" >/proc/$1/gid_map\n' >newgidmap
	chmod +x newuidmap newgidmap`

func (r rootlesskit) box(b *bench, mtu, i int) (*box, error) {
	path, err := located("rootlesskit", *rootlesskitPath)
	if err != nil {
		return nil, err
	}
	tools := world.RuntimeDir + "/rootlesskit-tools"
	if _, err := b.do(world.Host, mapOnlySelf, tools); err != nil {
		return nil, err
	}
	if _, err := b.do(world.Admin, "for f in /etc/subuid /etc/subgid; do rm -f $f; echo user:100000:65536 >$f; done"); err != nil {
		return nil, err
	}
	port := publishedPort(r, mtu, i)
	state := fmt.Sprintf("%s/%s-%d-%d", world.RuntimeDir, r.net, mtu, i)
	args := []string{"env", "PATH=" + tools + ":/usr/sbin:/usr/bin:/sbin:/bin", path, "--state-dir", state,
		"--net", r.net, "--mtu", strconv.Itoa(mtu), "--port-driver", r.driver, "--copy-up", "/etc",
		"--publish", fmt.Sprintf("0.0.0.0:%d:%d/tcp", port, iperfPort),
		"--publish", fmt.Sprintf("0.0.0.0:%d:%d/tcp", port+probeOffset, probePort)}
	if r.net == "slirp4netns" && *slirpPath != "" {
		args = append(args, "--slirp4netns-binary", *slirpPath)
	}
	_, said, err := b.start(&box{place: world.Host}, append(args, "sleep", "infinity")...)
	if err != nil {
		return nil, err
	}
	pid, err := b.until(&box{place: world.Host}, "cat %s/child_pid && ss -Hltn sport = :%d | grep -q .", state, port)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, suffix(said.String()))
	}
	made := &box{place: world.Host, before: enter(pid), port: [2]int{port, 0}}
	if r.driver == "builtin" {
		made.port[ip6] = port // its listeners on 0.0.0.0 are those of IPv6 as well
	}
	if _, err := b.until(made, "ip route get %s", world.Addr("HOST4")); err != nil {
		return nil, fmt.Errorf("%w%s", err, suffix(said.String()))
	}
	made.cannot[ip6] = "RootlessKit offers no IPv6 with " + r.net
	return made, nil
}
