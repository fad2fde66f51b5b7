package forwarder

import (
	"net/netip"
	"testing"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/share"
)

// One container cannot take all descriptors of the process: it gets half of
// them, and the next still gets his.
func TestAContainerLeavesDescriptorsToOthers(t *testing.T) {
	f, _ := newWorld(t, Limits{})
	f.descriptors = share.New(12)
	taken := func(src netip.Addr, dst netip.Addr) int {
		before := f.Stats()
		for port := range uint16(20) {
			f.HandleDatagram(packet.Datagram{Src: netip.AddrPortFrom(src, 1000+port), Dst: netip.AddrPortFrom(dst, 9), TTL: 64})
			f.HandleEcho(packet.Echo{Src: src, Dst: dst, ID: port, TTL: 64})
		}
		after := f.Stats()
		return after.UDP + after.Echo - before.UDP - before.Echo
	}
	if n := taken(ctr4, host4); n != 6 {
		t.Errorf("the first container has %d of 12 descriptors, want 6", n)
	}
	if n := taken(ctr6, host6); n != 3 {
		t.Errorf("the second container has %d of the 6 that were left, want 3", n)
	}
	if f.Stats().Refused["descriptor_share"] == 0 {
		t.Errorf("refusals are %v", f.Stats().Refused)
	}
	f.ReleaseAddr(ctr4)
	f.ReleaseAddr(ctr6)
	if n := f.descriptors.Used(); n != 0 {
		t.Errorf("%d descriptors are counted after the end of all flows", n)
	}
}

// What a TCP connection has taken is given back however it ends.
func TestConnectionsGiveTheirDescriptorsBack(t *testing.T) {
	f, g := newWorld(t, Limits{})
	f.descriptors = share.New(100)
	l, at := listen(t, host4)
	c, err := g.dial(t, at)
	if err != nil {
		t.Fatal(err)
	}
	if n := f.descriptors.Used(); n != 1 {
		t.Errorf("one connection has %d descriptors", n)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	c.Close()
	l.Close()
	if _, err := g.dial(t, at); err == nil {
		t.Error("connected to a closed port")
	}
	eventually(t, "all descriptors are back", func() bool { return f.descriptors.Used() == 0 })
}
