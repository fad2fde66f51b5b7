package stack

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

var dns4, dns6 = netip.MustParseAddr("172.18.0.3"), netip.MustParseAddr("fd00:1::3")

// newSole is a network whose one port has all addresses behind it, and no own but the one
// that follows from its MAC.
func newSole(t *testing.T, o Options) *world {
	t.Helper()
	o.Gateway4, o.Gateway6 = gw4, gw6
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	w := &world{net: n, a: newMemory(t)}
	if w.pa, err = n.AddPort(PortOptions{
		Name: "a", MAC: aMAC, Addresses: []netip.Addr{aMAC.LinkLocal()}, Device: w.a, Guard: Guard{Nested: true, Sole: true},
	}); err != nil {
		t.Fatal(err)
	}
	return w
}

// next gives the next frame to a that is no question for a neighbour.
func (w *world) next(t *testing.T) []byte {
	t.Helper()
	for {
		frame := w.a.receive().frame
		if packet.EtherType(frame) != packet.TypeARP {
			return frame
		}
	}
}

func TestBehindASolePortIsEverybody(t *testing.T) {
	w := newSole(t, Options{})
	g := w.net.Gateway()
	send := func(to netip.Addr) []byte {
		if err := g.SendUDP(ap(gw4.Addr(), 1), ap(to, 2), []byte("hello")); err != nil {
			t.Fatal(err)
		}
		return w.next(t)
	}
	// Nobody has spoken: it is at the port's own MAC.
	if frame := send(vm4); packet.Destination(frame) != aMAC {
		t.Errorf("to somebody unheard: %x", frame)
	}
	// Who speaks from another MAC has it there, however silent it is then.
	w.a.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: vmMAC, SenderIP: vm4, TargetIP: vm4}))
	w.settleSole(t)
	if frame := send(vm4); packet.Destination(frame) != vmMAC {
		t.Errorf("to somebody heard: %x", frame)
	}
	w.net.stations.addrs[vm4].seen.Store(time.Now().Add(-2 * stationAge).UnixNano())
	if frame := send(vm4); packet.Destination(frame) != vmMAC {
		t.Errorf("to somebody silent: %x", frame)
	}
	for _, nobody := range []netip.Addr{gw4.Addr(), netip.MustParseAddr("10.1.1.1")} {
		if err := g.SendUDP(ap(gw4.Addr(), 1), ap(nobody, 2), nil); err == nil {
			t.Errorf("%s is behind it", nobody)
		}
	}
	// The port's own MAC may have any address, too, as DHCP lends them.
	if !w.pa.Free(aMAC, vip4) || !w.pa.Free(vmMAC, vip4) || w.pa.Free(aMAC, gw4.Addr()) {
		t.Error("who may have which address")
	}
}

// settleSole waits until all that a has sent has been carried.
func (w *world) settleSole(t *testing.T) {
	t.Helper()
	w.a.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: a4, TargetIP: gw4.Addr()}))
	for {
		frame := w.a.receive().frame
		if reply, err := packet.ParseARP(frame[packet.EthernetLen:]); err == nil && reply.Op == packet.ARPReply && reply.SenderIP == gw4.Addr() {
			return
		}
	}
}

func TestServicesHaveAnAddressBesideTheGateways(t *testing.T) {
	w := newSole(t, Options{Service4: dns4, Service6: dns6})
	g := w.net.Gateway()
	if all := g.serviceAddrs(); !slices.Equal(all, []netip.Addr{dns4, dns6}) {
		t.Errorf("services at %v", all)
	}
	asked := make(chan netip.AddrPort, 2)
	g.ListenUDP(53, func(d packet.Datagram) { asked <- d.Dst })
	for _, to := range []netip.Addr{gw4.Addr(), dns4} {
		w.a.send(plain, datagramFrame(gwMAC, aMAC, ap(a4, 9), ap(to, 53), "question"))
	}
	w.settleSole(t)
	if at := <-asked; at != ap(dns4, 53) || len(asked) > 0 {
		t.Errorf("asked at %s, and %d more", at, len(asked))
	}
	listeners, err := g.ListenTCP(53)
	if err != nil || len(listeners) != 2 || listeners[0].Addr().String() != "172.18.0.3:53" {
		t.Errorf("%v, %v", listeners, err)
	}
	for _, l := range listeners {
		l.Close()
	}
	// One family's alone is that family's alone.
	w = newSole(t, Options{Service4: dns4})
	if all := w.net.Gateway().serviceAddrs(); !slices.Equal(all, []netip.Addr{gw6.Addr(), dns4}) {
		t.Errorf("services at %v", all)
	}
	if g := w.net.Gateway(); g.listensAt(gw4.Addr()) || !g.listensAt(gw6.Addr()) || !g.listensAt(dns4) {
		t.Error("where services are")
	}
}

func TestMuteServicesAreThereAndSilent(t *testing.T) {
	w := newSole(t, Options{Service4: dns4, MuteServices: true})
	w.a.send(plain, datagramFrame(gwMAC, aMAC, ap(a4, 9), ap(dns4, 53), "question"))
	w.a.send(plain, to(gwMAC, echoRequest(a4, dns4, "x")))
	if frame := w.next(t); !bytes.HasSuffix(frame, []byte("x")) {
		t.Errorf("not the ping's answer: %x", frame)
	}
	w.settleSole(t)
	w.a.silent()
	w.a.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: a4, TargetIP: dns4}))
	if reply, err := packet.ParseARP(w.a.receive().frame[packet.EthernetLen:]); err != nil || reply.SenderMAC != gwMAC {
		t.Errorf("who has it: %+v, %v", reply, err)
	}
}
