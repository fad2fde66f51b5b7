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

// ipFrame makes a frame of a for the gateway whose transport part is t.
func ipFrame(src, dst netip.Addr, proto, ttl uint8, t []byte) []byte {
	if dst.Is4() {
		b := make([]byte, packet.EthernetLen+packet.IPv4Len, packet.EthernetLen+packet.IPv4Len+len(t))
		packet.PutEthernet(b, gwMAC, aMAC, packet.TypeIPv4)
		packet.PutIPv4(b[packet.EthernetLen:], src, dst, proto, ttl, packet.IPv4Len+len(t))
		return append(b, t...)
	}
	b := make([]byte, packet.EthernetLen+packet.IPv6Len, packet.EthernetLen+packet.IPv6Len+len(t))
	packet.PutEthernet(b, gwMAC, aMAC, packet.TypeIPv6)
	packet.PutIPv6(b[packet.EthernetLen:], src, dst, proto, ttl, len(t))
	return append(b, t...)
}

// icmpMessage makes an ICMP message with a right checksum.
func icmpMessage(src, dst netip.Addr, typ byte) (proto uint8, message []byte) {
	m := make([]byte, 16)
	m[0] = typ
	proto, initial := uint8(packet.ProtoICMP), uint16(0)
	if dst.Is6() {
		proto = packet.ProtoICMPv6
		initial = packet.PseudoSum(src, dst, proto, len(m))
	}
	binary.BigEndian.PutUint16(m[2:4], ^packet.Sum(m, initial))
	return proto, m
}

func icmpFrame(src, dst netip.Addr, typ, ttl byte) []byte {
	proto, m := icmpMessage(src, dst, typ)
	return ipFrame(src, dst, proto, ttl, m)
}

// bareUDP is a datagram without a checksum, which IPv4 allows.
var bareUDP = []byte{0x03, 0xe8, 0x00, 0x09, 0x00, 0x0c, 0x00, 0x00, 'a', 'b', 'c', 'd'}

// fragmentOf makes the IPv4 packet of a frame a fragment.
func fragmentOf(frame []byte, flagsAndOffset uint16) []byte {
	ip := frame[packet.EthernetLen:]
	binary.BigEndian.PutUint16(ip[6:8], flagsAndOffset)
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:12], ^packet.Sum(ip[:packet.IPv4Len], 0))
	return frame
}

var (
	all4  = netip.MustParseAddr("255.255.255.255")
	here4 = netip.MustParseAddr("172.18.255.255")
)

func TestTimeExceededIsToldToBothFamilies(t *testing.T) {
	w := newWorld(t, true)
	for _, c := range []struct {
		name  string
		frame []byte
		typ   byte
	}{
		{"a datagram", ipFrame(a4, out4, packet.ProtoUDP, 1, bareUDP), packet.ICMPTimeExceeded},
		{"a first fragment", fragmentOf(ipFrame(a4, out4, packet.ProtoUDP, 1, bareUDP), 0x2000), packet.ICMPTimeExceeded},
		{"an echo request", icmpFrame(a4, out4, packet.ICMPEchoRequest, 1), packet.ICMPTimeExceeded},
		{"an IPv6 echo request", icmpFrame(a6, out6, packet.ICMPv6EchoRequest, 1), packet.ICMPv6TimeExceeded},
	} {
		w.a.send(plain, c.frame)
		body := w.a.receive().frame[packet.EthernetLen:]
		ip, err := packet.ParseIP(body)
		if err != nil || body[ip.HeaderLen] != c.typ || !packet.TransportValid(body, &ip) {
			t.Fatalf("%s: %+v, %x, %v", c.name, ip, body, err)
		}
		if quoted := body[ip.HeaderLen+packet.ICMPLen:]; !bytes.Equal(quoted, c.frame[packet.EthernetLen:]) {
			t.Errorf("%s: quoted %x, sent %x", c.name, quoted, c.frame[packet.EthernetLen:])
		}
	}
}

// RFC 1122 3.2.2, RFC 4443 2.4 e. An answer to an error is how two routers talk
// for ever.
func TestNoICMPErrorIsAboutWhatMustNotBeAnswered(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"an ICMP error", icmpFrame(a4, out4, packet.ICMPUnreachable, 1)},
		{"an ICMP redirect", icmpFrame(a4, out4, packet.ICMPRedirect, 1)},
		{"an ICMPv6 error", icmpFrame(a6, out6, packet.ICMPv6Unreachable, 1)},
		{"too big", icmpFrame(a6, out6, packet.ICMPv6TooBig, 1)},
		{"a later fragment", fragmentOf(ipFrame(a4, out4, packet.ProtoUDP, 1, bareUDP), 0x2001)},
		{"the last fragment", fragmentOf(ipFrame(a4, out4, packet.ProtoUDP, 1, bareUDP), 0x0001)},
		{"to all", ipFrame(a4, all4, packet.ProtoUDP, 1, bareUDP)},
		{"to all here", ipFrame(a4, here4, packet.ProtoUDP, 1, bareUDP)},
		{"to a group", ipFrame(a4, netip.MustParseAddr("224.0.0.251"), packet.ProtoUDP, 1, bareUDP)},
		{"to an IPv6 group", icmpFrame(a6, netip.MustParseAddr("ff02::fb"), packet.ICMPv6EchoRequest, 1)},
		{"from nobody", icmpFrame(netip.IPv6Unspecified(), out6, packet.ICMPv6EchoRequest, 1)},
		// Nobody takes datagrams here, for which there is an error, too.
		{"to all, with time to live", ipFrame(a4, all4, packet.ProtoUDP, 64, bareUDP)},
		{"to all here, with time to live", ipFrame(a4, here4, packet.ProtoUDP, 64, bareUDP)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, true)
			w.a.send(plain, c.frame)
			w.settle(w.a, aMAC, a4) // its answer is the first frame
			w.a.silent()
			// The same when a handler asks for an error.
			if err := w.net.Gateway().SendICMPError(netip.Addr{}, packet.HostUnreachable(c.frame[12] == 0x08), c.frame[packet.EthernetLen:]); err != nil && c.name != "from nobody" {
				t.Error(err)
			}
			w.a.silent()
		})
	}
}

func TestICMPErrorsArePaced(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	count := func(n int) (passed int) {
		for range n {
			if p.take(now, errorRate) {
				passed++
			}
		}
		return passed
	}
	if n := count(10 * errorRate.burst); n != errorRate.burst {
		t.Errorf("%d at once, want %d", n, errorRate.burst)
	}
	now = now.Add(errorRate.each())
	if n := count(10); n != 1 {
		t.Errorf("then %d, want one", n)
	}
	passed := 0
	for range 2 * errorRate.perSecond { // two at a time, over a second
		now = now.Add(errorRate.each() / 2)
		passed += count(2)
	}
	if passed != errorRate.perSecond {
		t.Errorf("%d in a second, want %d", passed, errorRate.perSecond)
	}
	now = now.Add(time.Hour) // silence saves no more than a burst
	if n := count(10 * errorRate.burst); n != errorRate.burst {
		t.Errorf("%d at once after an hour, want %d", n, errorRate.burst)
	}
}

func TestOneContainersErrorsDoNotUseUpAnothers(t *testing.T) {
	w := newWorld(t, false)
	g := w.net.Gateway()
	quoted := ipFrame(a4, out4, packet.ProtoUDP, 64, bareUDP)[packet.EthernetLen:]
	start := time.Now()
	got := 0
	for range 4 * errorRate.burst {
		if err := g.SendICMPError(netip.Addr{}, packet.PortUnreachable(true), quoted); err != nil {
			t.Fatal(err)
		}
		for len(w.a.out) > 0 {
			<-w.a.out
			got++
		}
	}
	most := errorRate.burst + int(time.Since(start)/errorRate.each()) + 1
	if got < errorRate.burst || got > most {
		t.Errorf("%d errors, want from %d to %d", got, errorRate.burst, most)
	}
	if err := g.SendICMPError(netip.Addr{}, packet.PortUnreachable(true), ipFrame(b4, out4, packet.ProtoUDP, 64, bareUDP)[packet.EthernetLen:]); err != nil {
		t.Fatal(err)
	}
	w.b.receive()
}

func TestWhatTheGatewayDoesNotTake(t *testing.T) {
	badHeader := ipFrame(a4, out4, packet.ProtoUDP, 64, bareUDP)
	badHeader[packet.EthernetLen+8]-- // the time to live, without its checksum
	_, m6 := icmpMessage(a6, out6, packet.ICMPv6EchoRequest)
	_, m4 := icmpMessage(a4, out4, packet.ICMPEchoRequest)
	for _, c := range []struct {
		name, reason string
		hdr          vnet.Header
		frame        []byte
	}{
		{"a wrong IPv4 header checksum", "malformed", vnet.Header{}, badHeader},
		{"even where the rest is left to the device", "malformed", vnet.Header{Flags: vnet.NeedsCsum, CsumStart: 34, CsumOffset: 6}, badHeader},
		{"broadcast", "multicast", vnet.Header{}, ipFrame(a4, all4, packet.ProtoUDP, 64, bareUDP)},
		{"broadcast of the subnet", "multicast", vnet.Header{}, ipFrame(a4, here4, packet.ProtoUDP, 64, bareUDP)},
		{"ICMPv6 in IPv4", "protocol", vnet.Header{}, ipFrame(a4, out4, packet.ProtoICMPv6, 64, m6)},
		{"ICMP in IPv6", "protocol", vnet.Header{}, ipFrame(a6, out6, packet.ProtoICMP, 64, m4)},
		{"a datagram for each byte", "virtio_header", vnet.Header{Flags: vnet.NeedsCsum, GSOType: vnet.GSOUDPL4, GSOSize: 1, CsumStart: 34, CsumOffset: 6},
			datagramFrame(gwMAC, aMAC, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(out4, 2), string(make([]byte, 1000)))},
		{"a datagram for each byte, and a checksum at the end", "virtio_header", vnet.Header{Flags: vnet.NeedsCsum, GSOType: vnet.GSOUDPL4, GSOSize: 1, CsumStart: 900, CsumOffset: 6},
			datagramFrame(gwMAC, aMAC, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(out4, 2), string(make([]byte, 900)))},
		{"TCP's segments of a datagram", "virtio_header", vnet.Header{Flags: vnet.NeedsCsum, GSOType: vnet.GSOTCPv4, GSOSize: 100, CsumStart: 34, CsumOffset: 16},
			datagramFrame(gwMAC, aMAC, netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(out4, 2), string(make([]byte, 900)))},
		{"a link-local source", "source_address", vnet.Header{},
			datagramFrame(gwMAC, aMAC, netip.AddrPortFrom(aMAC.LinkLocal(), 1), netip.AddrPortFrom(out6, 2), "x")},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, true)
			w.net.Gateway().SetHandlers(Handlers{
				UDP:  func(d packet.Datagram) { t.Errorf("a datagram to %s was given on", d.Dst) },
				Echo: func(e packet.Echo) { t.Errorf("an echo request to %s was given on", e.Dst) },
			})
			var hdr [vnet.Len]byte
			c.hdr.Encode(&hdr)
			w.a.send(hdr, c.frame)
			w.settle(w.a, aMAC, a4)
			w.a.silent()
			if n := w.pa.Stats().Drops[c.reason]; n != 1 {
				t.Errorf("drops are %v, want one for %s", w.pa.Stats().Drops, c.reason)
			}
		})
	}
}

// Netstack has no answer to the ICMP of the other version either.
func TestTheGatewayItselfTakesItsVersionsICMPOnly(t *testing.T) {
	w := newWorld(t, true)
	_, m6 := icmpMessage(a6, gw6.Addr(), packet.ICMPv6EchoRequest)
	_, m4 := icmpMessage(a4, gw4.Addr(), packet.ICMPEchoRequest)
	w.a.send(plain, ipFrame(a4, gw4.Addr(), packet.ProtoICMPv6, 64, m6))
	w.a.send(plain, ipFrame(a6, gw6.Addr(), packet.ProtoICMP, 64, m4))
	w.settle(w.a, aMAC, a4)
	w.a.silent()
}

// A datagram may be shorter than its packet (RFC 768 has its own length).
func TestADatagramIsAsLongAsItSays(t *testing.T) {
	w := newWorld(t, false)
	got := make(chan string, 1)
	w.net.Gateway().SetHandlers(Handlers{UDP: func(d packet.Datagram) { got <- string(d.Payload) }})
	f := datagramFrame(gwMAC, aMAC, netip.AddrPortFrom(a4, 1000), netip.AddrPortFrom(out4, 9), "abc")
	w.a.send(plain, ipFrame(a4, out4, packet.ProtoUDP, 64, append(f[packet.EthernetLen+packet.IPv4Len:], "behind"...)))
	select {
	case s := <-got:
		if s != "abc" {
			t.Errorf("%q, want %q", s, "abc")
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("the datagram was dropped: %v", w.pa.Stats().Drops)
	}
}

// What comes in fragments is verified when it is whole.
func TestAFragmentedDatagramWithAWrongChecksumIsDropped(t *testing.T) {
	w := newWorld(t, false)
	got := make(chan byte, 2)
	w.net.Gateway().SetHandlers(Handlers{UDP: func(d packet.Datagram) { got <- d.Payload[0] }})
	send := func(id byte, change byte) {
		data := bytes.Repeat([]byte{id}, 3000)
		whole := datagramFrame(gwMAC, aMAC, netip.AddrPortFrom(a4, 1000), netip.AddrPortFrom(out4, 2000), string(data))
		whole[len(whole)-1] ^= change
		for _, f := range cut(whole, 1480) {
			f[packet.EthernetLen+5] = id // fragments of another packet
			w.a.send(plain, fragmentOf(f, binary.BigEndian.Uint16(f[packet.EthernetLen+6:])))
		}
	}
	send('x', 1)
	send('y', 0)
	select {
	case id := <-got:
		if id != 'y' {
			t.Errorf("the datagram with the wrong checksum was given on")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the datagram was not put together")
	}
}

func TestASolicitationWithAWrongChecksumIsNotAnswered(t *testing.T) {
	w := newWorld(t, true)
	f := solicit(a6, b6)
	f[len(f)-20] ^= 1
	w.a.send(plain, f)
	w.settle(w.a, aMAC, a4)
	w.a.silent()
	if n := w.pa.Stats().Drops["malformed"]; n != 1 {
		t.Errorf("drops are %v, want one for malformed", w.pa.Stats().Drops)
	}
}

func TestTheBroadcastAddressIsTheSubnetsLast(t *testing.T) {
	for subnet, want := range map[string]string{
		"172.18.0.1/16": "172.18.255.255", "10.0.0.1/8": "10.255.255.255", "192.168.1.129/25": "192.168.1.255",
		"192.168.1.1/30": "192.168.1.3", "192.168.1.1/31": "invalid IP", "192.168.1.1/32": "invalid IP", "10.0.0.1/0": "255.255.255.255",
	} {
		if got := lastOf(netip.MustParsePrefix(subnet)); got.String() != want {
			t.Errorf("%s: %s, want %s", subnet, got, want)
		}
	}
}
