package slirp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Where everybody is, counted from the network's address. Callers compute these and do not
// ask.
const (
	gatewayOffset   = 2
	dnsOffset       = 3
	dhcpFirstOffset = 15
	dhcpLastOffset  = 30
	guestOffset     = 100
)

// The network of IPv6 is always the same.
var (
	network6 = netip.MustParsePrefix("fd00::/64")
	gateway6 = netip.MustParseAddr("fd00::2")
	dns6     = netip.MustParseAddr("fd00::3")
)

// Plan is who has which address.
type Plan struct {
	Network             netip.Prefix
	Gateway, DNS, Guest netip.Addr
	DHCPFirst, DHCPLast netip.Addr
}

// NewPlan makes the plan of a network of at most 25 bits.
func NewPlan(network netip.Prefix) Plan {
	at := func(offset uint32) netip.Addr {
		b := network.Addr().As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+offset)
		return netip.AddrFrom4(b)
	}
	return Plan{
		Network: network, Gateway: at(gatewayOffset), DNS: at(dnsOffset), Guest: at(guestOffset),
		DHCPFirst: at(dhcpFirstOffset), DHCPLast: at(dhcpLastOffset),
	}
}

// banner tells people, and the callers' logs, what there is now.
func (p Plan) banner(o *Options) string {
	var b strings.Builder
	line := func(what string, value any) { fmt.Fprintf(&b, "* %-16s %v\n", what+":", value) }
	b.WriteString("Starting slirp\n")
	line("MTU", o.MTU)
	line("Network", p.Network.Addr())
	line("Netmask", net.IP(net.CIDRMask(p.Network.Bits(), 32)))
	line("Gateway", p.Gateway)
	line("DNS", p.DNS)
	line("DHCP begin", p.DHCPFirst)
	line("DHCP end", p.DHCPLast)
	line("Recommended IP", p.Guest)
	if o.APISocket != "" {
		line("API Socket", o.APISocket)
	}
	if o.Outbound4 != "" {
		line("Outbound IPv4", o.Outbound4)
	}
	if o.Outbound6 != "" {
		line("Outbound IPv6", o.Outbound6)
	}
	if !o.NoHost {
		fmt.Fprintf(&b, "WARNING: 127.0.0.1:* on the host is accessible as %s (set --disable-host-loopback to prohibit connecting to 127.0.0.1:*)\n", p.Gateway)
	}
	return b.String()
}
