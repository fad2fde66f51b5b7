package tap

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lostIPv6 reports whether err is of a default route that cannot be, because the interface
// has lost its IPv6 addresses: the kernel removes them when an interface goes down, and
// keeps those of IPv4 (Documentation/networking/ip-sysctl, keep_addr_on_down). Where those of IPv4
// are gone, too, or the interface belongs to a bridge, somebody has moved them.
func (c *configurer) lostIPv6(err error, gateway netip.Addr) bool {
	if !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.ENETUNREACH) || !gateway.Is6() ||
		c.o.Existing != Reroute || c.link.Attrs().MasterIndex != 0 {
		return false
	}
	present, err := retryDump(func() ([]netlink.Addr, error) { return c.h.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return false
	}
	for _, p := range c.o.Addresses {
		i := slices.IndexFunc(present, func(a netlink.Addr) bool { return prefixOf(a.IPNet).Addr() == p.Addr() })
		if p.Addr().Is6() && i >= 0 || p.Addr().Is4() && (i < 0 || present[i].LinkIndex != c.link.Attrs().Index) {
			return false
		}
	}
	return true
}

// giveBackIPv6 adds the IPv6 addresses again. What fails, the route shows.
func (c *configurer) giveBackIPv6() {
	for _, p := range c.o.Addresses {
		if p.Addr().Is6() {
			_ = c.h.AddrAdd(c.link, addressOf(p))
		}
	}
}
