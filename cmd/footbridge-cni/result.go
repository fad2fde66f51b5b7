package main

import (
	"cmp"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// printResult answers ADD: what there is now, after what the plugins before have made.
func printResult(out *os.File, c *config, a attachment, there api.ContainerInspect) error {
	result, err := result(c, a, there).GetAsVersion(c.version)
	if err != nil {
		return err
	}
	return result.PrintTo(out)
}

func result(c *config, a attachment, there api.ContainerInspect) *types100.Result {
	r := &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	if c.prev != nil {
		r.Interfaces, r.IPs, r.Routes, r.DNS = c.prev.Interfaces, c.prev.IPs, c.prev.Routes, c.prev.DNS
	}
	e := there.NetworkSettings.Networks[c.name]
	if e == nil { // it was disconnected just now
		return r
	}
	r.Interfaces = append(r.Interfaces, &types100.Interface{
		Name: a.endpoint.DriverOpts[optIfname], Mac: e.MacAddress.String(), Mtu: c.network.MTU, Sandbox: a.netns,
	})
	for _, f := range []struct {
		addr, gateway netip.Addr
		bits          int
		all           string
		gatewayOf     func(*network.EndpointSettings) netip.Addr
	}{
		{e.IPAddress, e.Gateway, e.IPPrefixLen, "0.0.0.0/0", func(e *network.EndpointSettings) netip.Addr { return e.Gateway }},
		{e.GlobalIPv6Address, e.IPv6Gateway, e.GlobalIPv6PrefixLen, "::/0", func(e *network.EndpointSettings) netip.Addr { return e.IPv6Gateway }},
	} {
		if !f.addr.IsValid() {
			continue
		}
		ip := &types100.IPConfig{
			Interface: types100.Int(len(r.Interfaces) - 1),
			Address:   net.IPNet{IP: f.addr.AsSlice(), Mask: net.CIDRMask(f.bits, f.addr.BitLen())},
		}
		if f.gateway.IsValid() {
			ip.Gateway = f.gateway.AsSlice()
		}
		r.IPs = append(r.IPs, ip)
		if f.gateway.IsValid() && leads(there.NetworkSettings.Networks, c.name, f.gatewayOf) {
			_, all, _ := net.ParseCIDR(f.all)
			r.Routes = append(r.Routes, &types.Route{Dst: *all, GW: f.gateway.AsSlice()})
		}
	}
	var servers []string
	if detail := there.Footbridge.Namespace; detail != nil {
		for _, s := range detail.NameServers {
			servers = append(servers, s.String())
		}
	}
	if own := c.overDNS(servers); c.prev == nil || c.prev.DNS.IsEmpty() {
		r.DNS = own
	}
	return r
}

// leads reports whether the default route of a container goes over a network: of those with
// a gateway, that of the highest priority, and of equals the first by name.
func leads(all map[string]*network.EndpointSettings, name string, gateway func(*network.EndpointSettings) netip.Addr) bool {
	for other, e := range all {
		if other == name || !gateway(e).IsValid() {
			continue
		}
		if cmp.Or(cmp.Compare(e.GwPriority, all[name].GwPriority), -strings.Compare(other, name)) > 0 {
			return false
		}
	}
	return true
}
