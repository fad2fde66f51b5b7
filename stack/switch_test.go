package stack

import (
	"bytes"
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

func TestFramesPassBetweenContainersWithTheirHeaderUntouched(t *testing.T) {
	w := newWorld(t, true)
	hdr := [vnet.Len]byte{vnet.NeedsCsum, 0, 0, 0, 0, 0, 34, 0, 6}
	frame := datagramFrame(bMAC, aMAC, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), "hello")
	w.a.send(hdr, frame)
	got := w.b.receive()
	if got.hdr != hdr || !bytes.Equal(got.frame, frame) {
		t.Fatalf("got %x %x, sent %x %x", got.hdr, got.frame, hdr, frame)
	}
	w.a.silent()
}

func TestARPIsAnsweredFromTheTable(t *testing.T) {
	w := newWorld(t, false)
	for _, c := range []struct {
		target netip.Addr
		mac    packet.MAC
	}{{b4, bMAC}, {gw4.Addr(), gwMAC}} {
		w.a.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{
			Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: a4, TargetIP: c.target}))
		reply, err := packet.ParseARP(w.a.receive().frame[packet.EthernetLen:])
		if err != nil || reply.Op != packet.ARPReply || reply.SenderMAC != c.mac || reply.SenderIP != c.target || reply.TargetMAC != aMAC {
			t.Errorf("who has %s: %+v, %v", c.target, reply, err)
		}
	}
	w.b.silent()
}

func TestNobodyAnswersForAnAddressThatNobodyHas(t *testing.T) {
	w := newWorld(t, false)
	w.a.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{
		Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: a4, TargetIP: netip.MustParseAddr("172.18.0.99")}))
	w.settle(w.a, aMAC, a4)
	w.a.silent()
	w.b.silent()
	if n := w.pa.Stats().Drops["unknown_destination"]; n != 1 {
		t.Errorf("unknown_destination counted %d times, want 1", n)
	}
}

// solicit makes a neighbour solicitation of a for target.
func solicit(src netip.Addr, target netip.Addr) []byte {
	b := packet.NeighborAdvertFrame(packet.MAC{0x33, 0x33, 0xff, 0, 0, 1}, aMAC, netip.MustParseAddr("ff02::1:ff00:1"), target)
	ip := b[packet.EthernetLen:]
	packet.PutIPv6(ip, src, netip.MustParseAddr("ff02::1:ff00:1"), packet.ProtoICMPv6, 255, len(ip)-packet.IPv6Len)
	m := ip[packet.IPv6Len:]
	m[0], m[4], m[24] = packet.NDNeighborSolicit, 0, 1
	m[2], m[3] = 0, 0
	sum := ^packet.Sum(m, packet.PseudoSum(src, netip.MustParseAddr("ff02::1:ff00:1"), packet.ProtoICMPv6, len(m)))
	m[2], m[3] = byte(sum>>8), byte(sum)
	return b
}

func TestNeighbourSolicitationsAreAnsweredFromTheTable(t *testing.T) {
	w := newWorld(t, true)
	for _, c := range []struct {
		target netip.Addr
		mac    packet.MAC
	}{{b6, bMAC}, {bMAC.LinkLocal(), bMAC}, {gw6.Addr(), gwMAC}, {gwMAC.LinkLocal(), gwMAC}} {
		w.a.send(plain, solicit(a6, c.target))
		frame := w.a.receive().frame
		ip, err := packet.ParseIP(frame[packet.EthernetLen:])
		if err != nil {
			t.Fatal(err)
		}
		body := frame[packet.EthernetLen:]
		target, mac, _, err := packet.ParseNeighbor(body[ip.HeaderLen:ip.Len], &ip)
		if err != nil || target != c.target || mac != c.mac || ip.Dst != a6 {
			t.Errorf("who has %s: %s at %s to %s, %v", c.target, target, mac, ip.Dst, err)
		}
		if !packet.TransportValid(body, &ip) {
			t.Error("the advertisement's checksum is wrong")
		}
		// Without it a kernel forgets the default route that was advertised to it.
		if router := body[ip.HeaderLen+4]&0x80 != 0; router != (c.mac == gwMAC) {
			t.Errorf("%s is a router: %t", c.target, router)
		}
	}
	w.b.silent()
}

func TestTheGuardDropsWhatAContainerMustNotSend(t *testing.T) {
	alien4, alien6 := netip.MustParseAddr("172.18.0.9"), netip.MustParseAddr("fd00:1::9")
	port := func(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, 9) }
	advert := func(target netip.Addr, mac packet.MAC) []byte {
		b := packet.NeighborAdvertFrame(bMAC, mac, b6, target)
		copy(b[6:12], aMAC[:])
		packet.PutIPv6(b[packet.EthernetLen:], a6, b6, packet.ProtoICMPv6, 255, len(b)-packet.EthernetLen-packet.IPv6Len)
		return b
	}
	icmp6 := func(typ byte) []byte {
		b := advert(a6, aMAC)
		b[packet.EthernetLen+packet.IPv6Len] = typ
		return b
	}
	vlan := datagramFrame(bMAC, aMAC, port(a4), port(b4), "x")
	vlan[12], vlan[13] = 0x81, 0x00
	for _, c := range []struct {
		name, reason string
		frame        []byte
		onlyIPv4     bool
	}{
		{"another source MAC", "source_mac", datagramFrame(bMAC, bMAC, port(a4), port(b4), "x"), false},
		{"another IPv4 source", "source_address", datagramFrame(bMAC, aMAC, port(alien4), port(b4), "x"), false},
		{"the gateway's IPv4 source", "source_address", datagramFrame(bMAC, aMAC, port(gw4.Addr()), port(b4), "x"), false},
		{"another IPv6 source", "source_address", datagramFrame(bMAC, aMAC, port(alien6), port(b6), "x"), false},
		{"ARP for the gateway", "neighbor", packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPReply, SenderMAC: aMAC, SenderIP: gw4.Addr(), TargetIP: b4}), false},
		{"an advertisement for a neighbour", "neighbor", advert(b6, aMAC), false},
		{"an advertisement with another MAC", "neighbor", advert(a6, bMAC), false},
		{"a router advertisement", "neighbor", icmp6(packet.NDRouterAdvert), false},
		{"a redirect", "neighbor", icmp6(packet.NDRedirect), false},
		{"an IPv4 redirect", "neighbor", packet.ICMPErrorFrame(bMAC, aMAC, a4, b4, packet.ICMPError{Type: packet.ICMPRedirect}, nil), false},
		{"a DHCP offer", "neighbor", datagramFrame(bMAC, aMAC, netip.AddrPortFrom(a4, 67), netip.AddrPortFrom(b4, 68), "x"), false},
		{"a DHCPv6 offer", "neighbor", datagramFrame(bMAC, aMAC, netip.AddrPortFrom(a6, 547), netip.AddrPortFrom(b6, 546), "x"), false},
		{"a DHCP offer from another port", "neighbor", datagramFrame(bMAC, aMAC, netip.AddrPortFrom(a4, 1067), netip.AddrPortFrom(b4, 68), "x"), false},
		{"a DHCPv6 offer from another port", "neighbor", datagramFrame(bMAC, aMAC, netip.AddrPortFrom(a6, 1547), netip.AddrPortFrom(b6, 546), "x"), false},
		{"a VLAN tag", "ethertype", vlan, false},
		{"a truncated frame", "malformed", []byte{1, 2, 3}, false},
		{"a truncated IP header", "malformed", datagramFrame(bMAC, aMAC, port(a4), port(b4), "x")[:20], false},
		{"IPv6 on a network without", "no_ipv6", datagramFrame(bMAC, aMAC, port(a6), port(b6), "x"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, !c.onlyIPv4)
			w.a.send(plain, c.frame)
			w.settle(w.a, aMAC, a4)
			w.b.silent()
			if n := w.pa.Stats().Drops[c.reason]; n != 1 {
				t.Errorf("drops are %v, want one for %s", w.pa.Stats().Drops, c.reason)
			}
		})
	}
}

func TestLyingVirtioHeadersAreDropped(t *testing.T) {
	frame := datagramFrame(bMAC, aMAC, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), "hello")
	for _, h := range []vnet.Header{
		{Flags: vnet.NeedsCsum, CsumStart: 60000},
		{Flags: vnet.NeedsCsum, CsumStart: 2},
		{Flags: vnet.NeedsCsum, CsumStart: 24, CsumOffset: 6},  // over the address that it is for
		{Flags: vnet.NeedsCsum, CsumStart: 34, CsumOffset: 2},  // over the port
		{Flags: vnet.NeedsCsum, CsumStart: 34, CsumOffset: 16}, // TCP's
		{Flags: vnet.NeedsCsum, CsumStart: 38, CsumOffset: 1},  // beginning in UDP's header
		{GSOType: vnet.GSOTCPv4, GSOSize: 0, Flags: vnet.NeedsCsum, CsumStart: 34},
		{GSOType: vnet.GSOTCPv6, GSOSize: 100, Flags: vnet.NeedsCsum, CsumStart: 34},
		{GSOType: vnet.GSOUDP, GSOSize: 100},
		{GSOType: 77},
		{Flags: 0x80},
	} {
		w := newWorld(t, false)
		var hdr [vnet.Len]byte
		h.Encode(&hdr)
		w.a.send(hdr, frame)
		w.settle(w.a, aMAC, a4)
		w.b.silent()
		if n := w.pa.Stats().Drops["virtio_header"]; n != 1 {
			t.Errorf("%+v: drops are %v", h, w.pa.Stats().Drops)
		}
	}
}

func TestBroadcastReachesTheOthersAndNotTheSender(t *testing.T) {
	w := newWorld(t, false)
	frame := datagramFrame(packet.Broadcast, aMAC, netip.AddrPortFrom(a4, 1), netip.MustParseAddrPort("172.18.255.255:9"), "all")
	w.a.send(plain, frame)
	if got := w.b.receive(); !bytes.Equal(got.frame, frame) {
		t.Errorf("b got %x", got.frame)
	}
	w.settle(w.a, aMAC, a4)
	w.a.silent()
}

func TestAFrameToNobodyIsDroppedAndCounted(t *testing.T) {
	w := newWorld(t, false)
	w.a.send(plain, datagramFrame(packet.MAC{2, 9, 9, 9, 9, 9}, aMAC, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), "x"))
	w.settle(w.a, aMAC, a4)
	w.b.silent()
	if n := w.pa.Stats().Drops["unknown_destination"]; n != 1 {
		t.Errorf("drops are %v", w.pa.Stats().Drops)
	}
}

func TestANewPortIsAnnouncedToTheOthers(t *testing.T) {
	w := newWorld(t, true)
	c4, c6 := netip.MustParseAddr("172.18.0.4"), netip.MustParseAddr("fd00:1::4")
	m := newMemory(t)
	if _, err := w.net.AddPort(PortOptions{Name: "c", MAC: packet.MACFromIPv4(c4), Addresses: []netip.Addr{c4, c6}, Device: m}); err != nil {
		t.Fatal(err)
	}
	arp, err := packet.ParseARP(w.a.receive().frame[packet.EthernetLen:])
	if err != nil || arp.SenderIP != c4 || arp.TargetIP != c4 || arp.SenderMAC != packet.MACFromIPv4(c4) {
		t.Errorf("gratuitous ARP is %+v, %v", arp, err)
	}
	frame := w.a.receive().frame
	ip, err := packet.ParseIP(frame[packet.EthernetLen:])
	if err != nil || ip.Src != c6 || ip.Dst != packet.AllNodes {
		t.Errorf("unsolicited advertisement is from %s to %s, %v", ip.Src, ip.Dst, err)
	}
	m.silent()
}

func TestTakenAddressesAreRefused(t *testing.T) {
	w := newWorld(t, true)
	for name, o := range map[string]PortOptions{
		"MAC":             {MAC: aMAC, Addresses: []netip.Addr{netip.MustParseAddr("172.18.0.8")}},
		"IPv4":            {MAC: packet.MAC{2, 1}, Addresses: []netip.Addr{a4}},
		"IPv6":            {MAC: packet.MAC{2, 1}, Addresses: []netip.Addr{a6}},
		"gateway address": {MAC: packet.MAC{2, 1}, Addresses: []netip.Addr{gw4.Addr()}},
		"gateway MAC":     {MAC: gwMAC, Addresses: []netip.Addr{netip.MustParseAddr("172.18.0.8")}},
	} {
		m := newMemory(t)
		o.Device = m
		if _, err := w.net.AddPort(o); !errors.Is(err, ErrDuplicate) {
			t.Errorf("%s: %v, want ErrDuplicate", name, err)
		}
		select {
		case <-m.done:
		default:
			t.Errorf("%s: the refused device was not closed", name)
		}
	}
}

func TestAClosedPortIsForgotten(t *testing.T) {
	w := newWorld(t, false)
	w.pb.Close()
	w.a.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{
		Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: a4, TargetIP: b4}))
	w.settle(w.a, aMAC, a4)
	w.a.silent()
	if err := w.net.Gateway().SendUDP(netip.AddrPortFrom(out4, 1), netip.AddrPortFrom(b4, 2), nil); err == nil {
		t.Error("the gateway still sends to a container that is gone")
	}
}

func TestSwitchingAFrameAllocatesNothing(t *testing.T) {
	w := newWorld(t, false)
	n := testing.AllocsPerRun(1000, switchOne(w))
	if n != 0 {
		t.Errorf("%v allocations for a switched frame, want 0", n)
	}
}

func BenchmarkSwitch(b *testing.B) {
	w := newWorld(b, false)
	f := switchOne(w)
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
}

// discarding is a device that takes everything.
type discarding struct{ *memory }

func (d discarding) Queues() []Queue               { return []Queue{d} }
func (discarding) WriteFrame(parts [][]byte) error { return nil }

// switchOne gives a function that carries one frame from a to a device that
// takes everything.
func switchOne(w *world) func() {
	c4 := netip.MustParseAddr("172.18.0.4")
	mac := packet.MACFromIPv4(c4)
	if _, err := w.net.AddPort(PortOptions{Name: "c", MAC: mac, Addresses: []netip.Addr{c4}, Device: discarding{newMemory(w.a.t)}}); err != nil {
		w.a.t.Fatal(err)
	}
	frame := datagramFrame(mac, aMAC, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(c4, 2), "hello")
	hdr := plain
	in := &incoming{port: w.pa, hdr: &hdr, frame: frame}
	return func() {
		if r := w.net.forward(in); r != DropNone {
			w.a.t.Fatal(r)
		}
	}
}

// full is a device whose container does not take frames.
type full struct{ *memory }

func (f full) Queues() []Queue               { return []Queue{f} }
func (full) WriteFrame(parts [][]byte) error { return syscall.EAGAIN }

// Who does not take frames loses them; others notice nothing, and nothing is kept.
func TestAContainerThatTakesNothingHoldsUpNobody(t *testing.T) {
	w := newWorld(t, false)
	if _, err := w.net.AddPort(PortOptions{Name: "full", MAC: cMAC, Addresses: c(), Device: full{newMemory(t)}}); err != nil {
		t.Fatal(err)
	}
	w.b.receive() // the announcement
	w.a.receive()
	for range 100 {
		w.a.send(plain, datagramFrame(cMAC, aMAC, ap(a4, 1), ap(c4, 2), "lost"))
		all := datagramFrame(packet.Broadcast, aMAC, ap(a4, 1), ap(here4, 9), "all")
		w.a.send(plain, all)
		if got := w.b.receive(); !bytes.Equal(got.frame, all) {
			t.Fatalf("b got %x", got.frame)
		}
	}
	w.settle(w.a, aMAC, a4)
	if n := w.pa.Stats().Drops["device"]; n < 100 {
		t.Errorf("%d of 100 counted", n)
	}
	if err := w.net.Gateway().SendUDP(ap(out4, 1), ap(c4, 2), nil); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("the gateway's datagram: %v, want ENOBUFS", err)
	}
}
