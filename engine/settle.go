package engine

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/footbridge-net/footbridge/engine/ipam"
	"github.com/footbridge-net/footbridge/engine/plane"
)

// settle checks options against the rest of the network, and takes over what is the
// network's own.
func (o *netOptions) settle(n *NetworkDef) error {
	n.MTU = defaultMTU
	if o.mtu != 0 {
		n.MTU = o.mtu
	}
	switch {
	case n.EnableIPv6 && n.MTU < minMTU6:
		return invalid("invalid MTU %d: an IPv6 link carries at least %d bytes (RFC 8200); choose more, or a network without IPv6", n.MTU, minMTU6)
	case !n.Internal && (o.isolated(true) || o.isolated(false)):
		return invalid("gateway mode 'isolated' can only be used for an internal network: add --internal")
	case n.Internal && (len(o.servers) > 0 || o.rules.Outbound != (plane.Outbound{})):
		return invalid("an internal network asks nobody outside: leave out --internal, or the options %s, %s, %s and %s",
			optDNSServers, optOutbound4, optOutbound6, optOutboundDevice)
	}
	if err := o.settleAddresses(n); err != nil {
		return err
	}
	return o.settleGateway(n)
}

// settleAddresses refuses further addresses of the name server that it cannot have.
func (o *netOptions) settleAddresses(n *NetworkDef) error {
	for _, a := range o.rules.DNS.More {
		has := n.EnableIPv4
		if !a.Is4() {
			has = n.EnableIPv6
		}
		s, known := n.subnet(a.Is4())
		switch {
		case !has || o.isolated(a.Is4()):
			return invalid("%s=%v needs a gateway of that family, which answers there: the network has none", optDNSAddresses, a)
		case known && s.Prefix.Contains(a):
			return invalid("%s=%v is in the network's own subnet %v, where names are asked for at the gateway: leave it out", optDNSAddresses, a, s.Prefix)
		}
	}
	return nil
}

// checkKept checks what is kept for DHCP against the subnets that were asked for.
func (o *netOptions) checkKept(n *NetworkDef) error {
	for _, is4 := range []bool{true, false} {
		kept := o.kept(is4)
		s, ok := n.subnet(is4)
		switch {
		case !kept.IsValid():
		case !o.rules.DHCP.On:
			return invalid("%s=%v has no effect without %s=true", optDHCPRange, kept, optDHCP)
		case !ok || !ipam.Contains(s.Prefix, kept):
			return invalid("no matching subnet for %s=%v: give the subnet that it is a part of (--subnet)", optDHCPRange, kept)
		case s.Gateway.IsValid() && kept.Contains(s.Gateway):
			return invalid("%s=%v holds the gateway %v: choose another part of the subnet, or another --gateway", optDHCPRange, kept, s.Gateway)
		}
	}
	return nil
}

// Ports of the gateway that have a service.
const (
	dnsPort    = 53
	dhcpPort   = 67
	dhcpv6Port = 547
)

// settleGateway refuses options that need a gateway where there is none.
func (o *netOptions) settleGateway(n *NetworkDef) error {
	gateway := n.EnableIPv4 && !o.isolated(true) || n.EnableIPv6 && !o.isolated(false)
	s6, _ := n.subnet(false)
	switch {
	case o.rules.DHCP.On && !gateway:
		return invalid("%s=true needs a gateway to ask: gateway mode 'isolated' has none", optDHCP)
	case len(o.rules.HostPorts) > 0 && !gateway:
		return invalid("%s needs a gateway to reach them at: gateway mode 'isolated' has none", optHostPorts)
	case o.rules.DHCP.On && (opens(o.rules.HostPorts, "udp", dhcpPort) || opens(o.rules.HostPorts, "udp", dhcpv6Port)):
		return invalid("ports 67 and 547 of the gateway are its DHCP servers': leave them out of %s, or leave out %s=true", optHostPorts, optDHCP)
	case o.rules.RA && (!n.EnableIPv6 || o.isolated(false)):
		return invalid("%s=true needs a network with IPv6 and a gateway: give --ipv6", optRA)
	case o.rules.RA && !o.rules.DHCP.On && s6.Prefix.IsValid() && s6.Prefix.Bits() != 64:
		return invalid("%s=true gives no address in %v: stateless configuration needs a subnet of 64 bits; choose one, or add %s=true",
			optRA, s6.Prefix, optDHCP)
	}
	return nil
}

// opens reports whether the ports hold one.
func opens(ports []plane.PortRange, proto string, port uint16) bool {
	return slices.ContainsFunc(ports, func(r plane.PortRange) bool {
		return r.Proto == proto && r.First <= port && port <= r.Last
	})
}

// pools makes the address pools of a network, by family.
func pools(n *NetworkDef) (v4, v6 *ipam.Pool, err error) {
	o := n.options()
	for i := range n.Subnets {
		s := &n.Subnets[i]
		is4 := s.Prefix.Addr().Is4()
		c := ipam.Config{Subnet: s.Prefix, Range: s.Range, First: s.First, Last: s.Last, Gateway: s.Gateway, Aux: s.Aux}
		// One that was asked for is some container's: nobody else is to get it.
		c.NoGateway = o.isolated(is4) && !s.Gateway.IsValid()
		if kept := o.kept(is4); kept.IsValid() {
			c.Kept = []netip.Prefix{kept}
		}
		p, err := ipam.NewPool(c)
		if err != nil {
			return nil, nil, fmt.Errorf("network %s: %w", n.Name, err)
		}
		s.Gateway = p.Gateway()
		if is4 {
			v4 = p
		} else {
			v6 = p
		}
	}
	return v4, v6, nil
}
