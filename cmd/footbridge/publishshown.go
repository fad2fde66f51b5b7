package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// Published ports as "footbridge port" shows them, for unpublish:
//
//	80/tcp -> 0.0.0.0:8001     a line
//	0.0.0.0:8001, [::]:8001    what it shows when it is asked for one port

// shownPort is a published port as it was shown.
type shownPort struct {
	port network.Port // the container's; zero if it was not said
	host netip.AddrPort
}

// splitShown takes out of words what was shown; the rest is written as for -p.
func splitShown(words []string) (shown []shownPort, specs []string, err error) {
	for _, word := range words {
		port, host, isLine := strings.Cut(word, "->")
		if !isLine {
			// With a container's port there would be two colons behind the address.
			if at, err := netip.ParseAddrPort(word); err == nil {
				shown = append(shown, shownPort{host: at})
			} else {
				specs = append(specs, word)
			}
			continue
		}
		var s shownPort
		if s.port, err = network.ParsePort(strings.TrimSpace(port)); err == nil {
			s.host, err = netip.ParseAddrPort(strings.TrimSpace(host))
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%q is no line of `footbridge port`: %w", word, err)
		}
		shown = append(shown, s)
	}
	return shown, specs, nil
}

// addShown adds what was shown of a container to the bindings that are asked for.
func addShown(ctx context.Context, client *api.Client, name string, shown []shownPort, to network.PortMap) error {
	if len(shown) == 0 {
		return nil
	}
	found, err := client.ContainerInspect(ctx, name)
	if err != nil {
		return err
	}
	var ports network.PortMap
	if found.NetworkSettings != nil {
		ports = found.NetworkSettings.Ports
	}
	for _, s := range shown {
		matched := false
		for port, bindings := range ports {
			if s.port != (network.Port{}) && s.port != port {
				continue
			}
			for _, b := range bindings {
				if isAt(b, s.host) {
					to[port] = append(to[port], b)
					matched = true
				}
			}
		}
		if !matched {
			return api.Errorf(errdefs.ErrNotFound, "no public port at %s published for %s; `footbridge port %s` tells what is", s.host, name, name)
		}
	}
	return nil
}

func isAt(b network.PortBinding, host netip.AddrPort) bool {
	return b.HostIP.Unmap() == host.Addr().Unmap() && b.HostPort == strconv.Itoa(int(host.Port()))
}
