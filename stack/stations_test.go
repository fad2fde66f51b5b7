package stack

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

var (
	vip4, vip6 = netip.MustParseAddr("172.18.0.100"), netip.MustParseAddr("fd00:1::100")
	vm4, vm6   = netip.MustParseAddr("172.18.0.50"), netip.MustParseAddr("fd00:1::50")
	vmMAC      = packet.MAC{0x52, 0x54, 0, 0, 0, 1}
	vrrpMAC    = packet.MAC{0x00, 0x00, 0x5e, 0x00, 0x01, 0x07}
	vips       = Guard{Addresses: []netip.Prefix{netip.PrefixFrom(vip4, 32), netip.PrefixFrom(vip6, 128)}}
)

// extendedWorld is a world in which a and b have Guards. c is an ordinary container.
type extendedWorld struct {
	*world
	c  *memory
	pc *Port
}

func newExtendedWorld(t testing.TB, ga, gb Guard) *extendedWorld {
	t.Helper()
	w := newWorld(t, true)
	w.pa.Close()
	w.pb.Close()
	w.a, w.b = newMemory(t), newMemory(t)
	e := &extendedWorld{world: w, c: newMemory(t)}
	add := func(name string, m *memory, mac packet.MAC, g Guard, addrs ...netip.Addr) *Port {
		p, err := w.net.AddPort(PortOptions{Name: name, MAC: mac, Addresses: addrs, Device: m, Guard: g, Limits: Limits{Stations: 8}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	e.pa = add("a", w.a, aMAC, ga, a4, a6)
	e.pb = add("b", w.b, bMAC, gb, b4, b6)
	e.pc = add("c", e.c, cMAC, Guard{}, c4, c6)
	for _, m := range []*memory{w.a, w.b, e.c} {
		for len(m.out) > 0 {
			<-m.out
		}
	}
	return e
}

// settled waits until the port of m has carried all that was sent.
func (e *extendedWorld) settled(m *memory) {
	mac, a := cMAC, c4
	switch m {
	case e.a:
		mac, a = aMAC, a4
	case e.b:
		mac, a = bMAC, b4
	}
	e.settle(m, mac, a)
}

func gratuitous(mac packet.MAC, a netip.Addr) []byte {
	if a.Is6() {
		return packet.NeighborAdvertFrame(packet.MulticastMAC(packet.AllNodes), mac, packet.AllNodes, a)
	}
	return packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: mac, SenderIP: a, TargetIP: a})
}

// asks is a question for target.
func asks(mac packet.MAC, a, target netip.Addr) []byte {
	if a.Is6() {
		return packet.NeighborSolicitFrame(mac, a, target)
	}
	return packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: mac, SenderIP: a, TargetIP: target})
}

// replies is the answer of mac, which has a, to who asked.
func replies(mac packet.MAC, a netip.Addr, toMAC packet.MAC, to netip.Addr) []byte {
	if a.Is6() {
		return packet.NeighborAdvertFrame(toMAC, mac, to, a)
	}
	return packet.ARPFrame(toMAC, packet.ARP{Op: packet.ARPReply, SenderMAC: mac, SenderIP: a, TargetMAC: toMAC, TargetIP: to})
}

// whoHas asks as c, and gives what is answered.
func (e *extendedWorld) whoHas(a netip.Addr) packet.MAC {
	e.c.t.Helper()
	from := c4
	if a.Is6() {
		from = c6
	}
	e.c.send(plain, asks(cMAC, from, a))
	return saysMAC(e.c.t, e.c.receive().frame, a)
}

// saysMAC reads who has a from an answer or an announcement.
func saysMAC(t testing.TB, frame []byte, a netip.Addr) packet.MAC {
	t.Helper()
	body := frame[packet.EthernetLen:]
	if a.Is4() {
		p, err := packet.ParseARP(body)
		if err != nil || p.SenderIP != a {
			t.Fatalf("%+v, %v, want something of %s", p, err, a)
		}
		return p.SenderMAC
	}
	ip, err := packet.ParseIP(body)
	if err != nil {
		t.Fatal(err)
	}
	target, mac, _, err := packet.ParseNeighbor(body[ip.HeaderLen:ip.Len], &ip)
	if err != nil || target != a {
		t.Fatalf("%s, %v, want something of %s", target, err, a)
	}
	return mac
}

func TestAVirtualAddressGoesToWhoAnnouncedItLast(t *testing.T) {
	for _, vip := range []netip.Addr{vip4, vip6} {
		e := newExtendedWorld(t, vips, vips)
		e.a.send(plain, gratuitous(aMAC, vip))
		e.settled(e.a)
		if mac := saysMAC(t, e.c.receive().frame, vip); mac != aMAC {
			t.Errorf("c hears that %s is at %s", vip, mac)
		}
		if mac := e.whoHas(vip); mac != aMAC {
			t.Errorf("%s is at %s, want a", vip, mac)
		}
		e.b.send(plain, gratuitous(bMAC, vip))
		e.settled2(e.b)
		if mac := saysMAC(t, e.c.receive().frame, vip); mac != bMAC {
			t.Errorf("c hears that %s has moved to %s", vip, mac)
		}
		if mac := e.whoHas(vip); mac != bMAC {
			t.Errorf("%s is at %s, want b", vip, mac)
		}
		if to, ok := e.net.find(vip); !ok || to.port != e.pb || e.net.Gateway().Owner(vip) != b4 {
			t.Errorf("the gateway sends to %+v, owner %s", to, e.net.Gateway().Owner(vip))
		}
		// Who has lost it does not send from it any more, nor answer for it.
		before := e.pa.Stats().Drops["source_address"]
		e.a.send(plain, to(cMAC, datagramFrame(cMAC, aMAC, ap(vip, 1), ap(map[bool]netip.Addr{true: c4, false: c6}[vip.Is4()], 2), "x")))
		for len(e.a.out) > 0 {
			<-e.a.out
		}
		e.settled(e.a)
		if n := e.pa.Stats().Drops["source_address"]; n != before+1 {
			t.Errorf("drops are %v", e.pa.Stats().Drops)
		}
		e.pb.Close()
		if _, ok := e.net.find(vip); ok {
			t.Error("a closed port still has it")
		}
	}
}

// settled2 is settled for who may have got an announcement before its answer.
func (e *extendedWorld) settled2(m *memory) {
	for len(m.out) > 0 {
		<-m.out
	}
	e.settled(m)
}

// An address that was only configured is found by asking those who may have it.
func TestAVirtualAddressThatNobodyAnnouncedIsAskedFor(t *testing.T) {
	for _, vip := range []netip.Addr{vip4, vip6} {
		e := newExtendedWorld(t, vips, Guard{})
		from := c4
		if vip.Is6() {
			from = c6
		}
		question := asks(cMAC, from, vip)
		e.c.send(plain, question)
		if got := e.a.receive(); string(got.frame) != string(question) {
			t.Errorf("a is asked %x", got.frame)
		}
		e.b.silent()
		answer := replies(aMAC, vip, cMAC, from)
		e.a.send(plain, answer)
		if got := e.c.receive(); string(got.frame) != string(answer) {
			t.Errorf("c is told %x", got.frame)
		}
		if mac := e.whoHas(vip); mac != aMAC { // now it is known
			t.Errorf("%s is at %s", vip, mac)
		}
		e.a.silent()
	}
}

func TestNobodyTakesWhatIsOthers(t *testing.T) {
	nested := Guard{Nested: true}
	for _, c := range []struct {
		name, reason string
		ga, gb       Guard
		frame        []byte // of a
	}{
		{"an address that only b may have", "neighbor", Guard{}, vips, gratuitous(aMAC, vip4)},
		{"the same, behind a bridge", "neighbor", nested, vips, gratuitous(vmMAC, vip4)},
		{"an IPv6 address that only b may have", "source_address", nested, vips, gratuitous(vmMAC, vip6)},
		{"the gateway's address", "neighbor", nested, Guard{}, gratuitous(vmMAC, gw4.Addr())},
		{"the gateway's IPv6 address", "source_address", nested, Guard{}, gratuitous(vmMAC, gw6.Addr())},
		{"a neighbour's address", "neighbor", nested, Guard{}, gratuitous(vmMAC, c4)},
		{"a neighbour's link-local address", "source_address", nested, Guard{}, gratuitous(vmMAC, cMAC.LinkLocal())},
		{"an address outside", "neighbor", nested, Guard{}, gratuitous(vmMAC, out4)},
		{"the broadcast address", "neighbor", nested, Guard{}, gratuitous(vmMAC, here4)},
		{"the network's address", "neighbor", nested, Guard{}, gratuitous(vmMAC, netip.MustParseAddr("172.18.0.0"))},
		{"the gateway's MAC", "source_mac", nested, Guard{}, gratuitous(gwMAC, vm4)},
		{"a neighbour's MAC", "source_mac", nested, Guard{}, gratuitous(cMAC, vm4)},
		{"a group as MAC", "source_mac", nested, Guard{}, gratuitous(packet.MAC{0x01, 0, 0x5e, 0, 0, 1}, vm4)},
		{"no MAC", "source_mac", nested, Guard{}, gratuitous(packet.MAC{}, vm4)},
		{"another MAC, for one with addresses only", "source_mac", vips, Guard{}, gratuitous(vmMAC, vip4)},
		{"a VLAN tag from behind a bridge", "ethertype", nested, Guard{}, tagged(gratuitous(vmMAC, vm4), 0x81, 0, 0, 5)},
		{"a router advertisement from behind a bridge", "neighbor", nested, Guard{}, func() []byte {
			b := from6(vm6, packet.AllNodes, packet.ProtoICMPv6, icmp6(vm6, packet.AllNodes, packet.NDRouterAdvert, make([]byte, 12)...)...)
			copy(b[6:12], vmMAC[:])
			return b
		}()},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newExtendedWorld(t, c.ga, c.gb)
			e.a.send(plain, c.frame)
			e.settled(e.a)
			e.b.silent()
			e.c.silent()
			if d := e.pa.Stats().Drops; d[c.reason] != 1 || len(d) != 1 {
				t.Errorf("drops are %v, want one for %s", d, c.reason)
			}
			if s := e.pa.Stations(); len(s) != 0 {
				t.Errorf("behind a is %v", s)
			}
		})
	}
}

// A VM behind a container talks to its neighbours and to the outside.
func TestAVirtualMachineBehindAPort(t *testing.T) {
	for _, c := range []struct{ vm, peer, gw, out netip.Addr }{{vm4, c4, gw4.Addr(), out4}, {vm6, c6, gw6.Addr(), out6}} {
		e := newExtendedWorld(t, Guard{Nested: true}, Guard{})
		got := make(chan packet.Datagram, 1)
		e.net.Gateway().SetHandlers(Handlers{UDP: func(d packet.Datagram) { got <- d }})
		// It asks for its neighbour, and is answered itself.
		e.a.send(plain, asks(vmMAC, c.vm, c.peer))
		answer := e.a.receive().frame
		if packet.Destination(answer) != vmMAC || saysMAC(t, answer, c.peer) != cMAC {
			t.Errorf("the answer is %x", answer)
		}
		if mac := e.whoHas(c.vm); mac != vmMAC {
			t.Errorf("%s is at %s", c.vm, mac)
		}
		there := datagramFrame(cMAC, vmMAC, ap(c.vm, 1), ap(c.peer, 2), "there")
		e.a.send(plain, there)
		if f := e.c.receive().frame; string(f) != string(there) {
			t.Errorf("c got %x", f)
		}
		back := datagramFrame(vmMAC, cMAC, ap(c.peer, 2), ap(c.vm, 1), "back")
		e.c.send(plain, back)
		if f := e.a.receive().frame; string(f) != string(back) {
			t.Errorf("a got %x", f)
		}
		e.a.send(plain, datagramFrame(gwMAC, vmMAC, ap(c.vm, 1), ap(c.out, 2), "out"))
		if d := <-got; d.Src.Addr() != c.vm || e.net.Gateway().Owner(c.vm) != a4 {
			t.Errorf("a datagram of %s, owner %s", d.Src, e.net.Gateway().Owner(c.vm))
		}
		if err := e.net.Gateway().SendUDP(ap(c.out, 2), ap(c.vm, 1), []byte("in")); err != nil {
			t.Fatal(err)
		}
		if f := e.a.receive().frame; packet.Destination(f) != vmMAC || packet.Source(f) != gwMAC {
			t.Errorf("the gateway's answer is %x", f)
		}
		if s := e.pa.Stations(); len(s) != 1 || s[0] != c.vm {
			t.Errorf("behind a is %v", s)
		}
	}
}

func TestAStationStaysWhereItIs(t *testing.T) {
	e := newExtendedWorld(t, Guard{Nested: true}, Guard{Nested: true})
	e.a.send(plain, gratuitous(vmMAC, vm4))
	e.settled(e.a)
	e.b.send(plain, gratuitous(vmMAC, vm4))
	e.b.send(plain, gratuitous(bMAC, vm4))
	e.settled2(e.b)
	if d := e.pb.Stats().Drops; d["source_mac"] != 1 || d["neighbor"] != 1 {
		t.Errorf("drops are %v", d)
	}
	if mac := e.whoHasAfter(vm4); mac != vmMAC {
		t.Errorf("it is at %s", mac)
	}
	// Silent for long enough it may be elsewhere.
	e.net.stations.mu.Lock()
	for _, s := range e.net.stations.addrs {
		s.seen.Store(time.Now().Add(-stationAge).UnixNano())
	}
	for _, s := range e.net.stations.macs {
		s.seen.Store(time.Now().Add(-stationAge).UnixNano())
	}
	e.net.stations.mu.Unlock()
	e.b.send(plain, gratuitous(vmMAC, vm4))
	e.settled2(e.b)
	if to, ok := e.net.find(vm4); !ok || to.port != e.pb {
		t.Errorf("it is at %+v", to)
	}
}

// whoHasAfter is whoHas for a c that has heard announcements.
func (e *extendedWorld) whoHasAfter(a netip.Addr) packet.MAC {
	for len(e.c.out) > 0 {
		<-e.c.out
	}
	return e.whoHas(a)
}

// Routers of VRRP share a MAC: the master is who sends from it.
func TestAVirtualRoutersMACMovesWithItsMaster(t *testing.T) {
	both := vips
	both.Nested = true
	e := newExtendedWorld(t, both, both)
	for _, c := range []struct {
		m *memory
		p *Port
	}{{e.a, e.pa}, {e.b, e.pb}, {e.a, e.pa}} {
		c.m.send(plain, gratuitous(vrrpMAC, vip4))
		e.settled2(c.m)
		if p := e.net.findMAC(vrrpMAC); p != c.p {
			t.Errorf("%s is at %+v", vrrpMAC, p)
		}
		if to, ok := e.net.find(vip4); !ok || to.port != c.p || to.mac != vrrpMAC {
			t.Errorf("%s is at %+v", vip4, to)
		}
	}
}

func TestOnlySoManyStationsAreRemembered(t *testing.T) {
	e := newExtendedWorld(t, Guard{Nested: true}, Guard{Nested: true})
	e.b.send(plain, gratuitous(packet.MAC{0x52, 0x54, 1}, netip.MustParseAddr("172.18.9.9")))
	e.settled(e.b)
	for i := range byte(100) {
		e.a.send(plain, gratuitous(packet.MAC{0x52, 0x54, 0, 0, 0, i}, netip.AddrFrom4([4]byte{172, 18, 1, i})))
	}
	e.settled2(e.a)
	n := 0
	for _, s := range e.net.stations.macs {
		if s.port == e.pa {
			n++
		}
	}
	last := netip.AddrFrom4([4]byte{172, 18, 1, 99})
	if s := e.pa.Stations(); len(s) != 8 || s[7] != last || n != 8 {
		t.Errorf("behind a: %v and %d MACs, want 8 of each", s, n)
	}
	if s := e.pb.Stations(); len(s) != 1 {
		t.Errorf("behind b: %v", s)
	}
}

// Moving an address makes everybody else listen: it is not to be had for nothing.
func TestClaimsArePaced(t *testing.T) {
	e := newExtendedWorld(t, vips, vips)
	for range 200 {
		e.a.send(plain, gratuitous(aMAC, vip4))
		e.b.send(plain, gratuitous(bMAC, vip4))
		for len(e.a.out)+len(e.b.out)+len(e.c.out) > 30 {
			for _, m := range []*memory{e.a, e.b, e.c} {
				for len(m.out) > 0 {
					<-m.out
				}
			}
		}
	}
	e.settled2(e.b)
	if n := e.pa.Stats().Drops["paced"] + e.pb.Stats().Drops["paced"]; n == 0 {
		t.Error("none of 400 was refused")
	}
}

func TestAnEndpointTakesItsAddressBackFromAStation(t *testing.T) {
	e := newExtendedWorld(t, Guard{Nested: true}, Guard{})
	d4 := netip.MustParseAddr("172.18.0.5")
	e.a.send(plain, gratuitous(vmMAC, d4))
	e.settled(e.a)
	m := newMemory(t)
	p, err := e.net.AddPort(PortOptions{Name: "d", MAC: packet.MACFromIPv4(d4), Addresses: []netip.Addr{d4}, Device: m})
	if err != nil {
		t.Fatal(err)
	}
	if to, ok := e.net.find(d4); !ok || to.port != p || len(e.pa.Stations()) != 0 {
		t.Errorf("it is at %+v; behind a is %v", to, e.pa.Stations())
	}
}

func TestTheGatewayAsksForAForgottenStation(t *testing.T) {
	for _, c := range []struct{ vm, gw, out netip.Addr }{{vm4, gw4.Addr(), out4}, {vm6, gw6.Addr(), out6}} {
		e := newExtendedWorld(t, Guard{Nested: true}, Guard{})
		if err := e.net.Gateway().SendUDP(ap(c.out, 1), ap(c.vm, 2), nil); err == nil {
			t.Error("sent to nobody")
		}
		question := e.a.receive().frame
		if packet.Source(question) != gwMAC {
			t.Fatalf("a got %x", question)
		}
		e.a.send(plain, replies(vmMAC, c.vm, gwMAC, c.gw))
		e.settled(e.a)
		if err := e.net.Gateway().SendUDP(ap(c.out, 1), ap(c.vm, 2), nil); err != nil {
			t.Error(err)
		}
		if f := e.a.receive().frame; packet.Destination(f) != vmMAC {
			t.Errorf("a got %x", f)
		}
	}
}

func TestGuardsOutsideTheNetworkAreRefused(t *testing.T) {
	w := newWorld(t, false)
	for _, p := range []netip.Prefix{{}, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("172.0.0.0/8"),
		netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("fd00:1::9/128")} {
		m := newMemory(t)
		_, err := w.net.AddPort(PortOptions{MAC: cMAC, Addresses: c(), Device: m, Guard: Guard{Addresses: []netip.Prefix{p}}})
		if !errors.Is(err, ErrGuard) {
			t.Errorf("%s: %v, want ErrGuard", p, err)
		}
		select {
		case <-m.done:
		default:
			t.Errorf("%s: the refused device was not closed", p)
		}
	}
}

// One that asks for addresses that nobody has does not use up what the gateway may ask.
func TestWhoMakesTheGatewayAskIsPaced(t *testing.T) {
	w := newApart(t, Guard{Nested: true})
	for i := range 50 {
		w.b.send(plain, asks(bMAC, b4, vm4))
		if i == 0 {
			saysTarget(t, w.a.receive().frame, vm4)
		}
	}
	w.settle(w.b, bMAC, b4)
	n := 1
	for ; len(w.a.out) > 0; n++ {
		<-w.a.out
	}
	if n > askRate.burst+1 {
		t.Errorf("the gateway has asked %d times for one container", n)
	}
	w.c.send(plain, asks(cMAC, c4, vm4))
	saysTarget(t, w.a.receive().frame, vm4)
}

// saysTarget reads for whom an ARP request asks.
func saysTarget(t testing.TB, frame []byte, a netip.Addr) {
	t.Helper()
	p, err := packet.ParseARP(frame[packet.EthernetLen:])
	if err != nil || p.TargetIP != a || p.SenderMAC != gwMAC {
		t.Errorf("%+v, %v, want a question of the gateway for %s", p, err, a)
	}
}
