package dhcp

import (
	"math"
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/footbridge-net/footbridge/internal/packet"
)

func TestARangeNeedNotBeAPrefix(t *testing.T) {
	first, last := netip.MustParseAddr("172.18.0.15"), netip.MustParseAddr("172.18.0.30")
	o := options()
	o.Pool4, o.First4, o.Last4 = netip.Prefix{}, first, last
	w := newWorld(t, o)
	w.Add(Endpoint{MAC: machine(99), Nested: true, Lends: true})
	got := map[netip.Addr]bool{}
	for i := range 20 {
		ack, _ := w.ask4(machine(99), machine(i), nobody, discover, dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionRapidCommit, nil)))
		if ack == nil {
			continue
		}
		a := yours(ack)
		if a.Less(first) || last.Less(a) || got[a] {
			t.Errorf("machine %d has %s", i, a)
		}
		got[a] = true
	}
	if len(got) != 16 {
		t.Errorf("%d machines have addresses, want 16", len(got))
	}
	for _, c := range []struct {
		pool *pool
		size uint64
	}{
		{newRange(first, last), 16},
		{newPool(netip.MustParsePrefix("172.18.0.128/28")), 16},
		{newPool(netip.MustParsePrefix("0.0.0.0/0")), 1 << 32},
		{newPool(netip.MustParsePrefix("fd00::/112")), 1 << 16},
		{newPool(netip.MustParsePrefix("fd00::/65")), math.MaxInt64},
		{newPool(netip.MustParsePrefix("fd00::/48")), math.MaxInt64},
		{newPool(netip.MustParsePrefix("fd00::1/128")), 1},
	} {
		if n := c.pool.size(); n != c.size {
			t.Errorf("%s to %s are %d, want %d", c.pool.first, c.pool.last, n, c.size)
		}
		if !c.pool.has(c.pool.first) || !c.pool.has(c.pool.last) || c.pool.has(c.pool.last.Next()) || c.pool.has(c.pool.first.Prev()) {
			t.Errorf("the ends of %s to %s", c.pool.first, c.pool.last)
		}
		if a := c.pool.nth(c.pool.size() - 1); !c.pool.has(a) {
			t.Errorf("the last of %s to %s is %s", c.pool.first, c.pool.last, a)
		}
	}
	if p := newPool(netip.Prefix{}); p.room(holder{}) || p.has(netip.Addr{}) {
		t.Error("no range has addresses")
	}
}

func TestAnEndpointMayBeLentItsAddress(t *testing.T) {
	o := options()
	w := newWorld(t, o)
	own := packet.MAC{2, 7, 7, 7, 7, 7}
	w.Add(Endpoint{MAC: own, Addr4: netip.MustParseAddr("172.18.0.77"), Nested: true, Lends: true})
	ack, _ := w.ask4(own, own, nobody, discover, dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionRapidCommit, nil)))
	if a := yours(ack); !o.Pool4.Contains(a) || w.lent[a] != own || ack.IPAddressLeaseTime(0) != poolLease {
		t.Errorf("%v; lent: %v", ack, w.lent)
	}
}

func TestNamesMayBeAskedForElsewhere(t *testing.T) {
	o := options()
	o.DNS4, o.DNS6 = netip.MustParseAddr("172.18.0.3"), netip.MustParseAddr("fd00:1::3")
	w := newWorld(t, o)
	ack, _ := w.ask4(aMAC, aMAC, nobody, request, wanting(a4))
	if len(ack.DNS()) != 1 || !ack.DNS()[0].Equal(net.IP(o.DNS4.AsSlice())) || !ack.ServerIdentifier().Equal(net.IP(gw4.Addr().AsSlice())) {
		t.Errorf("%s", ack.Summary())
	}
	if a := w.advert(aMAC); len(a.dns) != 1 || a.dns[0] != o.DNS6 {
		t.Errorf("advertised: %v", a.dns)
	}
	o.NoDNS = true
	w = newWorld(t, o)
	if ack, _ := w.ask4(aMAC, aMAC, nobody, request, wanting(a4)); len(ack.DNS()) != 0 {
		t.Errorf("%s", ack.Summary())
	}
	if a := w.advert(aMAC); len(a.dns) != 0 {
		t.Errorf("advertised: %v", a.dns)
	}
}
