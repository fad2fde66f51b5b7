package stack

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

func viewOf(frame []byte) *buffer.View {
	v := buffer.NewView(maxFrame)
	v.Write(frame)
	return v
}

// echoRequest makes a request of a.
func echoRequest(src, dst netip.Addr, data string) []byte {
	b := packet.EchoFrame(gwMAC, aMAC, src, dst, 7, 1, []byte(data))
	head, request, initial := packet.IPv4Len, byte(packet.ICMPEchoRequest), uint16(0)
	if dst.Is6() {
		head, request = packet.IPv6Len, packet.ICMPv6EchoRequest
		initial = packet.PseudoSum(src, dst, packet.ProtoICMPv6, packet.ICMPLen+len(data))
	}
	m := b[packet.EthernetLen+head:]
	m[0] = request
	m[2], m[3] = 0, 0
	sum := ^packet.Sum(m, initial)
	m[2], m[3] = byte(sum>>8), byte(sum)
	return b
}

func TestTheGatewayAnswersPing(t *testing.T) {
	w := newWorld(t, true)
	for _, c := range []struct{ src, dst netip.Addr }{{a4, gw4.Addr()}, {a6, gw6.Addr()}} {
		w.a.send(plain, echoRequest(c.src, c.dst, "ping"))
		body := w.a.receive().frame[packet.EthernetLen:]
		ip, err := packet.ParseIP(body)
		if err != nil || ip.Src != c.dst || ip.Dst != c.src {
			t.Fatalf("reply %+v, %v", ip, err)
		}
		m := body[ip.HeaderLen:ip.Len]
		if m[0] != packet.ICMPEchoReply && m[0] != packet.ICMPv6EchoReply {
			t.Errorf("%s answers with type %d", c.dst, m[0])
		}
		if !packet.TransportValid(body, &ip) || string(m[packet.ICMPLen:]) != "ping" {
			t.Errorf("%s: wrong checksum or data in %x", c.dst, m)
		}
	}
}

func TestDatagramsToTheOutsideReachTheHandler(t *testing.T) {
	w := newWorld(t, true)
	got := make(chan packet.Datagram, 1)
	w.net.Gateway().SetHandlers(Handlers{UDP: func(d packet.Datagram) {
		d.Payload = bytes.Clone(d.Payload)
		got <- d
	}})
	for _, c := range []struct{ src, dst netip.Addr }{{a4, out4}, {a6, out6}} {
		src, dst := netip.AddrPortFrom(c.src, 1000), netip.AddrPortFrom(c.dst, 2000)
		w.a.send(plain, datagramFrame(gwMAC, aMAC, src, dst, "out"))
		d := <-got
		if d.Src != src || d.Dst != dst || string(d.Payload) != "out" || d.SegmentSize != 0 || d.TTL != 64 {
			t.Errorf("%+v", d)
		}
	}
}

func TestASuperDatagramIsGivenWithItsSegmentSize(t *testing.T) {
	w := newWorld(t, false)
	got := make(chan int, 1)
	w.net.Gateway().SetHandlers(Handlers{UDP: func(d packet.Datagram) { got <- d.SegmentSize }})
	var hdr [vnet.Len]byte
	vnet.Header{Flags: vnet.NeedsCsum, GSOType: vnet.GSOUDPL4, HdrLen: 42, GSOSize: 100, CsumStart: 34, CsumOffset: 6}.Encode(&hdr)
	w.a.send(hdr, datagramFrame(gwMAC, aMAC, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(out4, 2), string(make([]byte, 250))))
	if n := <-got; n != 100 {
		t.Errorf("segment size %d, want 100", n)
	}
}

func TestTheLongestDatagramIsPutTogether(t *testing.T) {
	w := newWorld(t, false)
	got := make(chan int, 1)
	w.net.Gateway().SetHandlers(Handlers{UDP: func(d packet.Datagram) { got <- len(d.Payload) }})
	const longest = 0xffff - packet.IPv4Len - packet.UDPLen
	whole := datagramFrame(gwMAC, aMAC, netip.AddrPortFrom(a4, 1000), netip.AddrPortFrom(out4, 2000), string(make([]byte, longest)))
	for _, f := range cut(whole, 1480) {
		w.a.send(plain, f)
	}
	select {
	case n := <-got:
		if n != longest {
			t.Errorf("it has %d bytes, want %d", n, longest)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("it is lost: %v", w.pa.Stats().Drops)
	}
}

func TestAFragmentedDatagramIsPutTogether(t *testing.T) {
	w := newWorld(t, false)
	got := make(chan packet.Datagram, 1)
	w.net.Gateway().SetHandlers(Handlers{UDP: func(d packet.Datagram) {
		d.Payload, d.IP = bytes.Clone(d.Payload), bytes.Clone(d.IP)
		got <- d
	}})
	data := bytes.Repeat([]byte("0123456789abcdef"), 200)
	whole := datagramFrame(gwMAC, aMAC, netip.AddrPortFrom(a4, 1000), netip.AddrPortFrom(out4, 2000), string(data))
	for _, f := range cut(whole, 1480) {
		w.a.send(plain, f)
	}
	select {
	case d := <-got:
		if !bytes.Equal(d.Payload, data) || d.Dst.Port() != 2000 {
			t.Errorf("%d bytes to %s", len(d.Payload), d.Dst)
		}
		if ip, err := packet.ParseIP(d.IP); err != nil || ip.Fragment || ip.Src != a4 {
			t.Errorf("quoted header %+v, %v", ip, err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the datagram was not put together")
	}
}

// cut cuts an IPv4 frame into fragments of size bytes of payload.
func cut(frame []byte, size int) [][]byte {
	const head = packet.EthernetLen + packet.IPv4Len
	var all [][]byte
	rest := frame[head:]
	for at := 0; len(rest) > 0; at += size {
		n := min(size, len(rest))
		f := append(bytes.Clone(frame[:head]), rest[:n]...)
		rest = rest[n:]
		ip := f[packet.EthernetLen:]
		ip[2], ip[3] = byte((packet.IPv4Len+n)>>8), byte(packet.IPv4Len+n)
		off := at / 8
		if len(rest) > 0 {
			off |= 0x2000
		}
		ip[4], ip[5], ip[6], ip[7] = 0x12, 0x34, byte(off>>8), byte(off)
		ip[10], ip[11] = 0, 0
		sum := ^packet.Sum(ip[:packet.IPv4Len], 0)
		ip[10], ip[11] = byte(sum>>8), byte(sum)
		all = append(all, f)
	}
	return all
}

func TestTheGatewaySendsDatagramsFromAnySource(t *testing.T) {
	w := newWorld(t, true)
	for _, c := range []struct{ src, dst netip.Addr }{{out4, a4}, {out6, a6}} {
		src, dst := netip.AddrPortFrom(c.src, 53), netip.AddrPortFrom(c.dst, 1000)
		if err := w.net.Gateway().SendUDP(src, dst, []byte("in")); err != nil {
			t.Fatal(err)
		}
		got := w.a.receive()
		h := vnet.Decode(&got.hdr)
		body := got.frame[packet.EthernetLen:]
		ip, err := packet.ParseIP(body)
		if err != nil {
			t.Fatal(err)
		}
		gotSrc, gotDst, payload, err := packet.ParseUDP(body[ip.HeaderLen:ip.Len], &ip)
		if err != nil || gotSrc != src || gotDst != dst || string(payload) != "in" {
			t.Errorf("%s -> %s %q, %v", gotSrc, gotDst, payload, err)
		}
		if h.Flags != vnet.NeedsCsum || int(h.CsumStart) != packet.EthernetLen+ip.HeaderLen || h.CsumOffset != 6 {
			t.Errorf("virtio header %+v", h)
		}
		// What the kernel does with NEEDS_CSUM must give a valid datagram.
		u := body[ip.HeaderLen:ip.Len]
		sum := ^packet.Sum(u, 0)
		u[6], u[7] = byte(sum>>8), byte(sum)
		if !packet.TransportValid(body, &ip) {
			t.Error("the partial checksum does not complete to a valid one")
		}
	}
}

func TestADatagramToAClosedPortOfTheGatewayIsUnreachable(t *testing.T) {
	w := newWorld(t, false)
	w.a.send(plain, datagramFrame(gwMAC, aMAC, netip.AddrPortFrom(a4, 1000), netip.AddrPortFrom(gw4.Addr(), 9), "x"))
	body := w.a.receive().frame[packet.EthernetLen:]
	ip, err := packet.ParseIP(body)
	if err != nil || ip.Proto != packet.ProtoICMP {
		t.Fatalf("%+v, %v", ip, err)
	}
	m := body[ip.HeaderLen:ip.Len]
	quoted, err := packet.ParseIP(m[packet.ICMPLen:])
	if m[0] != packet.ICMPUnreachable || m[1] != packet.ICMPCodePort || err != nil || quoted.Src != a4 {
		t.Errorf("type %d code %d quoting %+v, %v", m[0], m[1], quoted, err)
	}
}

func TestAPacketAtTheEndOfItsLifeIsToldSo(t *testing.T) {
	w := newWorld(t, false)
	frame := datagramFrame(gwMAC, aMAC, netip.AddrPortFrom(a4, 1000), netip.AddrPortFrom(out4, 9), "x")
	ip := frame[packet.EthernetLen:]
	packet.PutIPv4(ip, a4, out4, packet.ProtoUDP, 1, len(ip))
	w.a.send(plain, frame)
	body := w.a.receive().frame[packet.EthernetLen:]
	got, err := packet.ParseIP(body)
	if err != nil || got.Src != gw4.Addr() || body[got.HeaderLen] != packet.ICMPTimeExceeded {
		t.Errorf("%+v %x, %v", got, body, err)
	}
}

func TestDNSOfTheGatewayIsListenedTo(t *testing.T) {
	w := newWorld(t, true)
	got := make(chan netip.AddrPort, 1)
	w.net.Gateway().ListenUDP(53, func(d packet.Datagram) { got <- d.Dst })
	for _, c := range []struct{ src, dst netip.Addr }{{a4, gw4.Addr()}, {a6, gw6.Addr()}} {
		w.a.send(plain, datagramFrame(gwMAC, aMAC, netip.AddrPortFrom(c.src, 1000), netip.AddrPortFrom(c.dst, 53), "query"))
		if dst := <-got; dst.Addr() != c.dst {
			t.Errorf("query to %s, want %s", dst, c.dst)
		}
	}
}

func BenchmarkSendUDP(b *testing.B) {
	w := newWorld(b, false)
	c4 := netip.MustParseAddr("172.18.0.4")
	mac := packet.MACFromIPv4(c4)
	if _, err := w.net.AddPort(PortOptions{MAC: mac, Addresses: []netip.Addr{c4}, Device: discarding{newMemory(b)}}); err != nil {
		b.Fatal(err)
	}
	src, dst := netip.AddrPortFrom(out4, 53), netip.AddrPortFrom(c4, 1000)
	payload := make([]byte, 512)
	g := w.net.Gateway()
	if n := testing.AllocsPerRun(100, func() { g.SendUDP(src, dst, payload) }); n != 0 {
		b.Fatalf("%v allocations for a datagram, want 0", n)
	}
	b.ReportAllocs()
	for b.Loop() {
		g.SendUDP(src, dst, payload)
	}
}

// SYNs to the gateway itself are dear: one container may send only so many.
func TestConnectionsToTheGatewayArePaced(t *testing.T) {
	w := newWorld(t, false)
	const n = 400
	for i := range n {
		segment := make([]byte, header.TCPMinimumSize)
		h := header.TCP(segment)
		h.Encode(&header.TCPFields{SrcPort: uint16(1000 + i), DstPort: 53, DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn})
		h.SetChecksum(^h.CalculateChecksum(packet.PseudoSum(a4, gw4.Addr(), packet.ProtoTCP, len(h))))
		w.a.send(plain, ipFrame(a4, gw4.Addr(), packet.ProtoTCP, 64, segment))
	}
	w.a.send(plain, nil) // when it is read the last SYN has passed
	if dropped := w.pa.Stats().Drops["paced"]; dropped == 0 || dropped > uint64(n-ownSYNRate.burst) {
		t.Errorf("%d of %d were dropped", dropped, n)
	}
}
