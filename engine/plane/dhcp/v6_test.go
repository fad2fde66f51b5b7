package dhcp

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/footbridge-net/footbridge/internal/packet"
)

const (
	solicit = dhcpv6.MessageTypeSolicit
	demand  = dhcpv6.MessageTypeRequest
	renew   = dhcpv6.MessageTypeRenew
	rebind  = dhcpv6.MessageTypeRebind
	confirm = dhcpv6.MessageTypeConfirm
)

func status(m *dhcpv6.Message) iana.StatusCode {
	if m == nil || m.Options.Status() == nil {
		return 0xffff
	}
	return m.Options.Status().StatusCode
}

func TestAnEndpointGetsItsOwnIPv6AddressAndNoOther(t *testing.T) {
	w := newWorld(t, options())
	for _, want := range []netip.Addr{a6, b6, gw6.Addr(), netip.MustParseAddr("fd00:1::99"), netip.MustParseAddr("fd00:2::99")} {
		if m := w.ask6(aMAC, aMAC, solicit, me(aMAC), identity(1, want)); m.MessageType != dhcpv6.MessageTypeAdvertise || given(m, 0) != a6 {
			t.Errorf("it solicits %s: %v", want, m)
		}
		if m := w.ask6(aMAC, aMAC, solicit, me(aMAC), identity(1, want), rapid()); m.MessageType != dhcpv6.MessageTypeReply || given(m, 0) != a6 ||
			m.GetOneOption(dhcpv6.OptionRapidCommit) == nil {
			t.Errorf("it solicits %s at once: %v", want, m)
		}
		for t6, options := range map[dhcpv6.MessageType][]dhcpv6.Option{demand: {me(aMAC), you()}, renew: {me(aMAC), you()}, rebind: {me(aMAC)}} {
			m := w.ask6(aMAC, aMAC, t6, append(options, identity(1, want))...)
			if m.MessageType != dhcpv6.MessageTypeReply || given(m, 0) != a6 {
				t.Errorf("%s %s: %v", t6, want, m)
			}
			// What it may not have ends when it renews.
			ended := false
			for _, a := range m.Options.IANA()[0].Options.Addresses() {
				ended = ended || (addr6(a.IPv6Addr) == want && a.ValidLifetime == 0)
			}
			if ended != (t6 != demand && want != a6) {
				t.Errorf("%s %s: ended is %t", t6, want, ended)
			}
		}
		expect := iana.StatusNotOnLink
		if want == a6 {
			expect = iana.StatusSuccess
		}
		if m := w.ask6(aMAC, aMAC, confirm, me(aMAC), identity(1, want)); status(m) != expect {
			t.Errorf("it asks whether %s is right: %v", want, m)
		}
	}
	m := w.ask6(aMAC, aMAC, demand, me(aMAC), you(), identity(1, a6))
	ia := m.Options.IANA()[0]
	if ia.T1 != ownLease/2 || ia.T2 != ownLease/8*7 || ia.Options.OneAddress().ValidLifetime != ownLease || ia.IaId != [4]byte{1} {
		t.Errorf("%+v", ia)
	}
}

func TestThereIsOneAddressAndNothingElse(t *testing.T) {
	w := newWorld(t, options())
	m := w.ask6(aMAC, aMAC, solicit, me(aMAC), identity(1), identity(2), &dhcpv6.OptIATA{IaId: [4]byte{3}}, &dhcpv6.OptIAPD{IaId: [4]byte{4}})
	if given(m, 0) != a6 || m.Options.IANA()[1].Options.Status().StatusCode != iana.StatusNoAddrsAvail ||
		m.Options.OneIATA().Options.Status().StatusCode != iana.StatusNoAddrsAvail ||
		m.Options.OneIAPD().Options.Status().StatusCode != iana.StatusNoPrefixAvail {
		t.Errorf("%s", m.Summary())
	}
}

func TestWhatADHCPv6ClientIsTold(t *testing.T) {
	w := newWorld(t, options())
	m := w.ask6(aMAC, aMAC, dhcpv6.MessageTypeInformationRequest, me(aMAC), dhcpv6.OptRequestedOption(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList))
	if dns := m.Options.DNS(); len(dns) != 1 || addr6(dns[0]) != gw6.Addr() || m.Options.DomainSearchList().Labels[0] != "example.test" || m.Options.ClientID() == nil {
		t.Errorf("%s", m.Summary())
	}
	// Nobody has to say who they are for that.
	if m := w.ask6(aMAC, aMAC, dhcpv6.MessageTypeInformationRequest); m == nil || len(m.Options.DNS()) != 1 {
		t.Errorf("%v", m)
	}
	if m := w.ask6(aMAC, aMAC, solicit, me(aMAC), identity(1), dhcpv6.OptRequestedOption(dhcpv6.OptionNTPServer)); len(m.Options.DNS()) != 0 || m.Options.DomainSearchList() != nil {
		t.Errorf("it has asked for others: %s", m.Summary())
	}
}

// RFC 8415 16.
func TestDHCPv6MessagesThatMustBeDiscarded(t *testing.T) {
	w := newWorld(t, options())
	stranger := dhcpv6.OptServerID(&dhcpv6.DUIDLL{HWType: 1, LinkLayerAddr: bMAC[:]})
	for name, m := range map[string]*dhcpv6.Message{
		"solicit without a client":                      w.ask6(aMAC, aMAC, solicit, identity(1)),
		"solicit of a server":                           w.ask6(aMAC, aMAC, solicit, me(aMAC), you(), identity(1)),
		"request of nobody":                             w.ask6(aMAC, aMAC, demand, me(aMAC), identity(1)),
		"request of another":                            w.ask6(aMAC, aMAC, demand, me(aMAC), stranger, identity(1)),
		"renew of another":                              w.ask6(aMAC, aMAC, renew, me(aMAC), stranger, identity(1, a6)),
		"rebind of a server":                            w.ask6(aMAC, aMAC, rebind, me(aMAC), you(), identity(1, a6)),
		"confirm of nothing":                            w.ask6(aMAC, aMAC, confirm, me(aMAC), identity(1)),
		"release of another":                            w.ask6(aMAC, aMAC, dhcpv6.MessageTypeRelease, me(aMAC), stranger, identity(1, a6)),
		"information request of another":                w.ask6(aMAC, aMAC, dhcpv6.MessageTypeInformationRequest, stranger),
		"information request for an address":            w.ask6(aMAC, aMAC, dhcpv6.MessageTypeInformationRequest, identity(1)),
		"an advertisement":                              w.ask6(aMAC, aMAC, dhcpv6.MessageTypeAdvertise, me(aMAC), you(), identity(1)),
		"a reply":                                       w.ask6(aMAC, aMAC, dhcpv6.MessageTypeReply, me(aMAC), you(), identity(1)),
		"of a machine behind a container that has none": w.ask6(aMAC, machine(1), solicit, me(machine(1)), identity(1)),
	} {
		if m != nil {
			t.Errorf("%s: %s", name, m.Summary())
		}
	}
	m := &dhcpv6.Message{MessageType: solicit}
	m.AddOption(me(aMAC))
	if a, ok := w.DHCPv6(Question{Endpoint: aMAC, Station: aMAC, Src: a6, Message: m.ToBytes(), Stations: w}); ok {
		t.Errorf("from an address that is not the link's: %v", a)
	}
	if a, ok := w.DHCPv6(Question{Endpoint: aMAC, Station: aMAC, Src: local, Message: []byte{12, 0, 0}, Stations: w}); ok {
		t.Errorf("of a relay: %v", a)
	}
	off := options()
	off.DHCP = false
	if m := newWorld(t, off).ask6(aMAC, aMAC, solicit, me(aMAC), identity(1)); m != nil {
		t.Errorf("turned off: %s", m.Summary())
	}
}

func TestMachinesBehindAnEndpointGetIPv6AddressesOfTheRange(t *testing.T) {
	w := newWorld(t, options())
	lease := func(n int) netip.Addr {
		m := w.ask6(bMAC, machine(n), solicit, me(machine(n)), identity(1))
		a := given(m, 0)
		m = w.ask6(bMAC, machine(n), demand, me(machine(n)), you(), identity(1, a))
		if given(m, 0) != a || w.lent[a] != machine(n) {
			t.Errorf("it is offered %s and gets %s", a, given(m, 0))
		}
		return a
	}
	a, b := lease(1), lease(2)
	if a == b || !pool6.Contains(a) || !pool6.Contains(b) {
		t.Errorf("two machines have %s and %s", a, b)
	}
	if m := w.ask6(bMAC, machine(1), renew, me(machine(1)), you(), identity(1, a)); given(m, 0) != a || m.Options.IANA()[0].T1 != poolLease/2 {
		t.Errorf("it renews %s: %s", a, m.Summary())
	}
	if m := w.ask6(bMAC, machine(2), confirm, me(machine(2)), identity(1, a)); status(m) != iana.StatusNotOnLink {
		t.Errorf("it asks for another's: %s", m.Summary())
	}
	if m := w.ask6(bMAC, machine(1), dhcpv6.MessageTypeRelease, me(machine(1)), you(), identity(1, a)); status(m) != iana.StatusSuccess || w.lent[a] != (packet.MAC{}) {
		t.Errorf("it releases %s: %s", a, m.Summary())
	}
	if m := w.ask6(bMAC, machine(2), dhcpv6.MessageTypeDecline, me(machine(2)), you(), identity(1, b)); status(m) != iana.StatusSuccess || w.lent[b] != (packet.MAC{}) {
		t.Errorf("it declines %s: %s", b, m.Summary())
	}
	if again := lease(2); again == b {
		t.Errorf("it declined %s and gets it again", b)
	}
	// After the server's end, who renews keeps it.
	fresh := newWorld(t, options())
	if m := fresh.ask6(bMAC, machine(1), rebind, me(machine(1)), identity(1, a)); given(m, 0) != a || fresh.lent[a] != machine(1) {
		t.Errorf("%s", m.Summary())
	}
	// Without a range there is none.
	o := options()
	o.Pool6 = netip.Prefix{}
	m := newWorld(t, o).ask6(bMAC, machine(1), solicit, me(machine(1)), identity(1, a))
	if given(m, 0).IsValid() || m.Options.IANA()[0].Options.Status().StatusCode != iana.StatusNoAddrsAvail {
		t.Errorf("%s", m.Summary())
	}
}

func TestTheServerIsTheSameAsBefore(t *testing.T) {
	one := newWorld(t, options()).ask6(aMAC, aMAC, solicit, me(aMAC), identity(1))
	two := newWorld(t, options()).ask6(aMAC, aMAC, solicit, me(aMAC), identity(1))
	if !one.Options.ServerID().Equal(two.Options.ServerID()) {
		t.Errorf("%s and %s", one.Options.ServerID(), two.Options.ServerID())
	}
}
