package stack

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/footbridge-net/footbridge/internal/packet"
)

var service4, service6 = netip.MustParseAddr("169.254.53.53"), netip.MustParseAddr("fd6e:616d:6573::53")

// newHidden is a network of two containers without a gateway.
func newHidden(t *testing.T, o Options) *world {
	t.Helper()
	o.Subnet4, o.Subnet6 = gw4.Masked(), gw6.Masked()
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	w := &world{net: n, a: newMemory(t), b: newMemory(t)}
	for _, c := range []struct {
		m     *memory
		p     **Port
		mac   packet.MAC
		addrs []netip.Addr
	}{{w.a, &w.pa, aMAC, []netip.Addr{a4, a6}}, {w.b, &w.pb, bMAC, []netip.Addr{b4, b6}}} {
		if *c.p, err = n.AddPort(PortOptions{Name: "c", MAC: c.mac, Addresses: c.addrs, Device: c.m}); err != nil {
			t.Fatal(err)
		}
	}
	for len(w.a.out) > 0 {
		<-w.a.out
	}
	return w
}

// carried waits until all that a has sent has been carried, by a datagram to b.
func carried(t *testing.T, w *world) {
	t.Helper()
	w.a.send(plain, datagramFrame(bMAC, aMAC, ap(a4, 9), ap(b4, 9), "carried"))
	if !bytes.HasSuffix(w.b.receive().frame, []byte("carried")) {
		t.Error("b got what is not for it")
	}
}

func ask(a netip.Addr) []byte {
	return packet.ARPFrame(packet.Broadcast, packet.ARP{Op: packet.ARPRequest, SenderMAC: aMAC, SenderIP: a4, TargetIP: a})
}

func TestWithoutAGatewayNobodyAnswers(t *testing.T) {
	mac := NoGatewayMAC
	for name, frame := range map[string][]byte{
		"who has the first address":  ask(gw4.Addr()),
		"who has the service":        ask(service4),
		"who has the IPv6 service":   solicit(a6, service6),
		"who is the switch":          solicit(a6, mac.LinkLocal()),
		"a ping of the switch":       to(mac, echoRequest(a4, gw4.Addr(), "x")),
		"a ping of the service":      to(mac, echoRequest(a4, service4, "x")),
		"a ping of the outside":      to(mac, echoRequest(a4, out4, "x")),
		"an IPv6 ping":               to(mac, echoRequest(a6, out6, "x")),
		"the switch's link-local":    to(mac, echoRequest(aMAC.LinkLocal(), mac.LinkLocal(), "x")),
		"a datagram to the outside":  datagramFrame(mac, aMAC, ap(a4, 1), ap(out4, 53), "x"),
		"a datagram to the service":  datagramFrame(mac, aMAC, ap(a4, 1), ap(service4, 53), "x"),
		"a SYN to the service":       segment(mac, aMAC, ap(a4, 1), ap(service4, 53), synFlag),
		"an IPv6 SYN to the service": segment(mac, aMAC, ap(a6, 1), ap(service6, 53), synFlag),
		"a last hop":                 to(mac, ipFrame(a4, out4, packet.ProtoUDP, 1, bareUDP)),
		"a datagram to b by it":      datagramFrame(mac, aMAC, ap(a4, 1), ap(b4, 53), "x"),
	} {
		w := newHidden(t, Options{Service4: service4, Service6: service6})
		w.a.send(plain, frame)
		carried(t, w)
		select {
		case s := <-w.a.out:
			t.Errorf("%s: answered by %x", name, s.frame)
		default:
		}
		if err := w.net.Gateway().SendICMPError(netip.Addr{}, packet.PortUnreachable(true), ipFrame(a4, out4, packet.ProtoUDP, 9, bareUDP)[packet.EthernetLen:]); err != nil {
			t.Error(err)
		}
		w.a.silent()
	}
}

func TestAServiceAnswersWithoutAGateway(t *testing.T) {
	w := newHidden(t, Options{Service4: service4, Service6: service6})
	g := w.net.Gateway()
	g.ListenUDP(53, func(d packet.Datagram) { _ = g.SendUDP(d.Dst, d.Src, []byte("answer")) })
	if l, err := g.ListenTCP(53); err != nil || len(l) != 2 {
		t.Fatalf("%d listeners, %v", len(l), err)
	}
	w.a.send(plain, ask(service4))
	if reply, err := packet.ParseARP(w.a.receive().frame[packet.EthernetLen:]); err != nil || reply.SenderMAC != NoGatewayMAC || reply.SenderIP != service4 {
		t.Errorf("ARP: %+v, %v", reply, err)
	}
	w.a.send(plain, solicit(a6, service6))
	if f := w.a.receive().frame; packet.Source(f) != NoGatewayMAC && !bytes.Contains(f, NoGatewayMAC[:]) {
		t.Errorf("ND: %x", f)
	}
	for _, x := range []struct{ src, dst netip.Addr }{{a4, service4}, {a6, service6}} {
		w.a.send(plain, datagramFrame(NoGatewayMAC, aMAC, ap(x.src, 1), ap(x.dst, 53), "question"))
		if f := w.a.receive().frame; !bytes.HasSuffix(f, []byte("answer")) {
			t.Errorf("UDP: %x", f)
		}
		w.a.send(plain, segment(NoGatewayMAC, aMAC, ap(x.src, 1), ap(x.dst, 53), synFlag))
		body := w.a.receive().frame[packet.EthernetLen:]
		if ip, err := packet.ParseIP(body); err != nil || ip.Src != x.dst || body[ip.HeaderLen+13] != synFlag|ackFlag {
			t.Errorf("TCP: %x", body)
		}
	}
	// And nothing else.
	for _, frame := range [][]byte{
		to(NoGatewayMAC, echoRequest(a4, service4, "x")), to(NoGatewayMAC, echoRequest(a6, service6, "x")),
		datagramFrame(NoGatewayMAC, aMAC, ap(a4, 1), ap(service4, 54), "x"), segment(NoGatewayMAC, aMAC, ap(a4, 1), ap(service4, 80), synFlag),
		ask(gw4.Addr()),
	} {
		w.a.send(plain, frame)
		carried(t, w)
		for len(w.a.out) > 0 {
			if f := (<-w.a.out).frame; packet.Source(f) == NoGatewayMAC {
				if ip, _ := packet.ParseIP(f[packet.EthernetLen:]); ip.Proto != packet.ProtoTCP || ip.Src != service4 { // SYN-ACKs are repeated
					t.Errorf("answered by %x", f)
				}
			}
		}
	}
}

// One family may have a gateway where the other has none.
func TestAGatewayOfOneFamilyIsNoneOfTheOther(t *testing.T) {
	w := newHidden(t, Options{Gateway6: gw6})
	mac := w.net.Gateway().MAC()
	if mac != packet.MACFromIPv6(gw6.Addr()) || len(w.net.Gateway().Addrs()) != 1 {
		t.Errorf("%s, %v", mac, w.net.Gateway().Addrs())
	}
	w.a.send(plain, to(mac, echoRequest(a6, gw6.Addr(), "x")))
	w.a.receive()
	w.a.send(plain, to(mac, echoRequest(a4, out4, "x")))
	carried(t, w)
	w.a.silent()
}

func TestANetworkNeedsASubnet(t *testing.T) {
	if _, err := New(Options{}); !errors.Is(err, ErrNoSubnet) {
		t.Errorf("%v, want ErrNoSubnet", err)
	}
}

// Services are found at further addresses beside the gateway's own, where containers send by their default route.
func TestServicesAreFoundAtFurtherAddresses(t *testing.T) {
	further := netip.MustParseAddr("192.168.127.3")
	w := newSole(t, Options{MoreServices: []netip.Addr{further}})
	g := w.net.Gateway()
	g.ListenUDP(53, func(d packet.Datagram) { _ = g.SendUDP(d.Dst, d.Src, []byte("answer")) })
	if l, err := g.ListenTCP(53); err != nil || len(l) != 3 {
		t.Fatalf("%d listeners, %v", len(l), err)
	}
	mac := g.MAC()
	for _, at := range []netip.Addr{further, gw4.Addr()} {
		w.a.send(plain, datagramFrame(mac, aMAC, ap(a4, 1), ap(at, 53), "question"))
		if f := w.a.receive().frame; !bytes.HasSuffix(f, []byte("answer")) {
			t.Errorf("UDP at %s: %x", at, f)
		}
		w.a.send(plain, segment(mac, aMAC, ap(a4, 1), ap(at, 53), synFlag))
		body := w.a.receive().frame[packet.EthernetLen:]
		if ip, err := packet.ParseIP(body); err != nil || ip.Src != at || body[ip.HeaderLen+13] != synFlag|ackFlag {
			t.Errorf("TCP at %s: %x", at, body)
		}
	}
}
