package dhcp

import (
	"bytes"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

// Ports of servers and clients (RFC 8415 7.2).
const (
	server6Port = 547
	client6Port = 546
)

// DHCPv6 answers a message of a client; ok is false where there is nothing to say.
func (s *Server) DHCPv6(q Question) (a Answer, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.who(&q, false)
	if !ok || !s.opts.DHCP || !s.opts.Gateway6.IsValid() || !q.Src.IsLinkLocalUnicast() {
		return a, false
	}
	m, err := dhcpv6.MessageFromBytes(q.Message)
	if err != nil || !s.isFor(m) {
		return a, false
	}
	r := reply6{s: s, client: c, m: m, out: &dhcpv6.Message{MessageType: dhcpv6.MessageTypeReply, TransactionID: m.TransactionID}}
	if !r.fill() {
		return a, false
	}
	return Answer{
		Src: netip.AddrPortFrom(s.opts.LinkLocal, server6Port), Dst: netip.AddrPortFrom(q.Src, client6Port),
		MAC: q.Station, Message: r.out.ToBytes(),
	}, true
}

// duid is the server's: the same as long as the network has its gateway.
func (s *Server) duid() *dhcpv6.DUIDLL {
	return &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: s.opts.GatewayMAC[:]}
}

// isFor reports whether the message has the identifiers that its type must have, and names
// no other server (RFC 8415 16).
func (s *Server) isFor(m *dhcpv6.Message) bool {
	id := m.Options.GetOne(dhcpv6.OptionServerID)
	ours := id != nil && bytes.Equal(id.ToBytes(), s.duid().ToBytes())
	hasClient := m.Options.GetOne(dhcpv6.OptionClientID) != nil
	switch m.MessageType {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRebind:
		return hasClient && id == nil
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		return hasClient && ours
	case dhcpv6.MessageTypeInformationRequest:
		return (id == nil || ours) && len(m.Options.IANA()) == 0 && len(m.Options.IATA()) == 0 && len(m.Options.IAPD()) == 0
	}
	return false
}

// reply6 is a message of a client that is for this server, and what it is told.
type reply6 struct {
	s      *Server
	client client
	m      *dhcpv6.Message
	out    *dhcpv6.Message
}

// fill writes the reply; it reports whether there is one.
func (r *reply6) fill() bool {
	if id := r.m.Options.GetOne(dhcpv6.OptionClientID); id != nil {
		r.out.AddOption(id)
	}
	r.out.AddOption(dhcpv6.OptServerID(r.s.duid()))
	switch r.m.MessageType {
	case dhcpv6.MessageTypeSolicit:
		rapid := r.m.Options.GetOne(dhcpv6.OptionRapidCommit) != nil
		if rapid {
			r.out.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
		} else {
			r.out.MessageType = dhcpv6.MessageTypeAdvertise
		}
		r.assign(rapid)
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		r.assign(true)
	case dhcpv6.MessageTypeConfirm:
		return r.confirm()
	case dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		r.giveUp()
	}
	r.addFacts()
	return true
}

// assign answers all that the client wants addresses for: its first identity gets the one
// that it may have, others get none.
func (r *reply6) assign(commit bool) {
	for i, ia := range r.m.Options.IANA() {
		given := netip.Addr{}
		var left time.Duration
		if i == 0 {
			given, left = r.choose(ia, commit)
		}
		r.out.AddOption(r.identity(ia, given, left))
	}
	for _, ia := range r.m.Options.IATA() {
		t := &dhcpv6.OptIATA{IaId: ia.IaId}
		t.Options.Add(statusOf("there are no temporary addresses", iana.StatusNoAddrsAvail))
		r.out.AddOption(t)
	}
	for _, ia := range r.m.Options.IAPD() {
		p := &dhcpv6.OptIAPD{IaId: ia.IaId}
		p.Options.Add(statusOf("there are no prefixes", iana.StatusNoPrefixAvail))
		r.out.AddOption(p)
	}
}

// choose gives the address for an identity: the one that the client has or wants, if it may
// have it.
func (r *reply6) choose(ia *dhcpv6.OptIANA, commit bool) (a netip.Addr, left time.Duration) {
	want := netip.Addr{}
	if first := ia.Options.OneAddress(); first != nil {
		want = addr6(first.IPv6Addr)
	}
	if commit {
		if left, ok := r.client.commit(want); ok {
			return want, left
		}
	}
	if a = r.client.offer(want); !a.IsValid() {
		return a, 0
	}
	if !commit {
		if r.client.own {
			return a, ownLease
		}
		return a, poolLease
	}
	left, ok := r.client.commit(a)
	if !ok {
		return netip.Addr{}, 0
	}
	return a, left
}

// identity is the answer about one: the address with its lifetimes, and those that the
// client has named and may not have with none (RFC 8415 18.3.4).
func (r *reply6) identity(ia *dhcpv6.OptIANA, a netip.Addr, left time.Duration) *dhcpv6.OptIANA {
	out := &dhcpv6.OptIANA{IaId: ia.IaId}
	if a.IsValid() {
		out.T1, out.T2 = left/2, left/8*7
		out.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: a.AsSlice(), PreferredLifetime: left, ValidLifetime: left})
	} else {
		out.Options.Add(statusOf("no address is free for this station", iana.StatusNoAddrsAvail))
	}
	renews := r.m.MessageType == dhcpv6.MessageTypeRenew || r.m.MessageType == dhcpv6.MessageTypeRebind
	for _, named := range ia.Options.Addresses() {
		if old := addr6(named.IPv6Addr); renews && old.IsValid() && old != a {
			out.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: old.AsSlice()})
		}
	}
	return out
}

// confirm says whether the client's addresses are right here; nothing is said about none.
func (r *reply6) confirm() bool {
	status, some := statusOf("the addresses are this station's", iana.StatusSuccess), false
	for _, ia := range r.m.Options.IANA() {
		for _, named := range ia.Options.Addresses() {
			some = true
			if _, ok := r.client.commit(addr6(named.IPv6Addr)); !ok {
				status = statusOf("an address is not this station's", iana.StatusNotOnLink)
			}
		}
	}
	r.out.AddOption(status)
	return some
}

// giveUp ends what the client does not want any more.
func (r *reply6) giveUp() {
	for _, ia := range r.m.Options.IANA() {
		for _, named := range ia.Options.Addresses() {
			if a := addr6(named.IPv6Addr); r.m.MessageType == dhcpv6.MessageTypeDecline {
				r.client.decline(a)
			} else {
				r.client.release(a)
			}
		}
	}
	r.out.AddOption(statusOf("done", iana.StatusSuccess))
}

// addFacts adds what the network can tell besides addresses, if the client wants to know.
func (r *reply6) addFacts() {
	asked := r.m.Options.RequestedOptions()
	wants := func(code dhcpv6.OptionCode) bool { return len(asked) == 0 || r.m.IsOptionRequested(code) }
	if dns, ok := r.s.dns(r.s.opts.DNS6, r.s.opts.Gateway6); ok && wants(dhcpv6.OptionDNSRecursiveNameServer) {
		r.out.AddOption(dhcpv6.OptDNS(net.IP(dns.AsSlice())))
	}
	if search := r.client.endpoint.Search; len(search) > 0 && wants(dhcpv6.OptionDomainSearchList) {
		r.out.AddOption(dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: search}))
	}
}

// statusOf says how it went, with a text for people.
func statusOf(why string, status iana.StatusCode) *dhcpv6.OptStatusCode {
	return &dhcpv6.OptStatusCode{StatusCode: status, StatusMessage: why}
}

func addr6(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	if !a.Is6() {
		return netip.Addr{}
	}
	return a
}
