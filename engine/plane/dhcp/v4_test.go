package dhcp

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/footbridge-net/footbridge/internal/packet"
)

var nobody = netip.IPv4Unspecified()

func TestAnEndpointGetsItsOwnAddressAndNoOther(t *testing.T) {
	w := newWorld(t, options())
	other := netip.MustParseAddr("172.18.0.99")
	for _, want := range []netip.Addr{a4, b4, other, gw4.Addr(), pool4.Addr().Next()} {
		offer, at := w.ask4(aMAC, aMAC, nobody, discover, wanting(want))
		if kind(offer) != dhcpv4.MessageTypeOffer || yours(offer) != a4 || at.Dst.Addr() != a4 || at.MAC != aMAC {
			t.Errorf("it wants %s: %v to %s", want, offer, at.Dst)
		}
		expect := dhcpv4.MessageTypeNak
		if want == a4 {
			expect = dhcpv4.MessageTypeAck
		}
		for name, how := range map[string][]dhcpv4.Modifier{
			"takes the offer": {request, wanting(want), of(gw4.Addr())},
			"has rebooted":    {request, wanting(want)},
			"renews":          {request, has(want)},
		} {
			answer, at := w.ask4(aMAC, aMAC, nobody, how...)
			if kind(answer) != expect || (expect == dhcpv4.MessageTypeAck && yours(answer) != a4) {
				t.Errorf("it %s, %s: %v", name, want, answer)
			}
			if expect == dhcpv4.MessageTypeNak && (at.Dst.Addr() != packet.LimitedBroadcast || at.MAC != packet.Broadcast || yours(answer) != nobody) {
				t.Errorf("a refusal goes to %s at %s", at.Dst, at.MAC)
			}
		}
	}
	if len(w.lent) != 0 {
		t.Errorf("lent: %v", w.lent)
	}
}

func TestRapidCommitIsOneMessage(t *testing.T) {
	w := newWorld(t, options())
	for station, endpoint := range map[packet.MAC]packet.MAC{aMAC: aMAC, machine(1): bMAC} {
		ack, _ := w.ask4(endpoint, station, nobody, discover, dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionRapidCommit, nil)))
		if kind(ack) != dhcpv4.MessageTypeAck || !ack.Options.Has(dhcpv4.OptionRapidCommit) || !yours(ack).IsValid() || ack.IPAddressLeaseTime(0) == 0 {
			t.Errorf("%s: %v", station, ack)
		}
	}
}

func TestWhatAClientIsTold(t *testing.T) {
	all := []dhcpv4.OptionCode{
		dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionBroadcastAddress,
		dhcpv4.OptionHostName, dhcpv4.OptionDomainName, dhcpv4.OptionDNSDomainSearchList, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue,
	}
	for _, internal := range []bool{false, true} {
		o := options()
		o.Internal = internal
		w := newWorld(t, o)
		ack, _ := w.ask4(aMAC, aMAC, nobody, request, wanting(a4))
		wantRouter := []net.IP{gw4.Addr().AsSlice()}
		if internal {
			wantRouter = nil
		}
		mtu := ack.Options.Get(dhcpv4.OptionInterfaceMTU)
		if !slices.EqualFunc(ack.Router(), wantRouter, net.IP.Equal) || len(ack.DNS()) != 1 || !ack.DNS()[0].Equal(gw4.Addr().AsSlice()) ||
			ack.SubnetMask().String() != "ffffff00" || !bytes.Equal(mtu, []byte{1400 >> 8, 1400 & 0xff}) || ack.HostName() != "alice" ||
			ack.DomainName() != "example.test" || len(ack.DomainSearch().Labels) != 1 || ack.BroadcastAddress().String() != "172.18.0.255" ||
			ack.IPAddressLeaseTime(0) != ownLease || ack.IPAddressRenewalTime(0) != ownLease/2 || ack.IPAddressRebindingTime(0) != ownLease/8*7 {
			t.Errorf("internal %t: %s", internal, ack.Summary())
		}
		for _, code := range all {
			answer, _ := w.ask4(aMAC, aMAC, nobody, request, wanting(a4), dhcpv4.WithRequestedOptions(code))
			for _, other := range all {
				if got, want := answer.Options.Has(other), other == code && !(internal && code == dhcpv4.OptionRouter); got != want {
					t.Errorf("internal %t: asked for %s, is told %s: %t", internal, code, other, got)
				}
			}
		}
	}
}

// RFC 2132 9.8.
func TestOptionsComeInTheOrderInWhichTheyWereAsked(t *testing.T) {
	w := newWorld(t, options())
	for _, asked := range [][]byte{{26, 6, 3, 1}, {1, 3, 6, 26}, {6, 250, 1, 6, 12, 3}} {
		_, at := w.ask4(aMAC, aMAC, nobody, discover, dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionParameterRequestList, asked)),
			dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionClientIdentifier, []byte("me"))))
		var codes []byte
		for b := at.Message[header4:]; b[0] != 255; b = b[2+b[1]:] {
			codes = append(codes, b[0])
		}
		seen := map[byte]bool{250: true}
		want := slices.DeleteFunc(slices.Clone(asked), func(c byte) bool { known := seen[c]; seen[c] = true; return known })
		if !bytes.Equal(codes, append([]byte{53, 54, 51, 61}, want...)) {
			t.Errorf("asked for %v: %v", asked, codes)
		}
	}
}

func TestWhatIsNotForThisServerIsLeftAlone(t *testing.T) {
	w := newWorld(t, options())
	elsewhere := netip.MustParseAddr("172.18.0.77")
	for name, ask := range map[string]func() *dhcpv4.DHCPv4{
		"it takes another's offer": func() *dhcpv4.DHCPv4 {
			m, _ := w.ask4(aMAC, aMAC, nobody, request, wanting(a4), of(elsewhere))
			return m
		},
		"of a relay": func() *dhcpv4.DHCPv4 {
			m, _ := w.ask4(aMAC, aMAC, nobody, discover, func(m *dhcpv4.DHCPv4) { m.GatewayIPAddr = elsewhere.AsSlice() })
			return m
		},
		"for another MAC than the frame's": func() *dhcpv4.DHCPv4 {
			m, _ := w.ask4(aMAC, aMAC, nobody, discover, dhcpv4.WithHwAddr(bMAC[:]))
			return m
		},
		"of a machine behind a container that has none": func() *dhcpv4.DHCPv4 { m, _ := w.ask4(aMAC, machine(1), nobody, discover); return m },
		"of an endpoint that nobody knows":              func() *dhcpv4.DHCPv4 { m, _ := w.ask4(machine(1), machine(1), nobody, discover); return m },
		"an answer": func() *dhcpv4.DHCPv4 {
			m, _ := w.ask4(aMAC, aMAC, nobody, discover, func(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootReply })
			return m
		},
		"without a type":                 func() *dhcpv4.DHCPv4 { m, _ := w.ask4(aMAC, aMAC, nobody); return m },
		"a request for nothing":          func() *dhcpv4.DHCPv4 { m, _ := w.ask4(aMAC, aMAC, nobody, request); return m },
		"a request and an address":       func() *dhcpv4.DHCPv4 { m, _ := w.ask4(aMAC, aMAC, a4, request, has(a4), wanting(a4)); return m },
		"longer than a frame":            func() *dhcpv4.DHCPv4 { m, _ := w.ask4(aMAC, aMAC, nobody, discover, long); return m },
		"it tells what it does not have": func() *dhcpv4.DHCPv4 { m, _ := w.ask4(aMAC, aMAC, a4, inform, has(b4)); return m },
	} {
		if m := ask(); m != nil {
			t.Errorf("%s: %s", name, m.Summary())
		}
	}
	off := options()
	off.DHCP = false
	if m, _ := newWorld(t, off).ask4(aMAC, aMAC, nobody, discover); m != nil {
		t.Errorf("turned off: %s", m.Summary())
	}
	w.Remove(aMAC)
	if m, _ := w.ask4(aMAC, aMAC, nobody, discover); m != nil {
		t.Errorf("removed: %s", m.Summary())
	}
}

func inform(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeInform)) }

func long(m *dhcpv4.DHCPv4) {
	m.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, make([]byte, 1500)))
}

func TestWhoHasAnAddressIsToldTheRest(t *testing.T) {
	w := newWorld(t, options())
	ack, at := w.ask4(aMAC, aMAC, a4, inform, has(a4))
	if kind(ack) != dhcpv4.MessageTypeAck || yours(ack) != nobody || ack.IPAddressLeaseTime(0) != 0 || len(ack.DNS()) != 1 || at.Dst.Addr() != a4 {
		t.Errorf("%v to %s", ack, at.Dst)
	}
}

func TestAnAnswerGoesWhereTheClientHearsIt(t *testing.T) {
	w := newWorld(t, options())
	for _, c := range []struct {
		name string
		how  []dhcpv4.Modifier
		dst  netip.Addr
		mac  packet.MAC
	}{
		{"to the address it will have", []dhcpv4.Modifier{discover}, a4, aMAC},
		{"to all, as it says", []dhcpv4.Modifier{discover, dhcpv4.WithBroadcast(true)}, packet.LimitedBroadcast, packet.Broadcast},
		{"to the address it has", []dhcpv4.Modifier{request, has(a4), dhcpv4.WithBroadcast(true)}, a4, aMAC},
	} {
		if _, at := w.ask4(aMAC, aMAC, nobody, c.how...); at.Dst.Addr() != c.dst || at.MAC != c.mac {
			t.Errorf("%s: to %s at %s", c.name, at.Dst, at.MAC)
		}
	}
}

// lease leads the machine through four messages.
func (w *world) lease(endpoint, station packet.MAC) netip.Addr {
	w.t.Helper()
	offer, _ := w.ask4(endpoint, station, nobody, discover)
	if offer == nil {
		return netip.Addr{}
	}
	ack, _ := w.ask4(endpoint, station, nobody, request, wanting(yours(offer)), of(gw4.Addr()))
	if kind(ack) != dhcpv4.MessageTypeAck || yours(ack) != yours(offer) {
		w.t.Fatalf("%s is offered %s and gets %v", station, yours(offer), ack)
	}
	return yours(ack)
}

func TestMachinesBehindAnEndpointGetAddressesOfTheRange(t *testing.T) {
	w := newWorld(t, options())
	got := map[netip.Addr]packet.MAC{}
	for n := range 5 {
		a := w.lease(bMAC, machine(n))
		if !pool4.Contains(a) || a == pool4.Addr() || got[a] != (packet.MAC{}) || w.lent[a] != machine(n) {
			t.Errorf("machine %d gets %s, lent %v", n, a, w.lent)
		}
		got[a] = machine(n)
	}
	for a, m := range got {
		if again := w.lease(bMAC, m); again != a {
			t.Errorf("%s had %s and gets %s", m, a, again)
		}
		if ack, _ := w.ask4(bMAC, m, a, request, has(a)); kind(ack) != dhcpv4.MessageTypeAck {
			t.Errorf("%s renews %s: %v", m, a, ack)
		}
		for other := range got {
			if m, _ := w.ask4(bMAC, m, nobody, request, wanting(other)); other != a && kind(m) != dhcpv4.MessageTypeNak {
				t.Errorf("it asks for another's: %v", m)
			}
		}
	}
	// The host name is the container's, and not theirs.
	if ack, _ := w.ask4(bMAC, machine(0), nobody, discover); ack.HostName() != "" {
		t.Errorf("host name %s", ack.HostName())
	}
	for _, bad := range []netip.Addr{b4, a4, gw4.Addr(), netip.MustParseAddr("172.18.0.80"), netip.MustParseAddr("10.0.0.1")} {
		if m, _ := w.ask4(bMAC, machine(9), nobody, request, wanting(bad)); kind(m) != dhcpv4.MessageTypeNak {
			t.Errorf("%s: %v", bad, m)
		}
	}
}

func TestAnAddressThatIsFoundInUseIsNotGiven(t *testing.T) {
	w := newWorld(t, options())
	a := w.lease(bMAC, machine(1))
	decline := func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeDecline)) }
	w.ask4(bMAC, machine(1), nobody, decline, wanting(a), of(gw4.Addr()))
	if len(w.lent) != 0 {
		t.Errorf("lent: %v", w.lent)
	}
	if m, _ := w.ask4(bMAC, machine(1), nobody, request, wanting(a)); kind(m) != dhcpv4.MessageTypeNak {
		t.Errorf("it declined %s and asks for it: %v", a, m)
	}
	if b := w.lease(bMAC, machine(1)); b == a || !b.IsValid() {
		t.Errorf("it declined %s and gets %s", a, b)
	}
	// One that is seen by the switch is not given either.
	w = newWorld(t, options())
	w.taken[a] = true
	if b := w.lease(bMAC, machine(1)); b == a || !b.IsValid() {
		t.Errorf("%s is in use, and it gets %s", a, b)
	}
}

func TestAReleasedAddressIsFree(t *testing.T) {
	w := newWorld(t, options())
	a := w.lease(bMAC, machine(1))
	release := func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeRelease)) }
	w.ask4(bMAC, machine(2), a, release, has(a), of(gw4.Addr()))
	if ack, _ := w.ask4(bMAC, machine(2), nobody, request, wanting(a)); kind(ack) != dhcpv4.MessageTypeNak {
		t.Errorf("another one has released it: %v", ack)
	}
	w.ask4(bMAC, machine(1), a, release, has(a), of(gw4.Addr()))
	if ack, _ := w.ask4(bMAC, machine(2), nobody, request, wanting(a)); kind(ack) != dhcpv4.MessageTypeAck {
		t.Errorf("it has been released: %v", ack)
	}
}

func TestLeasesRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, options())
		a := w.lease(bMAC, machine(1))
		w.lent = map[netip.Addr]packet.MAC{} // of the switch only what is new counts
		for at, want := range []dhcpv4.MessageType{dhcpv4.MessageTypeNak, dhcpv4.MessageTypeAck} {
			if ack, _ := w.ask4(bMAC, machine(2), nobody, request, wanting(a)); kind(ack) != want {
				t.Errorf("after %d hours: %v", at, ack)
			}
			time.Sleep(poolLease)
		}
		offered, _ := w.ask4(bMAC, machine(3), nobody, discover)
		if ack, _ := w.ask4(bMAC, machine(4), nobody, request, wanting(yours(offered))); kind(ack) != dhcpv4.MessageTypeNak {
			t.Errorf("it is offered to another: %v", ack)
		}
		time.Sleep(offerTime)
		if ack, _ := w.ask4(bMAC, machine(4), nobody, request, wanting(yours(offered))); kind(ack) != dhcpv4.MessageTypeAck {
			t.Errorf("the offer has run out: %v", ack)
		}
	})
}

// Another worker knows nothing any more.
func TestAMachineKeepsItsAddressOverAServersEnd(t *testing.T) {
	w := newWorld(t, options())
	had := map[int]netip.Addr{}
	for n := range 6 {
		had[n] = w.lease(bMAC, machine(n))
	}
	for name, how := range map[string]func(netip.Addr) []dhcpv4.Modifier{
		"renews":    func(a netip.Addr) []dhcpv4.Modifier { return []dhcpv4.Modifier{request, has(a)} },
		"reboots":   func(a netip.Addr) []dhcpv4.Modifier { return []dhcpv4.Modifier{request, wanting(a)} },
		"discovers": func(a netip.Addr) []dhcpv4.Modifier { return []dhcpv4.Modifier{discover, wanting(a)} },
	} {
		fresh := newWorld(t, options())
		for n, a := range had {
			if m, _ := fresh.ask4(bMAC, machine(n), nobody, how(a)...); yours(m) != a {
				t.Errorf("machine %d %s: %v, it had %s", n, name, m, a)
			}
		}
	}
	same := 0
	for n, a := range had {
		if newWorld(t, options()).lease(bMAC, machine(n)) == a {
			same++
		}
	}
	if same < len(had)/2 { // others had to make way for one that came before
		t.Errorf("%d of %d get theirs without asking for it", same, len(had))
	}
}

func TestOneEndpointDoesNotGetAllAddresses(t *testing.T) {
	w := newWorld(t, options())
	cMAC := packet.MAC{2, 0x42, 172, 18, 0, 4}
	w.Add(Endpoint{MAC: cMAC, Addr4: netip.MustParseAddr("172.18.0.4"), Nested: true})
	count := func(endpoint packet.MAC) (n int) {
		for i := range 500 {
			if w.lease(endpoint, machine(i)).IsValid() {
				n++
			}
		}
		return n
	}
	if n := count(bMAC); n != 8 {
		t.Errorf("the first has %d of 16", n)
	}
	if n := count(cMAC); n != 4 {
		t.Errorf("the second has %d of the 8 that were left", n)
	}
	// What it has taken goes with it.
	w.Remove(bMAC)
	w.lent = map[netip.Addr]packet.MAC{}
	if n := len(w.pool4.leases); n != 4 || w.pool4.held[bMAC] != 0 {
		t.Errorf("%d leases are left", n)
	}
	// Offers count as well.
	o := options()
	o.Pool4 = netip.MustParsePrefix("10.0.0.0/16")
	w = newWorld(t, o)
	for i := range 500 {
		w.ask4(bMAC, machine(i), nobody, discover)
	}
	if n := len(w.pool4.leases); n != maxLeases {
		t.Errorf("%d addresses are kept for machines of one endpoint", n)
	}
}

// A machine that asks for one address after the other has the last one, and nothing is kept
// from others of those before.
func TestAMachineHasOneAddress(t *testing.T) {
	w := newWorld(t, options())
	a := netip.MustParseAddr("172.18.0.70")
	for range 5 {
		m, _ := w.ask4(bMAC, machine(1), nobody, dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(a.AsSlice())))
		if m == nil || m.MessageType() != dhcpv4.MessageTypeAck {
			t.Fatalf("%s: %v", a, m)
		}
		if len(w.lent) != 1 || w.lent[a] != machine(1) || len(w.pool4.leases) != 1 {
			t.Fatalf("lent are %v, of %d leases", w.lent, len(w.pool4.leases))
		}
		a = a.Next()
	}
}

// It has one for the other, even where it could not have another one besides.
func TestAnAddressIsChangedAtTheLimit(t *testing.T) {
	w := newWorld(t, options())
	for i := range 500 {
		w.lease(bMAC, machine(i))
	}
	for i := range 500 {
		old, ok := w.pool4.of(holder{bMAC, machine(i)})
		if !ok {
			continue
		}
		free := w.pool4.find(holder{bMAC, machine(i)}, func(a netip.Addr) bool { return w.Free(machine(i), a) })
		m, _ := w.ask4(bMAC, machine(i), nobody, dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(free.AsSlice())))
		if m == nil || m.MessageType() != dhcpv4.MessageTypeAck || w.lent[free] != machine(i) || w.lent[old] != (packet.MAC{}) {
			t.Errorf("from %s to %s: %v", old, free, m)
		}
		return
	}
	t.Error("nobody has a lease")
}
