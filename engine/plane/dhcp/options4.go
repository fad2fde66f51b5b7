package dhcp

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// Sizes of messages, in bytes.
const (
	// leastMessage4 is what every client takes (RFC 2131 2): 576 bytes of a packet, of
	// which headers take 28.
	leastMessage4 = 576 - 28
	// leastReply4 is what some relays and clients expect of BOOTP (RFC 951 3).
	leastReply4 = 300
)

// options4 are options of a reply in the order in which they are added. The library's own
// go by their codes; clients are to get those that they ask for in the order in which they
// ask (RFC 2132 9.8).
type options4 struct {
	list  []byte
	most  int // bytes of the whole message
	given map[uint8]bool
}

func newOptions4() *options4 { return &options4{most: leastMessage4, given: map[uint8]bool{}} }

// limit takes over what the client says about the length of messages, up to what this
// network's frames carry in any case.
func (o *options4) limit(m *dhcpv4.DHCPv4) {
	if n, err := m.MaxMessageSize(); err == nil {
		o.most = max(leastMessage4, min(int(n), maxMessage)-28)
	}
}

// header4 is the size of a message up to its options, with the cookie before them.
const header4 = 240

// add adds an option, unless it is there or there is no room for it.
func (o *options4) add(opt dhcpv4.Option) {
	code, value := opt.Code.Code(), []byte(nil)
	if opt.Value != nil {
		value = opt.Value.ToBytes()
	}
	if o.given[code] || len(value) > 255 || header4+len(o.list)+2+len(value)+1 > o.most {
		return
	}
	o.given[code] = true
	o.list = append(o.list, code, byte(len(value)))
	o.list = append(o.list, value...)
}

// echo repeats the client's identifier (RFC 6842).
func (o *options4) echo(m *dhcpv4.DHCPv4) {
	if id := m.Options.Get(dhcpv4.OptionClientIdentifier); len(id) > 0 {
		o.add(dhcpv4.OptGeneric(dhcpv4.OptionClientIdentifier, id))
	}
}

// addAsked adds those of facts that the client asks for in its order, or all of them if it
// does not say.
func (o *options4) addAsked(m *dhcpv4.DHCPv4, facts []dhcpv4.Option) {
	asked := m.Options.Get(dhcpv4.OptionParameterRequestList)
	if len(asked) == 0 {
		for _, f := range facts {
			o.add(f)
		}
	}
	for _, code := range asked {
		if i := slices.IndexFunc(facts, func(f dhcpv4.Option) bool { return f.Code.Code() == code }); i >= 0 {
			o.add(facts[i])
		}
	}
}

// bytes gives the message m with the options.
func (o *options4) bytes(m *dhcpv4.DHCPv4) []byte {
	b := append(bytes.Clone(m.ToBytes()[:header4]), o.list...)
	b = append(b, dhcpv4.OptionEnd.Code())
	return append(b, make([]byte, max(0, leastReply4-len(b)))...)
}

// facts4 are all that the network can tell the client.
func (s *Server) facts4(c *client, left time.Duration) []dhcpv4.Option {
	subnet, gateway := s.opts.Gateway4.Masked(), net.IP(s.opts.Gateway4.Addr().AsSlice())
	facts := []dhcpv4.Option{dhcpv4.OptSubnetMask(net.CIDRMask(subnet.Bits(), 32))}
	if !s.opts.Internal {
		facts = append(facts, dhcpv4.OptRouter(gateway))
	}
	if dns, ok := s.dns(s.opts.DNS4, s.opts.Gateway4); ok {
		facts = append(facts, dhcpv4.OptDNS(dns.AsSlice()))
	}
	facts = append(facts, dhcpv4.Option{Code: dhcpv4.OptionInterfaceMTU, Value: dhcpv4.Uint16(s.opts.MTU)})
	if subnet.Bits() < 31 {
		facts = append(facts, dhcpv4.OptBroadcastAddress(broadcastOf(subnet)))
	}
	if c.own && c.endpoint.Hostname != "" {
		facts = append(facts, dhcpv4.OptHostName(c.endpoint.Hostname))
	}
	if search := c.endpoint.Search; len(search) > 0 {
		facts = append(facts, dhcpv4.OptDomainName(search[0]), dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: search}))
	}
	if left > 0 {
		facts = append(facts,
			dhcpv4.Option{Code: dhcpv4.OptionRenewTimeValue, Value: dhcpv4.Duration(left / 2)},
			dhcpv4.Option{Code: dhcpv4.OptionRebindingTimeValue, Value: dhcpv4.Duration(left / 8 * 7)})
	}
	return facts
}

// dns is where names are asked for in a family; ok is false where they are not.
func (s *Server) dns(own netip.Addr, gateway netip.Prefix) (a netip.Addr, ok bool) {
	if s.opts.NoDNS {
		return a, false
	}
	if own.IsValid() {
		return own, true
	}
	return gateway.Addr(), true
}

// broadcastOf gives a subnet's address of all stations.
func broadcastOf(p netip.Prefix) net.IP {
	b, mask := p.Addr().As4(), net.CIDRMask(p.Bits(), 32)
	for i := range b {
		b[i] |= ^mask[i]
	}
	return b[:]
}
