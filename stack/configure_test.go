package stack

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

var (
	nobody4   = netip.IPv4Unspecified()
	all6      = packet.MulticastMAC(packet.AllDHCPServers)
	routers6  = packet.MulticastMAC(packet.AllRouters)
	dhcpAsk4  = datagramFrame(packet.Broadcast, aMAC, ap(nobody4, 68), ap(packet.LimitedBroadcast, 67), "question")
	dhcpAsk6  = datagramFrame(all6, aMAC, ap(aMAC.LinkLocal(), 546), ap(packet.AllDHCPServers, 547), "question")
	routerAsk = to(routers6, from6(aMAC.LinkLocal(), packet.AllRouters, packet.ProtoICMPv6,
		icmp6(aMAC.LinkLocal(), packet.AllRouters, packet.NDRouterSolicit, join([]byte{0, 0, 0, 0, 1, 1}, aMAC[:])...)...))
)

// listen notes the questions of each kind.
func listen(w *world) (four, six, router *[]Question) {
	four, six, router = new([]Question), new([]Question), new([]Question)
	note := func(list *[]Question) func(Question) {
		return func(q Question) { q.Message = slices.Clone(q.Message); *list = append(*list, q) }
	}
	w.net.Gateway().SetConfigurer(Configurer{DHCPv4: note(four), DHCPv6: note(six), RouterSolicit: note(router)})
	return four, six, router
}

func TestQuestionsOfStationsAreHeardByTheGatewayAlone(t *testing.T) {
	w := newWorld(t, true)
	four, six, router := listen(w)
	for _, c := range []struct {
		name  string
		frame []byte
		list  *[]Question
		src   netip.Addr
	}{
		{"DHCPv4 from no address", dhcpAsk4, four, nobody4},
		{"DHCPv4 from its own, to all", datagramFrame(packet.Broadcast, aMAC, ap(a4, 68), ap(packet.LimitedBroadcast, 67), "question"), four, a4},
		{"DHCPv4 from its own, to the subnet", datagramFrame(packet.Broadcast, aMAC, ap(a4, 68), ap(lastOf(gw4), 67), "question"), four, a4},
		{"DHCPv4 from its own, to the gateway", datagramFrame(gwMAC, aMAC, ap(a4, 68), ap(gw4.Addr(), 67), "question"), four, a4},
		{"DHCPv6", dhcpAsk6, six, aMAC.LinkLocal()},
		{"a router solicitation", routerAsk, router, aMAC.LinkLocal()},
	} {
		*c.list = nil
		w.a.send(plain, c.frame)
		w.settle(w.a, aMAC, a4)
		w.b.silent()
		if len(*c.list) != 1 || (*c.list)[0].Port != w.pa || (*c.list)[0].MAC != aMAC || (*c.list)[0].Src != c.src {
			t.Errorf("%s: %+v", c.name, *c.list)
		} else if m := (*c.list)[0].Message; c.list != router && string(m) != "question" {
			t.Errorf("%s: message %q", c.name, m)
		}
	}
	if d := w.pa.Stats().Drops; len(d) != 0 {
		t.Errorf("drops: %v", d)
	}
}

func TestWhatIsNoQuestionIsDropped(t *testing.T) {
	broken := func(b []byte) []byte { b = slices.Clone(b); b[len(b)-1]++; return b }
	solicit := func(dst netip.Addr, option ...byte) []byte {
		return to(packet.MulticastMAC(dst), from6(aMAC.LinkLocal(), dst, packet.ProtoICMPv6,
			icmp6(aMAC.LinkLocal(), dst, packet.NDRouterSolicit, append([]byte{0, 0, 0, 0}, option...)...)...))
	}
	for _, c := range []struct {
		name, reason string
		frame        []byte
	}{
		{"from no address, of another port", "source_address", datagramFrame(packet.Broadcast, aMAC, ap(nobody4, 1068), ap(packet.LimitedBroadcast, 67), "x")},
		{"from no address, to another port", "source_address", datagramFrame(packet.Broadcast, aMAC, ap(nobody4, 68), ap(packet.LimitedBroadcast, 68), "x")},
		{"from no address, to one", "source_address", datagramFrame(bMAC, aMAC, ap(nobody4, 68), ap(b4, 67), "x")},
		{"from no address, to the gateway", "source_address", datagramFrame(gwMAC, aMAC, ap(nobody4, 68), ap(gw4.Addr(), 67), "x")},
		{"from a neighbour's", "source_address", datagramFrame(packet.Broadcast, aMAC, ap(b4, 68), ap(packet.LimitedBroadcast, 67), "x")},
		{"from a neighbour's MAC", "source_mac", datagramFrame(packet.Broadcast, bMAC, ap(nobody4, 68), ap(packet.LimitedBroadcast, 67), "x")},
		{"an answer", "neighbor", datagramFrame(packet.Broadcast, aMAC, ap(a4, 67), ap(packet.LimitedBroadcast, 68), "x")},
		{"an answer of DHCPv6", "neighbor", datagramFrame(all6, aMAC, ap(aMAC.LinkLocal(), 547), ap(packet.AllNodes, 546), "x")},
		{"a wrong checksum", "malformed", broken(dhcpAsk4)},
		{"a wrong checksum of DHCPv6", "malformed", broken(dhcpAsk6)},
		{"a wrong checksum of a solicitation", "malformed", broken(routerAsk)},
		{"a solicitation for another's MAC", "neighbor", solicit(packet.AllRouters, join([]byte{1, 1}, bMAC[:])...)},
		{"a solicitation to all nodes", "multicast", solicit(packet.AllNodes)},
	} {
		w := newWorld(t, true)
		four, six, router := listen(w)
		w.a.send(plain, c.frame)
		w.settle(w.a, aMAC, a4)
		w.b.silent()
		if n := len(*four) + len(*six) + len(*router); n != 0 || w.pa.Stats().Drops[c.reason] != 1 {
			t.Errorf("%s: %d questions, drops %v, want %s", c.name, n, w.pa.Stats().Drops, c.reason)
		}
	}
}

func TestWithoutAnybodyToAskNobodyIsAsked(t *testing.T) {
	w := newWorld(t, true)
	w.a.send(plain, dhcpAsk4)
	w.a.send(plain, routerAsk)
	w.settle(w.a, aMAC, a4)
	w.b.silent()
	if d := w.pa.Stats().Drops; d["source_address"] != 1 || d["multicast"] != 1 {
		t.Errorf("drops: %v", d)
	}
}

func TestQuestionsArePaced(t *testing.T) {
	w := newWorld(t, true)
	four, _, _ := listen(w)
	for range 3 * questionRate.burst {
		w.a.send(plain, dhcpAsk4)
	}
	w.settle(w.a, aMAC, a4)
	if n := len(*four); n < questionRate.burst || n > 2*questionRate.burst || w.pa.Stats().Drops["paced"] == 0 {
		t.Errorf("%d questions were heard, drops %v", n, w.pa.Stats().Drops)
	}
}

func TestAnswersGoToWhoHasAskedAlone(t *testing.T) {
	w := newWorld(t, true)
	g := w.net.Gateway()
	if err := g.SendFrom(ap(gw4.Addr(), 67), w.pa, packet.Broadcast, ap(packet.LimitedBroadcast, 68), []byte("offer")); err != nil {
		t.Fatal(err)
	}
	got := w.a.receive()
	body := got.frame[packet.EthernetLen:]
	ip, err := packet.ParseIP(body)
	if err != nil || got.hdr != plain || packet.Source(got.frame) != gwMAC || packet.Destination(got.frame) != packet.Broadcast ||
		!packet.TransportValid(body, &ip) || string(body[ip.HeaderLen+packet.UDPLen:]) != "offer" {
		t.Errorf("%x %x: %v", got.hdr, got.frame, err)
	}
	if err := g.Advertise(w.pa, packet.MAC{}, packet.AllNodes, []byte{packet.NDRouterAdvert, 0, 0, 0, 64, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	frame := w.a.receive().frame
	if ip, err = packet.ParseIP(frame[packet.EthernetLen:]); err != nil || ip.Src != gwMAC.LinkLocal() || ip.TTL != 255 ||
		packet.Destination(frame) != packet.MulticastMAC(packet.AllNodes) || !packet.TransportValid(frame[packet.EthernetLen:], &ip) {
		t.Errorf("%+v, %v", ip, err)
	}
	w.b.silent()
	if err := g.SendFrom(ap(gw4.Addr(), 67), w.pa, aMAC, ap(a4, 68), make([]byte, 70000)); err == nil {
		t.Error("an answer that is no datagram")
	}
}

// A router is known by its link-local address: hosts ask who has it, and nobody else may say so.
func TestTheGatewayHasALinkLocalAddress(t *testing.T) {
	e := newExtendedWorld(t, Guard{Nested: true}, Guard{})
	router := gwMAC.LinkLocal()
	e.a.send(plain, solicit(a6, router))
	frame := e.a.receive().frame
	body := frame[packet.EthernetLen:]
	ip, err := packet.ParseIP(body)
	if err != nil {
		t.Fatal(err)
	}
	if target, mac, _, err := packet.ParseNeighbor(body[ip.HeaderLen:ip.Len], &ip); err != nil || target != router || mac != gwMAC {
		t.Errorf("who has %s: %s at %s, %v", router, target, mac, err)
	}
	e.a.send(plain, to(packet.MulticastMAC(packet.AllNodes), gratuitous(aMAC, router)))
	e.settled(e.a)
	if d := e.pa.Stats().Drops; d["source_address"] != 1 {
		t.Errorf("it is claimed: drops %v", d)
	}
	// It answers ping, as any router's.
	e.a.send(plain, echoFrame(router))
	frame = e.a.receive().frame
	if ip, err = packet.ParseIP(frame[packet.EthernetLen:]); err != nil || ip.Src != router || frame[packet.EthernetLen+ip.HeaderLen] != packet.ICMPv6EchoReply {
		t.Errorf("%+v, %v", ip, err)
	}
}

func echoFrame(dst netip.Addr) []byte {
	src := aMAC.LinkLocal()
	return to(gwMAC, from6(src, dst, packet.ProtoICMPv6, icmp6(src, dst, packet.ICMPv6EchoRequest, 0, 1, 0, 1)...))
}

func TestALentAddressStaysAStationsHoweverSilentItIs(t *testing.T) {
	for _, a := range []netip.Addr{vm4, vm6} {
		e := newExtendedWorld(t, Guard{Nested: true}, Guard{Nested: true})
		if !e.pa.Free(vmMAC, a) || !e.pb.Free(vmMAC, a) {
			t.Fatalf("%s is not free", a)
		}
		e.pa.Lend(vmMAC, a, time.Now().Add(time.Hour))
		silence(e.net)
		other := packet.MAC{0x52, 0x54, 0, 0, 0, 9}
		if e.pb.Free(other, a) || e.pa.Free(other, a) || !e.pa.Free(vmMAC, a) {
			t.Errorf("%s is lent, and free for others", a)
		}
		if h, ok := e.net.find(a); !ok || h != (hop{e.pa, vmMAC}) {
			t.Errorf("%s is at %+v", a, h)
		}
		if e.pb.speaksFor(a, true) {
			t.Errorf("another may take %s", a)
		}
		if e.pb.mayMAC(vmMAC) || e.net.findMAC(vmMAC) != e.pa {
			t.Errorf("another may take the MAC that %s is known by", a)
		}
		e.pa.TakeBack(other, a)
		if e.pb.Free(other, a) {
			t.Errorf("another has given %s back", a)
		}
		e.pa.TakeBack(vmMAC, a)
		if !e.pb.Free(other, a) {
			t.Errorf("%s is given back and not free", a)
		}
		if silence(e.net); !e.pb.mayMAC(vmMAC) {
			t.Errorf("%s is given back, its MAC is not", a)
		}
		e.pa.Lend(vmMAC, a, time.Now().Add(-time.Second))
		silence(e.net)
		if !e.pb.Free(other, a) {
			t.Errorf("what %s was lent for is over", a)
		}
	}
}

// Whatever a station asks for, these are nobody's to have.
func TestAddressesThatCannotBeLent(t *testing.T) {
	e := newExtendedWorld(t, Guard{Nested: true}, vips)
	for _, a := range []netip.Addr{gw4.Addr(), gw6.Addr(), b4, b6, c4, c6, a4, vip4, vip6, lastOf(gw4), gw4.Masked().Addr(), netip.MustParseAddr("10.0.0.1"), packet.LimitedBroadcast} {
		if e.pa.Free(vmMAC, a) {
			t.Errorf("%s is free", a)
		}
	}
	if e.pa.Free(bMAC, vm4) || e.pc.Free(vmMAC, vm4) {
		t.Error("free for another's MAC, or behind a port that has nobody behind it")
	}
}

// silence makes all stations look as if they had been silent for too long.
func silence(n *Network) {
	n.stations.mu.Lock()
	defer n.stations.mu.Unlock()
	for _, s := range n.stations.addrs {
		s.seen.Store(time.Now().Add(-stationAge).UnixNano())
	}
	for _, s := range n.stations.macs {
		s.seen.Store(time.Now().Add(-stationAge).UnixNano())
	}
}

// A station with addresses of both families has its MAC as long as either.
func TestAMACIsAStationsAsLongAsAnyOfItsAddresses(t *testing.T) {
	e := newExtendedWorld(t, Guard{Nested: true}, Guard{Nested: true})
	for _, a := range []netip.Addr{vm4, vm6} {
		e.pa.Lend(vmMAC, a, time.Now().Add(time.Hour))
	}
	silence(e.net)
	e.pa.TakeBack(vmMAC, vm4)
	if e.pb.mayMAC(vmMAC) {
		t.Error("another may take the MAC, of which an address is lent")
	}
	e.pa.TakeBack(vmMAC, vm6)
	if !e.pb.mayMAC(vmMAC) {
		t.Error("nothing is lent, and the MAC is nobody else's")
	}
}
