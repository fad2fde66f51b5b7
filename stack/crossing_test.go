package stack

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// The open network, and its container.
var (
	openGW4, openGW6 = netip.MustParsePrefix("172.19.0.1/16"), netip.MustParsePrefix("fd00:2::1/64")
	o4, o6           = netip.MustParseAddr("172.19.0.2"), netip.MustParseAddr("fd00:2::2")
	oMAC             = packet.MACFromIPv4(o4)
	openMAC          = packet.MACFromIPv4(openGW4.Addr())
)

// crossWorld is a network of the usual kind, and one that is open to it.
type crossWorld struct {
	near, open *Network
	a, o       *memory // containers: of near, of open
	pa, po     *Port
}

func newCrossWorld(t testing.TB, near, open Options) *crossWorld {
	t.Helper()
	w := &crossWorld{a: newMemory(t), o: newMemory(t)}
	network := func(o Options) *Network {
		n, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		return n
	}
	add := func(n *Network, m *memory, mac packet.MAC, addrs ...netip.Addr) *Port {
		p, err := n.AddPort(PortOptions{Name: "c", MAC: mac, Addresses: addrs, Device: m, Limits: Limits{CrossUDP: 2, CrossHalfOpen: 2, CrossEcho: 1}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	near.Gateway4, near.Gateway6 = gw4, gw6
	open.Gateway4, open.Gateway6 = openGW4, openGW6
	w.near, w.open = network(near), network(open)
	w.pa, w.po = add(w.near, w.a, aMAC, a4, a6), add(w.open, w.o, oMAC, o4, o6)
	return w
}

func opened(t testing.TB) *crossWorld {
	c := new(Crossing)
	return newCrossWorld(t, Options{Crossing: c}, Options{Crossing: c, Open4: true, Open6: true})
}

// drain waits until what the containers have sent is where it goes, and gives other what
// they have got besides, with the address of their gateway.
func (w *crossWorld) drain(other func(m *memory, gateway netip.Addr, got sent)) {
	for _, s := range []struct {
		m       *memory
		mac     packet.MAC
		a       netip.Addr
		gateway netip.Addr
	}{{w.a, aMAC, a4, gw4.Addr()}, {w.o, oMAC, o4, openGW4.Addr()}} {
		s.m.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: s.mac, SenderIP: s.a, TargetIP: s.gateway}))
		for {
			got := s.m.receive()
			if a, err := packet.ParseARP(got.frame[packet.EthernetLen:]); err == nil && a.Op == packet.ARPReply {
				break
			}
			other(s.m, s.gateway, got)
		}
	}
}

// settle is drain where the containers must have got nothing.
func (w *crossWorld) settle() {
	w.drain(func(m *memory, _ netip.Addr, _ sent) { m.t.Error("a container got what is not for it") })
}

// crosses sends a frame, and fails unless it arrives with one hop less.
func crosses(t testing.TB, what string, from, to *memory, hdr [vnet.Len]byte, frame []byte) {
	t.Helper()
	from.send(hdr, frame)
	got := to.receive()
	body, sent := got.frame[packet.EthernetLen:], frame[packet.EthernetLen:]
	ip, err := packet.ParseIP(body)
	was, _ := packet.ParseIP(sent)
	if err != nil || ip.TTL != was.TTL-1 || ip.Src != was.Src || ip.Dst != was.Dst || !packet.HeaderValid(body, &ip) || got.hdr != hdr ||
		!bytes.Equal(body[ip.HeaderLen:], sent[was.HeaderLen:]) {
		t.Errorf("%s: %x %x, was %x", what, got.hdr, got.frame, frame)
	}
	if ip.Dst == o4 || ip.Dst == o6 {
		if packet.Destination(got.frame) != oMAC || packet.Source(got.frame) != openMAC {
			t.Errorf("%s: MACs of %x", what, got.frame)
		}
	} else if packet.Destination(got.frame) != aMAC || packet.Source(got.frame) != gwMAC {
		t.Errorf("%s: MACs of %x", what, got.frame)
	}
}

// echoAnswer makes the reply to echoRequest.
func echoAnswer(dstMAC, srcMAC packet.MAC, src, dst netip.Addr) []byte {
	return packet.EchoFrame(dstMAC, srcMAC, src, dst, 7, 1, []byte("x"))
}

func TestAnOpenNetworkIsReachedAndAnswers(t *testing.T) {
	for _, f := range []struct{ a, o netip.Addr }{{a4, o4}, {a6, o6}} {
		w := opened(t)
		crosses(t, "SYN", w.a, w.o, plain, segment(gwMAC, aMAC, ap(f.a, 1000), ap(f.o, 80), synFlag))
		crosses(t, "SYN-ACK", w.o, w.a, plain, segment(openMAC, oMAC, ap(f.o, 80), ap(f.a, 1000), synFlag|ackFlag))
		crosses(t, "segment", w.a, w.o, plain, segment(gwMAC, aMAC, ap(f.a, 1000), ap(f.o, 80), ackFlag))
		crosses(t, "FIN", w.o, w.a, plain, segment(openMAC, oMAC, ap(f.o, 80), ap(f.a, 1000), finFlag|ackFlag))
		crosses(t, "datagram", w.a, w.o, plain, datagramFrame(gwMAC, aMAC, ap(f.a, 1000), ap(f.o, 53), "x"))
		crosses(t, "answer", w.o, w.a, plain, datagramFrame(openMAC, oMAC, ap(f.o, 53), ap(f.a, 1000), "x"))
		crosses(t, "error", w.o, w.a, plain, aboutUDP(openMAC, oMAC, f.o, f.a, 1000, 53))
		crosses(t, "error about an answer", w.a, w.o, plain, aboutUDP(gwMAC, aMAC, f.a, f.o, 53, 1000))
		crosses(t, "ping", w.a, w.o, plain, echoRequest(f.a, f.o, "x"))
		crosses(t, "pong", w.o, w.a, plain, echoAnswer(openMAC, oMAC, f.o, f.a))
		w.settle()
	}
}

// What a super-frame leaves to be done goes with it.
func TestSuperFramesCross(t *testing.T) {
	w := opened(t)
	crosses(t, "SYN", w.a, w.o, plain, segment(gwMAC, aMAC, ap(a4, 1000), ap(o4, 80), synFlag))
	f := append(segment(gwMAC, aMAC, ap(a4, 1000), ap(o4, 80), ackFlag), make([]byte, 20000)...)
	packet.PutIPv4(f[packet.EthernetLen:], a4, o4, packet.ProtoTCP, 64, len(f)-packet.EthernetLen)
	var hdr [vnet.Len]byte
	vnet.Header{Flags: vnet.NeedsCsum, GSOType: vnet.GSOTCPv4, HdrLen: 54, GSOSize: 1448, CsumStart: 34, CsumOffset: 16}.Encode(&hdr)
	crosses(t, "super-frame", w.a, w.o, hdr, f)
}

func TestNothingElseCrosses(t *testing.T) {
	closed := func(t testing.TB) *crossWorld {
		return newCrossWorld(t, Options{Crossing: new(Crossing)}, Options{Crossing: new(Crossing), Open4: true, Open6: true})
	}
	nat := func(t testing.TB) *crossWorld {
		c := new(Crossing)
		return newCrossWorld(t, Options{Crossing: c}, Options{Crossing: c})
	}
	internal := func(t testing.TB) *crossWorld {
		return newCrossWorld(t, Options{}, Options{Crossing: new(Crossing), Open4: true, Open6: true})
	}
	only4 := func(t testing.TB) *crossWorld {
		c := new(Crossing)
		return newCrossWorld(t, Options{Crossing: c}, Options{Crossing: c, Open4: true})
	}
	begun := func(t testing.TB) *crossWorld {
		w := opened(t)
		for _, f := range []struct{ a, o netip.Addr }{{a4, o4}, {a6, o6}} {
			crosses(t, "SYN", w.a, w.o, plain, segment(gwMAC, aMAC, ap(f.a, 1000), ap(f.o, 80), synFlag))
			crosses(t, "datagram", w.a, w.o, plain, datagramFrame(gwMAC, aMAC, ap(f.a, 1000), ap(f.o, 53), "x"))
		}
		crosses(t, "ping", w.a, w.o, plain, echoRequest(a4, o4, "x"))
		return w
	}
	for _, f := range []struct {
		name        string
		a, o        netip.Addr
		gateway, og netip.Addr
	}{{"IPv4", a4, o4, gw4.Addr(), openGW4.Addr()}, {"IPv6", a6, o6, gw6.Addr(), openGW6.Addr()}} {
		forth := datagramFrame(gwMAC, aMAC, ap(f.a, 1), ap(f.o, 80), "x")
		back := datagramFrame(openMAC, oMAC, ap(f.o, 80), ap(f.a, 1), "x")
		for _, x := range []struct {
			name  string
			world func(testing.TB) *crossWorld
			back  bool // sent by o
			frame []byte
		}{
			{"to a network of another crossing", closed, false, forth},
			{"to a network that is not open", nat, false, forth},
			{"from a network without a crossing", internal, false, forth},
			{"from the open network", opened, true, back},
			{"a SYN from the open network", opened, true, segment(openMAC, oMAC, ap(f.o, 80), ap(f.a, 1000), synFlag)},
			{"a ping from the open network", opened, true, from(oMAC, to(openMAC, echoRequest(f.o, f.a, "x")))},
			{"a SYN in a connection's place", begun, true, segment(openMAC, oMAC, ap(f.o, 80), ap(f.a, 1000), synFlag)},
			{"from another port", begun, true, datagramFrame(openMAC, oMAC, ap(f.o, 54), ap(f.a, 1000), "x")},
			{"to another port", begun, true, datagramFrame(openMAC, oMAC, ap(f.o, 53), ap(f.a, 1001), "x")},
			{"a ping in the place of an answer", begun, true, from(oMAC, to(openMAC, echoRequest(f.o, f.a, "x")))},
			{"an error about nothing", opened, true, aboutUDP(openMAC, oMAC, f.o, f.a, 1000, 53)},
			{"an error about nothing, forth", opened, false, aboutUDP(gwMAC, aMAC, f.a, f.o, 1000, 53)},
			{"a segment of no connection", opened, false, segment(gwMAC, aMAC, ap(f.a, 1000), ap(f.o, 80), ackFlag)},
			{"another protocol", opened, false, from(aMAC, to(gwMAC, ipFrame(f.a, f.o, 47, 64, cutPart)))},
			{"to the other's gateway", opened, false, datagramFrame(gwMAC, aMAC, ap(f.a, 1), ap(f.og, 53), "x")},
			{"to the other's gateway, a ping", opened, false, echoRequest(f.a, f.og, "x")},
		} {
			t.Run(f.name+" "+x.name, func(t *testing.T) {
				w := x.world(t)
				sender := w.a
				if x.back {
					sender = w.o
				}
				sender.send(plain, x.frame)
				drainOwn(w) // a reset or an error of its own gateway is no harm
				if x.back && len(w.a.out) > 0 || !x.back && len(w.o.out) > 0 {
					t.Error("it has crossed")
				}
			})
		}
	}
	w := only4(t)
	w.a.send(plain, datagramFrame(gwMAC, aMAC, ap(a6, 1), ap(o6, 80), "x"))
	w.settle()
	crosses(t, "IPv4", w.a, w.o, plain, datagramFrame(gwMAC, aMAC, ap(a4, 1), ap(o4, 80), "x"))
}

// drainOwn is drain that takes what the containers' own gateways have said, and leaves the
// rest to be received.
func drainOwn(w *crossWorld) {
	rest := map[*memory][]sent{}
	w.drain(func(m *memory, gateway netip.Addr, got sent) {
		ip, err := packet.ParseIP(got.frame[packet.EthernetLen:])
		_, _, isError := packet.QuotedBy(got.frame[packet.EthernetLen+ip.HeaderLen:], &ip)
		reset := ip.Proto == packet.ProtoTCP && got.frame[packet.EthernetLen+ip.HeaderLen+13]&rstFlag != 0
		own := ip.Src == gateway || ip.Src == gw6.Addr() || ip.Src == openGW6.Addr()
		if err != nil || !reset && !(own && isError) {
			rest[m] = append(rest[m], got)
		}
	})
	for m, list := range rest {
		for _, got := range list {
			m.out <- got
		}
	}
}

// To its own containers a network is no more open than without a Crossing.
func TestAnOpenNetworkIsNoWayRoundItsOwnRules(t *testing.T) {
	c := new(Crossing)
	w := newCrossWorld(t, Options{Crossing: c}, Options{Crossing: c, Open4: true, Open6: true, NoICC: true})
	m := newMemory(t)
	p4, p6 := o4.Next(), o6.Next()
	if _, err := w.open.AddPort(PortOptions{Name: "p", MAC: packet.MACFromIPv4(p4), Addresses: []netip.Addr{p4, p6}, Device: m}); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ src, dst netip.Addr }{{o4, p4}, {o6, p6}} {
		w.o.send(plain, datagramFrame(openMAC, oMAC, ap(x.src, 1), ap(x.dst, 80), "x"))
		w.o.send(plain, segment(openMAC, oMAC, ap(x.src, 1), ap(x.dst, 80), synFlag))
		w.o.send(plain, from(oMAC, to(openMAC, echoRequest(x.src, x.dst, "x"))))
	}
	w.settle()
	m.silent()
}

func TestAnAddressThatNobodyHasIsTold(t *testing.T) {
	w := opened(t)
	for _, x := range []struct{ src, dst netip.Addr }{{a4, o4.Next()}, {a6, o6.Next()}} {
		w.a.send(plain, datagramFrame(gwMAC, aMAC, ap(x.src, 1), ap(x.dst, 80), "x"))
		body := w.a.receive().frame[packet.EthernetLen:]
		ip, _ := packet.ParseIP(body)
		if _, dst, isError := packet.QuotedBy(body[ip.HeaderLen:], &ip); !isError || dst != x.dst {
			t.Errorf("%x", body)
		}
	}
}

func TestAnOpenNetworksMTUIsTold(t *testing.T) {
	c := new(Crossing)
	w := newCrossWorld(t, Options{Crossing: c}, Options{Crossing: c, Open4: true, Open6: true, MTU: 1400})
	for _, x := range []struct{ src, dst netip.Addr }{{a4, o4}, {a6, o6}} {
		w.a.send(plain, datagramFrame(gwMAC, aMAC, ap(x.src, 1), ap(x.dst, 80), string(make([]byte, 1420))))
		body := w.a.receive().frame[packet.EthernetLen:]
		ip, _ := packet.ParseIP(body)
		m := body[ip.HeaderLen:]
		if _, dst, isError := packet.QuotedBy(m, &ip); !isError || dst != x.dst || binary.BigEndian.Uint32(m[4:]) != 1400 {
			t.Errorf("%x", body)
		}
	}
	w.settle()
}

func TestFlowsToOtherNetworksAreBounded(t *testing.T) {
	w := opened(t)
	send := func(n int, frame func(port uint16) []byte) {
		for i := range n {
			w.a.send(plain, frame(uint16(1000+i)))
		}
		w.a.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: a4, TargetIP: gw4.Addr()}))
		w.a.receive()
	}
	count := func(want int, what string) {
		t.Helper()
		if got := len(w.o.out); got != want {
			t.Errorf("%d %s have crossed, want %d", got, what, want)
		}
		for len(w.o.out) > 0 {
			<-w.o.out
		}
	}
	send(4, func(p uint16) []byte { return datagramFrame(gwMAC, aMAC, ap(a4, p), ap(o4, 53), "x") })
	count(2, "UDP flows")
	send(4, func(p uint16) []byte { return segment(gwMAC, aMAC, ap(a6, p), ap(o6, 80), synFlag) })
	count(2, "unanswered connections")
	send(2, func(p uint16) []byte { return datagramFrame(gwMAC, aMAC, ap(a4, 1000), ap(o4, 53), "x") })
	count(2, "datagrams of a flow")
	if s := w.pa.Stats(); s.Drops["flows"] != 4 || s.CrossUDP != 2 || s.CrossTCP != 2 {
		t.Errorf("%+v", s)
	}
	// An answer makes room for one more.
	crosses(t, "SYN-ACK", w.o, w.a, plain, segment(openMAC, oMAC, ap(o6, 80), ap(a6, 1000), synFlag|ackFlag))
	send(1, func(uint16) []byte { return segment(gwMAC, aMAC, ap(a6, 2000), ap(o6, 80), synFlag) })
	count(1, "connections more")
	// And so does time.
	w.open.crossed.expire(time.Now().Add(time.Minute))
	if s := w.pa.Stats(); s.CrossUDP != 0 || s.CrossTCP != 3 {
		t.Errorf("after a minute: %+v", s)
	}
	w.open.crossed.expire(time.Now().Add(3 * time.Hour))
	if s := w.pa.Stats(); s.CrossTCP != 0 || w.pa.crossing.half.Load() != 0 || len(w.open.crossed.flows) != 0 {
		t.Errorf("after hours: %+v", s)
	}
}

func TestFlowsLastAsLongAsTheirKind(t *testing.T) {
	w := opened(t)
	crosses(t, "SYN", w.a, w.o, plain, segment(gwMAC, aMAC, ap(a4, 1000), ap(o4, 80), synFlag))
	crosses(t, "SYN-ACK", w.o, w.a, plain, segment(openMAC, oMAC, ap(o4, 80), ap(a4, 1000), synFlag|ackFlag))
	alive := func(after time.Duration) bool {
		w.open.crossed.expire(time.Now().Add(after))
		return len(w.open.crossed.flows) > 0
	}
	if !alive(flowNew) || !alive(time.Hour) {
		t.Fatal("an open connection is forgotten")
	}
	crosses(t, "FIN", w.a, w.o, plain, segment(gwMAC, aMAC, ap(a4, 1000), ap(o4, 80), finFlag|ackFlag))
	if !alive(time.Hour) {
		t.Fatal("a half-closed connection is forgotten")
	}
	crosses(t, "FIN", w.o, w.a, plain, segment(openMAC, oMAC, ap(o4, 80), ap(a4, 1000), finFlag|ackFlag))
	crosses(t, "last ACK", w.a, w.o, plain, segment(gwMAC, aMAC, ap(a4, 1000), ap(o4, 80), ackFlag))
	// The port is used again at once.
	crosses(t, "SYN", w.a, w.o, plain, segment(gwMAC, aMAC, ap(a4, 1000), ap(o4, 80), synFlag))
	if alive(flowNew) {
		t.Error("a connection that nobody answers lasts")
	}
}

// A flow ends with its ports: who has the address of one next gets none of its packets.
func TestFlowsEndWithTheirPorts(t *testing.T) {
	w := opened(t)
	crosses(t, "datagram", w.a, w.o, plain, datagramFrame(gwMAC, aMAC, ap(a4, 1000), ap(o4, 53), "x"))
	w.pa.Close()
	next := newMemory(t)
	if _, err := w.near.AddPort(PortOptions{Name: "next", MAC: aMAC, Addresses: []netip.Addr{a4}, Device: next}); err != nil {
		t.Fatal(err)
	}
	w.o.send(plain, datagramFrame(openMAC, oMAC, ap(o4, 53), ap(a4, 1000), "late"))
	w.o.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: oMAC, SenderIP: o4, TargetIP: openGW4.Addr()}))
	w.o.receive()
	next.silent()
	w.a = next
	crosses(t, "a flow of its own", w.a, w.o, plain, datagramFrame(gwMAC, aMAC, ap(a4, 1000), ap(o4, 53), "x"))
	crosses(t, "answer", w.o, w.a, plain, datagramFrame(openMAC, oMAC, ap(o4, 53), ap(a4, 1000), "x"))
	w.po.Close()
	w.open.crossed.expire(time.Now())
	if len(w.open.crossed.flows) != 0 {
		t.Error("flows of a closed port are kept")
	}
}

func TestANetworkThatIsGoneIsNoLongerReached(t *testing.T) {
	w := opened(t)
	crosses(t, "datagram", w.a, w.o, plain, datagramFrame(gwMAC, aMAC, ap(a4, 1000), ap(o4, 53), "x"))
	w.open.Close()
	if w.near.opts.Crossing.members.Load() != nil {
		t.Error("somebody is open")
	}
	w.a.send(plain, datagramFrame(gwMAC, aMAC, ap(a4, 1000), ap(o4, 53), "x"))
	w.a.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: a4, TargetIP: gw4.Addr()}))
	w.a.receive()
	w.o.silent()
	if n := w.pa.Stats().Drops["no_outside"]; n != 1 {
		t.Errorf("drops are %v", w.pa.Stats().Drops)
	}
}

func TestCrossingCostsNoAllocation(t *testing.T) {
	w := opened(t)
	w.po.Close()
	if _, err := w.open.AddPort(PortOptions{Name: "o", MAC: oMAC, Addresses: []netip.Addr{o4}, Device: discarding{newMemory(t)}}); err != nil {
		t.Fatal(err)
	}
	frame := datagramFrame(gwMAC, aMAC, ap(a4, 1), ap(o4, 2), "hello")
	hdr := plain
	in := &incoming{port: w.pa, hdr: &hdr}
	again := make([]byte, len(frame))
	n := testing.AllocsPerRun(1000, func() {
		copy(again, frame)
		in.frame = again
		if r := w.near.forward(in); r != DropNone {
			t.Fatal(r)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for a frame that crosses", n)
	}
}

// FuzzCrossing: any frame of a container of the open network, while flows to it are open. What
// crosses belongs to one of them.
func FuzzCrossing(f *testing.F) {
	w := opened(f)
	begin := func() {
		for _, frame := range [][]byte{
			segment(gwMAC, aMAC, ap(a4, 1000), ap(o4, 80), synFlag), datagramFrame(gwMAC, aMAC, ap(a6, 1000), ap(o6, 53), "x"), echoRequest(a4, o4, "x"),
		} {
			in := &incoming{port: w.pa, hdr: &[vnet.Len]byte{}, frame: frame}
			if r := w.near.forward(in); r != DropNone {
				f.Fatal(r)
			}
		}
	}
	for _, frame := range [][]byte{
		segment(openMAC, oMAC, ap(o4, 80), ap(a4, 1000), synFlag|ackFlag), datagramFrame(openMAC, oMAC, ap(o6, 53), ap(a6, 1000), "x"),
		echoAnswer(openMAC, oMAC, o4, a4), aboutUDP(openMAC, oMAC, o6, a6, 1000, 53), from(oMAC, to(openMAC, echoRequest(o4, a4, "x"))),
		datagramFrame(openMAC, oMAC, ap(o4, 1), ap(a4, 1), "x"),
	} {
		f.Add(plain[:], frame)
	}
	f.Fuzz(func(t *testing.T, hdr, frame []byte) {
		if len(hdr) < vnet.Len || len(frame) > maxFrame {
			return
		}
		begin()
		for len(w.a.out)+len(w.o.out) > 0 {
			select {
			case <-w.a.out:
			case <-w.o.out:
			}
		}
		in := &incoming{port: w.po, hdr: (*[vnet.Len]byte)(bytes.Clone(hdr[:vnet.Len])), frame: bytes.Clone(frame), view: viewOf(frame)}
		w.open.forward(in)
		if in.view != nil {
			in.view.Release()
		}
		for len(w.a.out) > 0 {
			got := (<-w.a.out).frame
			body := got[packet.EthernetLen:]
			ip, err := packet.ParseIP(body)
			if err != nil || ip.Fragment || packet.Source(got) != gwMAC || packet.Destination(got) != aMAC {
				t.Fatalf("%x has crossed, after %x", got, frame)
			}
			m := body[ip.HeaderLen:]
			from, to := binary.BigEndian.Uint16(m), binary.BigEndian.Uint16(m[2:])
			src, dst, isError := packet.QuotedBy(m, &ip)
			switch {
			case ip.Src == o4 && ip.Dst == a4 && ip.Proto == packet.ProtoTCP && from == 80 && to == 1000 && m[13]&(synFlag|ackFlag) != synFlag:
			case ip.Src == o6 && ip.Dst == a6 && ip.Proto == packet.ProtoUDP && from == 53 && to == 1000:
			case ip.Src == o4 && ip.Dst == a4 && ip.Proto == packet.ProtoICMP && m[0] == packet.ICMPEchoReply && binary.BigEndian.Uint16(m[4:]) == 7:
			case isError && src == ip.Dst && dst == ip.Src:
			default:
				t.Errorf("%x has crossed, after %x", got, frame)
			}
		}
	})
}
