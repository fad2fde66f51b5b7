package dhcp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// advert is a router advertisement as netstack reads it.
type advert struct {
	header.NDPRouterAdvert
	prefix header.NDPPrefixInformation
	mac    packet.MAC
	mtu    uint32
	dns    []netip.Addr
	search []string
}

func (w *world) advert(endpoint packet.MAC) advert {
	w.t.Helper()
	m, ok := w.Advertisement(endpoint)
	if !ok || m[0] != packet.NDRouterAdvert || len(m) > 1280-packet.IPv6Len {
		w.t.Fatalf("%s: %x", endpoint, m)
	}
	a := advert{NDPRouterAdvert: header.NDPRouterAdvert(header.ICMPv6(m).MessageBody())}
	it, err := a.Options().Iter(true)
	if err != nil {
		w.t.Fatalf("%x: %v", m, err)
	}
	for {
		o, done, err := it.Next()
		if err != nil {
			w.t.Fatalf("%x: %v", m, err)
		}
		if done {
			break
		}
		switch o := o.(type) {
		case header.NDPSourceLinkLayerAddressOption:
			a.mac = packet.MAC([]byte(o.EthernetAddress()))
		case header.NDPPrefixInformation:
			a.prefix = o
		case header.NDPRecursiveDNSServer:
			servers, err := o.Addresses()
			if err != nil || o.Lifetime() < 3*Interval {
				w.t.Errorf("servers %v for %s, %v", servers, o.Lifetime(), err)
			}
			for _, s := range servers {
				a.dns = append(a.dns, netip.AddrFrom16(s.As16()))
			}
		case header.NDPDNSSearchList:
			if a.search, err = o.DomainNames(); err != nil {
				w.t.Error(err)
			}
		}
	}
	for o := m[16:]; len(o) > 0; o = o[int(o[1])*8:] { // which netstack does not read
		if o[0] == raOptMTU {
			a.mtu = binary.BigEndian.Uint32(o[4:])
		}
	}
	return a
}

func TestWhatARouterAdvertises(t *testing.T) {
	o := options()
	w := newWorld(t, o)
	a := w.advert(aMAC)
	if a.mac != gwMAC || a.mtu != 1400 || a.CurrHopLimit() != 64 || a.RouterLifetime() != routerLifetime || a.ReachableTime() != 0 ||
		!slices.Equal(a.dns, []netip.Addr{gw6.Addr()}) || !slices.Equal(a.search, []string{"example.test"}) ||
		a.prefix.PrefixLength() != 64 || !a.prefix.OnLinkFlag() || netip.AddrFrom16(a.prefix.Prefix().As16()) != gw6.Masked().Addr() ||
		a.prefix.ValidLifetime() != validLifetime || a.prefix.PreferredLifetime() != preferredLifetime {
		t.Errorf("%+v", a)
	}
	if 2*Interval > routerLifetime || a.prefix.PreferredLifetime() < 2*Interval {
		t.Error("what is advertised ends before it is advertised again")
	}
	o.Internal = true
	if a := newWorld(t, o).advert(aMAC); a.RouterLifetime() != 0 || len(a.dns) != 1 || a.prefix.PrefixLength() != 64 {
		t.Errorf("an internal network: %+v", a)
	}
	o.Gateway6 = netip.Prefix{}
	if m, ok := newWorld(t, o).Advertisement(aMAC); ok {
		t.Errorf("without IPv6: %x", m)
	}
	if m, ok := w.Advertisement(machine(1)); ok {
		t.Errorf("for nobody: %x", m)
	}
}

// What a kernel makes of an advertisement is what the guard lets through.
func TestTheFlagsOfAnAdvertisementLeadToTheEndpointsAddress(t *testing.T) {
	short := netip.MustParsePrefix("fd00:1::1/112")
	for _, c := range []struct {
		name                       string
		change                     func(*Options)
		endpoint                   Endpoint
		autonomous, managed, other bool
	}{
		{"its address follows from its MAC", func(o *Options) { o.DHCP = false }, Endpoint{MAC: aMAC, Addr6: a6}, true, false, false},
		{"the same, and DHCPv6 for the rest", func(*Options) {}, Endpoint{MAC: aMAC, Addr6: a6}, true, false, true},
		{"it has another one", func(*Options) {}, Endpoint{MAC: aMAC, Addr6: b6}, false, true, true},
		{"it has another one, and no DHCPv6", func(o *Options) { o.DHCP = false }, Endpoint{MAC: aMAC, Addr6: b6}, false, false, false},
		{"it has none", func(*Options) {}, Endpoint{MAC: aMAC, Addr4: a4}, false, false, true},
		{"machines behind it, a range for them", func(*Options) {}, Endpoint{MAC: bMAC, Addr6: b6, Nested: true}, false, true, true},
		{"machines behind it, no range", func(o *Options) { o.Pool6 = netip.Prefix{} }, Endpoint{MAC: bMAC, Addr6: b6, Nested: true}, true, false, true},
		{"machines behind it, no DHCPv6", func(o *Options) { o.DHCP, o.Pool6 = false, netip.Prefix{} }, Endpoint{MAC: bMAC, Addr6: b6, Nested: true}, true, false, false},
		{"a subnet of which no kernel makes addresses", func(o *Options) { o.Gateway6 = short }, Endpoint{MAC: aMAC, Addr6: a6}, false, true, true},
	} {
		o := options()
		c.change(&o)
		w := &world{t: t, Server: New(o)}
		w.Add(c.endpoint)
		a := w.advert(c.endpoint.MAC)
		if a.prefix.AutonomousAddressConfigurationFlag() != c.autonomous || a.ManagedAddrConfFlag() != c.managed || a.OtherConfFlag() != c.other {
			t.Errorf("%s: A %t, M %t, O %t", c.name, a.prefix.AutonomousAddressConfigurationFlag(), a.ManagedAddrConfFlag(), a.OtherConfFlag())
		}
	}
}

func TestManyDomainsFitAnAdvertisement(t *testing.T) {
	w := &world{t: t, Server: New(options())}
	e := Endpoint{MAC: aMAC, Addr4: a4, Addr6: a6}
	for range 100 {
		e.Search = append(e.Search, "a-rather-long-name-of-a-domain.example.test")
	}
	w.Add(e)
	if n := len(w.advert(aMAC).search); n < 5 || n == 100 {
		t.Errorf("%d domains", n)
	}
	// And a DHCP client's: what has no room is left out.
	w.lent, w.taken = map[netip.Addr]packet.MAC{}, map[netip.Addr]bool{}
	if m, _ := w.ask4(aMAC, aMAC, nobody, discover); yours(m) != a4 || len(m.DNS()) != 1 {
		t.Errorf("%v", m)
	}
}

func TestAdvertisementsAreRare(t *testing.T) {
	if Interval < time.Hour {
		t.Errorf("hosts are woken every %s", Interval)
	}
}
