package main

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// displayPorts returns the PORTS column of ps: published ports as
// "ip:host->container/proto" and exposed ones as "container/proto", with
// neighbours under their own numbers joined to a range. The order is Docker's: by
// the container's port, those under another number on the host last.
func displayPorts(ports []container.PortSummary) string {
	ports = slices.Clone(ports)
	slices.SortFunc(ports, func(a, b container.PortSummary) int {
		return cmp.Or(
			cmp.Compare(a.PrivatePort, b.PrivatePort),
			compareHostIP(a.IP, b.IP),
			cmp.Compare(a.PublicPort, b.PublicPort),
			cmp.Compare(a.Type, b.Type),
		)
	})
	ports = slices.Compact(ports)

	// A run is a stretch of mappings to one host address whose ports on both
	// sides follow each other.
	type run struct{ first, last container.PortSummary }
	var runs []run
	for _, p := range ports {
		i := slices.IndexFunc(runs, func(r run) bool { return follows(r.last, p) })
		if i >= 0 {
			runs[i].last = p
			continue
		}
		runs = append(runs, run{p, p})
	}
	slices.SortStableFunc(runs, func(a, b run) int { return moved(a.first) - moved(b.first) })

	texts := make([]string, 0, len(runs))
	for _, r := range runs {
		text := portRange(r.first.PrivatePort, r.last.PrivatePort) + "/" + r.first.Type
		if r.first.PublicPort != 0 {
			public := portRange(r.first.PublicPort, r.last.PublicPort)
			if r.first.IP.IsValid() {
				public = net.JoinHostPort(r.first.IP.String(), public)
			}
			text = public + "->" + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

// moved is 1 for a port that has another number on the host.
func moved(p container.PortSummary) int {
	if p.PublicPort != 0 && p.PublicPort != p.PrivatePort {
		return 1
	}
	return 0
}

// follows reports whether b continues the range that ends in a.
func follows(a, b container.PortSummary) bool {
	if a.Type != b.Type || a.IP != b.IP || uint32(a.PrivatePort)+1 != uint32(b.PrivatePort) {
		return false
	}
	if a.PublicPort == 0 || b.PublicPort == 0 {
		return a.PublicPort == b.PublicPort
	}
	return moved(a) == 0 && moved(b) == 0
}

// compareHostIP puts ports that are only exposed first, then IPv4, then IPv6.
func compareHostIP(a, b netip.Addr) int { return a.Compare(b) }

func portRange(first, last uint16) string {
	if first == last {
		return strconv.Itoa(int(first))
	}
	return fmt.Sprintf("%d-%d", first, last)
}
