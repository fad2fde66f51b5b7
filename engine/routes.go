package engine

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// HostRoute is a range of addresses that the host can reach by other ways: a
// network over it would hide them from its containers.
type HostRoute struct {
	Prefix netip.Prefix
	Device string // where it leads; may be empty
}

// Routes shorter than this are no particular network but somebody's idea of a
// default route (a VPN's 0.0.0.0/1 and 128.0.0.0/1, for example): were they
// counted, no subnet would be left.
const (
	shortestRoute4 = 8
	shortestRoute6 = 16
)

// hostRoutes reads the routes and addresses of the network namespace that the
// process is in, by netlink.
func hostRoutes() ([]HostRoute, error) {
	names := map[int]string{}
	if links, err := netlink.LinkList(); err == nil || errors.Is(err, netlink.ErrDumpInterrupted) {
		for _, l := range links {
			names[l.Attrs().Index] = l.Attrs().Name
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL,
		&netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	// A dump that a change interrupted is still nearly right.
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("read the host's routes: %w", err)
	}
	var out []HostRoute
	for _, r := range routes {
		if r.Dst == nil || r.Type != unix.RTN_UNICAST {
			continue
		}
		a, ok := netip.AddrFromSlice(r.Dst.IP)
		if !ok {
			continue
		}
		bits, _ := r.Dst.Mask.Size()
		if p := netip.PrefixFrom(a.Unmap(), bits); countsAsTaken(p) {
			out = append(out, HostRoute{p.Masked(), names[r.LinkIndex]})
		}
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("read the host's addresses: %w", err)
	}
	for _, addr := range addrs {
		a, ok := netip.AddrFromSlice(addr.IP)
		if !ok {
			continue
		}
		a = a.Unmap()
		if p := netip.PrefixFrom(a, a.BitLen()); countsAsTaken(p) {
			out = append(out, HostRoute{p, names[addr.LinkIndex]})
		}
	}
	return out, nil
}

func countsAsTaken(p netip.Prefix) bool {
	a := p.Addr()
	if a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() {
		return false
	}
	if a.Is4() {
		return p.Bits() >= shortestRoute4
	}
	return p.Bits() >= shortestRoute6
}
