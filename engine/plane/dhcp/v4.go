package dhcp

import (
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// Ports of servers and clients (RFC 2131 4.1).
const (
	server4Port = 67
	client4Port = 68
)

// DHCPv4 answers a message of a client; ok is false where there is nothing to say.
func (s *Server) DHCPv4(q Question) (a Answer, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.who(&q, true)
	if !ok || !s.opts.DHCP || !s.opts.Gateway4.IsValid() {
		return a, false
	}
	m, err := dhcpv4.FromBytes(q.Message)
	if err != nil || !c.spoke(m) {
		return a, false
	}
	r := request4{s: s, client: c, m: m}
	if id, given := option4(m, dhcpv4.OptionServerIdentifier); given {
		r.chosen = true
		if id != s.opts.Gateway4.Addr() {
			return a, false // it speaks to another server; an offer to it runs out
		}
	}
	r.want, _ = option4(m, dhcpv4.OptionRequestedIPAddress)
	r.has = addr4(m.ClientIPAddr)
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return r.discover()
	case dhcpv4.MessageTypeRequest:
		return r.request()
	case dhcpv4.MessageTypeInform:
		return r.inform()
	case dhcpv4.MessageTypeRelease:
		c.release(r.has)
	case dhcpv4.MessageTypeDecline:
		c.decline(r.want)
	}
	return a, false
}

// spoke reports whether the message is the client's own: of no relay, and of no other
// station than the one that the frame came from.
func (c *client) spoke(m *dhcpv4.DHCPv4) bool {
	return m.OpCode == dhcpv4.OpcodeBootRequest && m.HWType == iana.HWTypeEthernet && len(m.ClientHWAddr) == 6 &&
		packet.MAC(m.ClientHWAddr) == c.Station && addr4(m.GatewayIPAddr).IsUnspecified()
}

// request4 is a message of a client that is for this server.
type request4 struct {
	s      *Server
	client client
	m      *dhcpv4.DHCPv4
	chosen bool       // it names this server
	want   netip.Addr // the address that it asks for; may be invalid
	has    netip.Addr // the address that it has; unspecified = none
}

func (r *request4) discover() (Answer, bool) {
	a := r.client.offer(r.want)
	if !a.IsValid() {
		return Answer{}, false
	}
	if r.m.Options.Has(dhcpv4.OptionRapidCommit) { // RFC 4039
		if left, ok := r.client.commit(a); ok {
			return r.reply(dhcpv4.MessageTypeAck, a, left, dhcpv4.OptGeneric(dhcpv4.OptionRapidCommit, nil))
		}
	}
	left := ownLease
	if !r.client.own {
		left = poolLease
	}
	return r.reply(dhcpv4.MessageTypeOffer, a, left)
}

// request is what takes an offer, asks after a start whether the address is still the
// client's, or renews (RFC 2131 4.3.2). A server that is the only one may say no.
func (r *request4) request() (Answer, bool) {
	a := r.has
	switch {
	case r.want.IsValid() && r.has.IsUnspecified(): // SELECTING, INIT-REBOOT
		a = r.want
	case r.chosen || r.want.IsValid() || r.has.IsUnspecified():
		return Answer{}, false
	}
	left, ok := r.client.commit(a)
	if !ok {
		return r.refuse()
	}
	return r.reply(dhcpv4.MessageTypeAck, a, left)
}

// inform tells a client that has an address by other means about the rest.
func (r *request4) inform() (Answer, bool) {
	if r.has.IsUnspecified() || r.has != r.client.Src {
		return Answer{}, false
	}
	return r.reply(dhcpv4.MessageTypeAck, netip.IPv4Unspecified(), 0)
}

// refuse is for all who may listen: the client has no address that it could be sent to.
func (r *request4) refuse() (Answer, bool) {
	m := r.blank(netip.IPv4Unspecified())
	m.ClientIPAddr = nil
	m.SetBroadcast()
	out := newOptions4()
	out.add(dhcpv4.OptMessageType(dhcpv4.MessageTypeNak))
	out.add(dhcpv4.OptServerIdentifier(r.s.opts.Gateway4.Addr().AsSlice()))
	out.echo(r.m)
	return r.answer(packet.LimitedBroadcast, out.bytes(m)), true
}

// reply says what the client's address is, for how long, and what it has asked for.
func (r *request4) reply(t dhcpv4.MessageType, a netip.Addr, left time.Duration, more ...dhcpv4.Option) (Answer, bool) {
	m := r.blank(a)
	out := newOptions4()
	out.limit(r.m)
	out.add(dhcpv4.OptMessageType(t))
	out.add(dhcpv4.OptServerIdentifier(r.s.opts.Gateway4.Addr().AsSlice()))
	if left > 0 {
		out.add(dhcpv4.OptIPAddressLeaseTime(left))
	}
	for _, o := range more {
		out.add(o)
	}
	out.echo(r.m)
	out.addAsked(r.m, r.s.facts4(&r.client, left))
	to := a
	if !r.has.IsUnspecified() {
		to = r.has
	} else if r.m.IsBroadcast() {
		to = packet.LimitedBroadcast
	}
	return r.answer(to, out.bytes(m)), true
}

// blank is a reply without options.
func (r *request4) blank(a netip.Addr) *dhcpv4.DHCPv4 {
	return &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: r.m.HWType, TransactionID: r.m.TransactionID, Flags: r.m.Flags,
		ClientIPAddr: r.m.ClientIPAddr, YourIPAddr: a.AsSlice(), ClientHWAddr: r.m.ClientHWAddr,
	}
}

// answer addresses a reply (RFC 2131 4.1): to the address that the client has, or will
// have, or to all where it has said that it does not hear others yet.
func (r *request4) answer(to netip.Addr, message []byte) Answer {
	mac := r.client.Station
	if to == packet.LimitedBroadcast {
		mac = packet.Broadcast
	}
	return Answer{
		Src: netip.AddrPortFrom(r.s.opts.Gateway4.Addr(), server4Port), Dst: netip.AddrPortFrom(to, client4Port),
		MAC: mac, Message: message,
	}
}

// option4 reads an option that is one address.
func option4(m *dhcpv4.DHCPv4, code dhcpv4.OptionCode) (netip.Addr, bool) {
	b := m.Options.Get(code)
	if len(b) != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(b)), true
}

func addr4(b []byte) netip.Addr {
	if len(b) != 4 {
		return netip.IPv4Unspecified()
	}
	return netip.AddrFrom4([4]byte(b))
}
