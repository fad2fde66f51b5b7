package stack

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// withService gives a frame a type of service, or class, and may take IPv4's "don't
// fragment" away.
func withService(frame []byte, tos uint8, mayBeCut bool) []byte {
	b := frame[packet.EthernetLen:]
	if b[0]>>4 == 6 {
		b[0], b[1] = b[0]|tos>>4, tos<<4
		return frame
	}
	b[1] = tos
	if mayBeCut {
		b[6] &^= 0x40
	}
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:12], ^packet.Sum(b[:packet.IPv4Len], 0))
	return frame
}

func TestWhatAPacketWantsOfItsWayIsGivenOn(t *testing.T) {
	type wish struct {
		ttl, tos uint8
		df       bool
	}
	w := newWorld(t, true)
	got := make(chan wish, 1)
	w.net.Gateway().SetHandlers(Handlers{
		UDP:  func(d packet.Datagram) { got <- wish{d.TTL, d.TOS, d.DontFragment} },
		Echo: func(e packet.Echo) { got <- wish{e.TTL, e.TOS, e.DontFragment} },
	})
	for _, c := range []struct {
		name  string
		frame []byte
		want  wish
	}{
		{"IPv4", withService(datagramFrame(gwMAC, aMAC, ap(a4, 1), ap(out4, 2), "x"), 0xb9, false), wish{64, 0xb9, true}},
		{"IPv4 that may be cut", withService(datagramFrame(gwMAC, aMAC, ap(a4, 1), ap(out4, 2), "x"), 0, true), wish{64, 0, false}},
		{"IPv6", withService(datagramFrame(gwMAC, aMAC, ap(a6, 1), ap(out6, 2), "x"), 0xb9, false), wish{64, 0xb9, true}},
		{"a ping", withService(echoRequest(a4, out4, "ping"), 0x10, false), wish{64, 0x10, true}},
		{"a ping that may be cut", withService(echoRequest(a4, out4, "ping"), 0x10, true), wish{64, 0x10, false}},
		{"a ping of IPv6", withService(echoRequest(a6, out6, "ping"), 0x10, false), wish{64, 0x10, true}},
	} {
		w.a.send(plain, c.frame)
		if g := <-got; g != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, g, c.want)
		}
	}
	// What came in fragments leaves in some.
	for _, f := range cut(datagramFrame(gwMAC, aMAC, ap(a4, 1), ap(out4, 2), string(make([]byte, 3000))), 1480) {
		w.a.send(plain, f)
	}
	if g := <-got; g.df {
		t.Error("IPv4 in fragments is not to be cut again")
	}
	u := datagramFrame(gwMAC, aMAC, ap(a6, 1), ap(out6, 2), string(make([]byte, 1000)))[packet.EthernetLen+packet.IPv6Len:]
	w.a.send(plain, fragment6(1, 0, true, packet.ProtoUDP, u[:800]))
	w.a.send(plain, fragment6(1, 800, false, packet.ProtoUDP, u[800:]))
	if g := <-got; g.df {
		t.Error("IPv6 in fragments is not to be cut again")
	}
}

func synFrame(src, dst netip.AddrPort) []byte {
	s := make([]byte, header.TCPMinimumSize)
	h := header.TCP(s)
	h.Encode(&header.TCPFields{SrcPort: src.Port(), DstPort: dst.Port(), SeqNum: 1, DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn, WindowSize: 65535})
	h.SetChecksum(^h.CalculateChecksum(packet.PseudoSum(src.Addr(), dst.Addr(), packet.ProtoTCP, len(s))))
	return ipFrame(src.Addr(), dst.Addr(), packet.ProtoTCP, 64, s)
}

// Handlers may take single ports of the gateway's own addresses, also where there is no
// way to others.
func TestPortsOfTheGatewayCanBeTaken(t *testing.T) {
	for _, ownOnly := range []bool{false, true} {
		w := newWorld(t, true)
		var tcp, udp []netip.AddrPort
		w.net.Gateway().SetHandlers(Handlers{
			TCP: func(id stack.TransportEndpointID, _ *stack.PacketBuffer) bool {
				tcp = append(tcp, netip.AddrPortFrom(addrOf(id.LocalAddress), id.LocalPort))
				return true
			},
			UDP:     func(d packet.Datagram) { udp = append(udp, d.Dst) },
			Echo:    func(packet.Echo) { t.Error("an echo request was given on") },
			OwnTCP:  func(at netip.AddrPort) bool { return at.Port() == 80 },
			OwnOnly: ownOnly,
		})
		send := func(f []byte) {
			t.Helper()
			w.a.send(plain, f)
			w.settle(w.a, aMAC, a4)
		}
		for _, c := range []struct{ src, gw, out netip.Addr }{{a4, gw4.Addr(), out4}, {a6, gw6.Addr(), out6}} {
			tcp, udp = nil, nil
			send(synFrame(ap(c.src, 1), ap(c.gw, 80)))
			if len(tcp) != 1 || tcp[0] != ap(c.gw, 80) {
				t.Errorf("given on: %v, want port 80 of %s", tcp, c.gw)
			}
			send(datagramFrame(gwMAC, aMAC, ap(c.src, 1), ap(c.gw, 80), "x"))
			if len(udp) != 1 || udp[0] != ap(c.gw, 80) {
				t.Errorf("given on: %v, want port 80 of %s", udp, c.gw)
			}
			w.a.silent()
			w.a.send(plain, synFrame(ap(c.src, 2), ap(c.gw, 81)))
			body := w.a.receive().frame[packet.EthernetLen:]
			if ip, err := packet.ParseIP(body); err != nil || ip.Proto != packet.ProtoTCP || body[ip.HeaderLen+13]&0x04 == 0 {
				t.Errorf("a port that nobody takes: %+v, %v, want a reset", ip, err)
			}
			if !ownOnly {
				continue
			}
			tcp, udp = nil, nil
			send(synFrame(ap(c.src, 3), ap(c.out, 80)))
			w.a.silent()
			send(echoRequest(c.src, c.out, "ping"))
			w.a.silent()
			send(datagramFrame(gwMAC, aMAC, ap(c.src, 1), ap(c.out, 80), "x"))
			w.a.silent()
			if len(tcp)+len(udp) > 0 {
				t.Errorf("given on: %v %v", tcp, udp)
			}
		}
		if n := w.pa.Stats().Drops["no_outside"]; ownOnly && n != 4 {
			t.Errorf("%d dropped for want of an outside, want 4", n)
		}
	}
}

// The rate of connections to the gateway's own listeners is not that of connections which
// are carried on from there.
func TestConnectionsToTakenPortsArePacedAsThoseToTheOutside(t *testing.T) {
	w := newWorld(t, false)
	given := 0
	w.net.Gateway().SetHandlers(Handlers{
		TCP:    func(stack.TransportEndpointID, *stack.PacketBuffer) bool { given++; return true },
		OwnTCP: func(at netip.AddrPort) bool { return at.Port() == 80 },
	})
	n := 4 * ownSYNRate.burst
	for port := range n {
		w.a.send(plain, synFrame(ap(a4, uint16(1000+port)), ap(gw4.Addr(), 80)))
	}
	w.settle(w.a, aMAC, a4)
	if paced := w.pa.Stats().Drops["paced"]; given != n || paced != 0 {
		t.Errorf("%d of %d were given on, %d paced", given, n, paced)
	}
}
