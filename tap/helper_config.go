package tap

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A configurer makes an interface what its options say. It changes only what
// differs, so that an interface in use goes on undisturbed.
//
// The order keeps the link silent: sysctls first, so that no router is solicited
// and no address is probed; addresses before the link is up; then up, and
// what needs a link that is up.
type configurer struct {
	h        *netlink.Handle
	link     netlink.Link
	o        LinkOptions
	mac      net.HardwareAddr
	warnings []string
}

// step is a part of the configuration.
type step struct {
	what string
	do   func() error
}

func (c *configurer) configure() error {
	steps := []step{
		{"sysctls", c.sysctls},
		{"link", c.attributes},
		{"addresses", c.addresses},
		{"neighbours' timers", c.neighborTimers},
		{"up", c.up},
		{"neighbours", c.neighbors},
		{"routes", c.routes},
		{"routes", c.onLinkRoutes},
	}
	if !c.o.Guest {
		steps = append(steps, step{"loopback", func() error { return loopbackUp(c.h) }})
	}
	if c.o.Bare {
		steps = []step{{"link", c.attributes}}
	}
	switch c.o.Existing {
	case Keep:
		steps = nil
	case Reroute:
		steps = []step{{"routes", c.routes}}
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s of %s: %w", step.what, c.o.Name, err)
		}
	}
	return nil
}

// quiet are sysctls that keep the network's addresses, routes and neighbours the
// engine's business: no router advertisement, redirect or probe has a say. The
// switch refuses such frames anyway; this is the second lock.
var quiet = []struct{ name, value string }{
	{"net/ipv6/conf/IFNAME/accept_ra", "0"},
	{"net/ipv6/conf/IFNAME/autoconf", "0"},
	{"net/ipv6/conf/IFNAME/accept_redirects", "0"},
	{"net/ipv6/conf/IFNAME/dad_transmits", "0"}, // addresses are given once; asking costs a second
	{"net/ipv6/conf/IFNAME/router_solicitations", "0"},
	// A host accepts redirects if either of the two says so.
	{"net/ipv4/conf/all/accept_redirects", "0"},
	{"net/ipv4/conf/IFNAME/accept_redirects", "0"},
}

// addrGenModeNone is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h.
const addrGenModeNone = 1

func (c *configurer) sysctls() error {
	disable := "0"
	if c.o.DisableIPv6 {
		disable = "1"
	}
	for _, s := range quiet {
		if c.o.Guest && !strings.Contains(s.name, "IFNAME") {
			continue // of all interfaces, theirs too
		}
		err := c.sysctl(s.name, s.value)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // an absent family needs none
			c.warnings = append(c.warnings, err.Error())
		}
		if errors.Is(err, unix.EROFS) {
			break // so are the others
		}
	}
	// After accept_ra, so that enabling it again solicits no router.
	err := c.sysctl("net/ipv6/conf/IFNAME/disable_ipv6", disable)
	switch {
	case err == nil, errors.Is(err, os.ErrNotExist): // a kernel without IPv6
	case c.o.DisableIPv6:
		// /proc/sys is read-only in many a sandbox. No link-local address is the
		// next best, and netlink can do that.
		if err := c.h.LinkSetIP6AddrGenMode(c.link, addrGenModeNone); err != nil {
			return fmt.Errorf("disable IPv6: %w", err)
		}
		c.warnings = append(c.warnings, fmt.Sprintf("%v; IPv6 has no addresses instead", err))
	default:
		c.warnings = append(c.warnings, err.Error())
	}
	for _, name := range slices.Sorted(maps.Keys(c.o.Sysctls)) {
		if err := c.sysctl(name, c.o.Sysctls[name]); err != nil {
			return err
		}
	}
	return nil
}

// sysctl sets a value, unless it is set. The files of /proc/sys/net are those of
// the network namespace of whoever opens them, whatever procfs is mounted.
func (c *configurer) sysctl(name, value string) error {
	path, err := sysctlPath(name, c.o.Name)
	if err != nil {
		return err
	}
	if err = setSysctl(settingsPath(path), value); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("sysctl %s: %w", name, err)
	}
	if err != nil {
		return fmt.Errorf("set sysctl %s to %s: %w", name, value, err)
	}
	return nil
}

func setSysctl(path, value string) error {
	is := func(f *os.File) bool {
		var now [64]byte
		n, _ := f.ReadAt(now[:], 0)
		return string(bytes.TrimSpace(now[:n])) == value
	}
	// Opened once where that is possible: with many namespaces the kernel looks long for a name that all
	// of them have.
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err != nil { // one of the two is not allowed
		if f, err = os.Open(path); err == nil {
			defer f.Close()
			if is(f) {
				return nil
			}
		}
		f, err = os.OpenFile(path, os.O_WRONLY, 0)
	} else if is(f) {
		return f.Close()
	}
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(value), 0)
	return errors.Join(err, f.Close())
}

func (c *configurer) attributes() error {
	now := c.link.Attrs()
	c.mac = now.HardwareAddr
	if mac := net.HardwareAddr(c.o.MAC[:]); c.o.MAC != [6]byte{} && !bytes.Equal(mac, now.HardwareAddr) {
		if err := c.h.LinkSetHardwareAddr(c.link, mac); err != nil {
			return fmt.Errorf("MAC %s: %w", mac, err)
		}
		c.mac = mac
	}
	if c.o.MTU != now.MTU {
		if err := c.h.LinkSetMTU(c.link, c.o.MTU); err != nil {
			return fmt.Errorf("MTU %d: %w", c.o.MTU, err)
		}
	}
	if n := c.o.TxQueueLen; n != 0 && n != now.TxQLen {
		if err := c.h.LinkSetTxQLen(c.link, n); err != nil {
			return fmt.Errorf("queue length %d: %w", n, err)
		}
	}
	return nil
}

func (c *configurer) addresses() error {
	present, err := retryDump(func() ([]netlink.Addr, error) { return c.h.AddrList(c.link, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	for i := range present {
		p := prefixOf(present[i].IPNet)
		automatic := p.Addr().Is6() && p.Addr().IsLinkLocalUnicast()
		if slices.Contains(c.o.Addresses, p) || automatic {
			continue
		}
		if err := c.h.AddrDel(c.link, &present[i]); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove %s: %w", p, err)
		}
	}
	// With its primary address, the kernel may have removed others of a subnet:
	// all are added again, and those that are there say so.
	for _, p := range c.o.Addresses {
		if err := c.h.AddrAdd(c.link, addressOf(p)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add %s: %w", p, err)
		}
	}
	return nil
}

func (c *configurer) up() error {
	if c.link.Attrs().RawFlags&unix.IFF_UP != 0 {
		return nil
	}
	return c.h.LinkSetUp(c.link)
}

func (c *configurer) neighbors() error {
	for _, n := range c.o.Neighbors {
		if n.Addr.Is6() && c.o.DisableIPv6 {
			continue
		}
		err := c.h.NeighSet(&netlink.Neigh{
			LinkIndex: c.link.Attrs().Index, Family: family(n.Addr), State: netlink.NUD_PERMANENT,
			IP: n.Addr.AsSlice(), HardwareAddr: n.MAC[:],
		})
		if err != nil {
			return fmt.Errorf("%s at %s: %w", n.Addr, net.HardwareAddr(n.MAC[:]), err)
		}
	}
	return nil
}

// routes makes the default routes over this interface those that are asked for.
// Routes over other interfaces stay, except a default route of the same family and
// metric that has to make way.
func (c *configurer) routes() error {
	for _, f := range []struct {
		family  int
		gateway netip.Addr
	}{{netlink.FAMILY_V4, c.o.Gateway4}, {netlink.FAMILY_V6, c.o.Gateway6}} {
		if f.family == netlink.FAMILY_V6 && c.o.DisableIPv6 {
			continue
		}
		index := c.link.Attrs().Index
		present, err := retryDump(func() ([]netlink.Route, error) {
			return c.h.RouteListFiltered(f.family, &netlink.Route{LinkIndex: index}, netlink.RT_FILTER_OIF)
		})
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		found := false
		for i := range present {
			if !isDefault(&present[i]) {
				continue
			}
			gateway, _ := netip.AddrFromSlice(present[i].Gw)
			if f.gateway.IsValid() && gateway.Unmap() == f.gateway {
				found = true
				continue
			}
			if err := c.h.RouteDel(&present[i]); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("remove default route by %s: %w", gateway.Unmap(), err)
			}
		}
		if found || !f.gateway.IsValid() {
			continue
		}
		route := &netlink.Route{LinkIndex: index, Gw: f.gateway.AsSlice()}
		if !c.onLink(f.gateway) {
			route.SetFlag(netlink.FLAG_ONLINK)
		}
		err = c.h.RouteReplace(route)
		if c.lostIPv6(err, f.gateway) {
			c.giveBackIPv6()
			err = c.h.RouteReplace(route)
		}
		if err != nil {
			return fmt.Errorf("default route by %s: %w", f.gateway, err)
		}
	}
	return nil
}

// onLinkRoutes adds the routes to addresses outside of the subnets, behind those that other
// interfaces have to them: when one goes, the next one is there.
func (c *configurer) onLinkRoutes() error {
	for _, a := range c.o.OnLink {
		route := &netlink.Route{LinkIndex: c.link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(a, a.BitLen())), Scope: netlink.SCOPE_LINK}
		if err := c.h.RouteAppend(route); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("route to %s: %w", a, err)
		}
	}
	return nil
}

// onLink reports whether a subnet of the interface has a in it.
func (c *configurer) onLink(a netip.Addr) bool {
	return slices.ContainsFunc(c.o.Addresses, func(p netip.Prefix) bool { return p.Contains(a) })
}

func isDefault(r *netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

// retryDump repeats a listing during which the kernel's tables changed.
func retryDump[T any](list func() ([]T, error)) ([]T, error) {
	const attempts = 8
	var all []T
	var err error
	for range attempts {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return all, err
}

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// addressOf is an address as the engine gives it.
func addressOf(p netip.Prefix) *netlink.Addr {
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	if p.Addr().IsLinkLocalUnicast() {
		addr.Scope = unix.RT_SCOPE_LINK
	}
	return addr
}

func prefixOf(n *net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones)
}
