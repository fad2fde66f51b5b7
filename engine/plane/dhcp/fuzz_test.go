package dhcp

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// Whatever a client sends, from the container or from a machine behind it: no answer but to
// the frame's sender, and no address but its own or one of the range.
func FuzzDHCPv4(f *testing.F) {
	for _, change := range [][]dhcpv4.Modifier{
		{discover, wanting(a4)}, {request, has(a4)}, {request, wanting(a4), of(gw4.Addr())}, {inform, has(a4)},
		{discover, dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionRapidCommit, nil)), dhcpv4.WithRequestedOptions(dhcpv4.OptionRouter)},
		{request, wanting(pool4.Addr().Next())},
	} {
		for _, m := range []packet.MAC{bMAC, machine(1)} {
			message, err := dhcpv4.New(append(change, dhcpv4.WithHwAddr(m[:]))...)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(message.ToBytes(), m != bMAC)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, behind bool) {
		w, station := newWorld(t, options()), bMAC
		if behind {
			station = machine(1)
		}
		for range 2 { // the second time it may have a lease
			a, ok := w.DHCPv4(Question{Endpoint: bMAC, Station: station, Src: b4, Message: b, Stations: w})
			if !ok {
				continue
			}
			m, err := dhcpv4.FromBytes(a.Message)
			if err != nil || len(a.Message) > maxMessage {
				t.Fatalf("%x is answered by %x: %v", b, a.Message, err)
			}
			got := yours(m)
			if a.MAC != station && a.MAC != packet.Broadcast {
				t.Errorf("%x is answered to %s", b, a.MAC)
			}
			if !got.IsUnspecified() && !(behind && pool4.Contains(got)) && (behind || got != b4) {
				t.Errorf("%x gets %s", b, got)
			}
		}
		for a, m := range w.lent {
			if !behind || m != station || !pool4.Contains(a) {
				t.Errorf("%x: %s is lent to %s", b, a, m)
			}
		}
	})
}

func FuzzDHCPv6(f *testing.F) {
	for _, m := range []packet.MAC{bMAC, machine(1)} {
		for _, t6 := range []dhcpv6.MessageType{solicit, demand, renew, rebind, confirm, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline, dhcpv6.MessageTypeInformationRequest} {
			message := &dhcpv6.Message{MessageType: t6}
			for _, o := range []dhcpv6.Option{me(m), you(), identity(1, b6, pool6.Addr().Next()), rapid(), dhcpv6.OptRequestedOption(dhcpv6.OptionDNSRecursiveNameServer)} {
				message.AddOption(o)
				f.Add(message.ToBytes(), m != bMAC)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, behind bool) {
		w, station := newWorld(t, options()), bMAC
		if behind {
			station = machine(1)
		}
		for range 2 {
			a, ok := w.DHCPv6(Question{Endpoint: bMAC, Station: station, Src: local, Message: b, Stations: w})
			if !ok {
				continue
			}
			m, err := dhcpv6.MessageFromBytes(a.Message)
			if err != nil || a.MAC != station || a.Dst.Addr() != local {
				t.Fatalf("%x is answered by %x to %s: %v", b, a.Message, a.MAC, err)
			}
			for n := range m.Options.IANA() {
				if got := given(m, n); got.IsValid() && !(behind && pool6.Contains(got)) && (behind || got != b6) {
					t.Errorf("%x gets %s", b, got)
				}
			}
		}
		for a, m := range w.lent {
			if !behind || m != station || !netip.Prefix.Contains(pool6, a) {
				t.Errorf("%x: %s is lent to %s", b, a, m)
			}
		}
	})
}
