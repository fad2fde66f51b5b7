package engine

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/footbridge-net/footbridge/engine/plane"
)

// HostInterface is an interface of the host with its addresses.
type HostInterface struct {
	Name  string
	Addrs []netip.Addr
}

// hostInterfaces lists those of the network namespace that the process is in.
func hostInterfaces() ([]HostInterface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("read the host's interfaces: %w", err)
	}
	var out []HostInterface
	for _, i := range all {
		h := HostInterface{Name: i.Name}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				h.Addrs = append(h.Addrs, p.Addr().Unmap())
			}
		}
		out = append(out, h)
	}
	return out, nil
}

// checkOutbound refuses a way out of the host that the host does not have. Later it may
// lose it: then flows are refused, and counted (package forwarder).
func (e *Engine) checkOutbound(n *NetworkDef) error {
	way := n.options().rules.Outbound
	if way == (plane.Outbound{}) {
		return nil
	}
	interfaces, err := e.opts.HostInterfaces()
	if err != nil {
		return err
	}
	for _, a := range []struct {
		key    string
		addr   netip.Addr
		enable bool
	}{{optOutbound4, way.Addr4, n.EnableIPv4}, {optOutbound6, way.Addr6, n.EnableIPv6}} {
		if !a.addr.IsValid() {
			continue
		}
		if err := checkOutboundAddr(a.addr, a.enable, interfaces); err != nil {
			return invalid("invalid network option %s=%v: %w", a.key, a.addr, err)
		}
	}
	if way.Device == "" {
		return nil
	}
	var names []string
	for _, i := range interfaces {
		if i.Name != "lo" {
			names = append(names, i.Name)
		}
	}
	if !slices.Contains(names, way.Device) {
		return invalid("invalid network option %s=%s: this host has no such interface that leads out: it has %s",
			optOutboundDevice, way.Device, shown(listed(names)))
	}
	return nil
}

func checkOutboundAddr(a netip.Addr, enabled bool, interfaces []HostInterface) error {
	usable := func(a netip.Addr) bool { return a.IsGlobalUnicast() } // loopback and link-local lead nowhere
	var have []string
	for _, i := range interfaces {
		for _, own := range i.Addrs {
			if usable(own) && own.Is4() == a.Is4() {
				have = append(have, own.String())
			}
		}
	}
	switch {
	case !enabled && a.Is4():
		return fmt.Errorf("the network has no IPv4: leave it out, or leave out --ipv4=false")
	case !enabled:
		return fmt.Errorf("the network has no IPv6: leave it out, or give --ipv6")
	case !usable(a) || !slices.Contains(have, a.String()):
		return fmt.Errorf("this host has no such address that leads out: it has %s", listed(have))
	}
	return nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
