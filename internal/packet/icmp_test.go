package packet

import (
	"bytes"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// What an ICMP error may be about (RFC 1122 3.2.2, RFC 1812 4.3.2.7, RFC 4443
// 2.4 e), and what it must never be about.
func TestWhatAnICMPErrorMayBeAbout(t *testing.T) {
	v4 := func(frag, proto, src, dst, payload string) string {
		return `45 00 001c 0001 ` + frag + ` 40 ` + proto + ` 0000 ` + src + dst + payload
	}
	v6 := func(proto, src, dst, payload string) string {
		return `6000 0000 0008 ` + proto + ` 40 ` + src + dst + payload
	}
	const (
		a, b = `ac120002 `, `c6336407 `
		udp  = ` 0001 0002 0008 0000`
		rest = ` 00 0000 0000 0000`
	)
	for _, c := range []struct {
		name, packet string
		want         bool
	}{
		{"a datagram", v4(`4000`, `11`, a, b, udp), true},
		{"a first fragment", v4(`2000`, `11`, a, b, udp), true},
		{"a later fragment", v4(`2001`, `11`, a, b, udp), false},
		{"the last fragment", v4(`0001`, `11`, a, b, udp), false},
		{"to a group", v4(`4000`, `11`, a, `e00000fb`, udp), false},
		{"to all", v4(`4000`, `11`, a, `ffffffff`, udp), false},
		{"from nobody", v4(`4000`, `11`, `00000000`, b, udp), false},
		{"from all", v4(`4000`, `11`, `ffffffff`, b, udp), false},
		{"from a group", v4(`4000`, `11`, `e00000fb`, b, udp), false},
		{"from loopback", v4(`4000`, `11`, `7f000001`, b, udp), false},
		{"an echo request", v4(`4000`, `01`, a, b, `08`+rest), true},
		{"an echo reply", v4(`4000`, `01`, a, b, `00`+rest), true},
		{"a timestamp request", v4(`4000`, `01`, a, b, `0d`+rest), true},
		{"unreachable", v4(`4000`, `01`, a, b, `03`+rest), false},
		{"source quench", v4(`4000`, `01`, a, b, `04`+rest), false},
		{"a redirect", v4(`4000`, `01`, a, b, `05`+rest), false},
		{"time exceeded", v4(`4000`, `01`, a, b, `0b`+rest), false},
		{"parameter problem", v4(`4000`, `01`, a, b, `0c`+rest), false},
		{"an ICMP type that nobody knows", v4(`4000`, `01`, a, b, `c8`+rest), false},
		{"ICMP without a type", `45 00 0014 0001 4000 40 01 0000 ` + a + b, false},
		{"an IPv6 datagram", v6(`11`, from6, to6, udp), true},
		{"IPv6 to a group", v6(`11`, from6, `ff020000000000000000000000000001`, udp), false},
		{"IPv6 from nobody", v6(`11`, `00000000000000000000000000000000`, to6, udp), false},
		{"an ICMPv6 echo request", v6(`3a`, from6, to6, `80`+rest), true},
		{"a neighbour solicitation", v6(`3a`, from6, to6, `87`+rest), true},
		{"an ICMPv6 redirect", v6(`3a`, from6, to6, `89`+rest), false},
		{"ICMPv6 unreachable", v6(`3a`, from6, to6, `01`+rest), false},
		{"ICMPv6 too big", v6(`3a`, from6, to6, `02`+rest), false},
		{"an ICMPv6 error that nobody knows", v6(`3a`, from6, to6, `7f`+rest), false},
		{"ICMPv6 without a type", `6000 0000 0000 3a 40 ` + from6 + to6, false},
		{"a later IPv6 fragment", v6(`2c`, from6, to6, `1100 0008 00000001`), false},
	} {
		b := wire(t, c.packet)
		ip, err := ParseIP(b)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := MayAnswer(b, &ip); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

func TestICMPErrorsOnTheWire(t *testing.T) {
	gw4, gw6 := addr("172.18.0.1"), addr("fd00:1::1")
	ctr4, ctr6 := addr("172.18.0.2"), addr("fd00:1::2")
	for _, c := range []struct {
		e    func(v4 bool) ICMPError
		info uint32
		t4   [2]byte // type and code of ICMP
		t6   [2]byte // and of ICMPv6
	}{
		{PortUnreachable, 0, [2]byte{3, 3}, [2]byte{1, 4}},
		{HostUnreachable, 0, [2]byte{3, 1}, [2]byte{1, 3}},
		{NetUnreachable, 0, [2]byte{3, 0}, [2]byte{1, 0}},
		{Prohibited, 0, [2]byte{3, 13}, [2]byte{1, 1}},
		{TimeExceeded, 0, [2]byte{11, 0}, [2]byte{3, 0}},
		{func(v4 bool) ICMPError { return TooBig(v4, 1400) }, 1400, [2]byte{3, 4}, [2]byte{2, 0}},
	} {
		for _, n := range []int{28, 548, 549, 1500} {
			quoted := bytes.Repeat([]byte{0xab}, n)
			b := ICMPErrorFrame(MAC{1}, MAC{2}, gw4, ctr4, c.e(true), quoted)[EthernetLen:]
			ip, err := ParseIP(b)
			if err != nil || ip.Src != gw4 || ip.Dst != ctr4 || ip.Proto != ProtoICMP || !HeaderValid(b, &ip) || !TransportValid(b, &ip) {
				t.Fatalf("%+v, %v, or a wrong checksum", ip, err)
			}
			if len(b) > 576 || (n > 548) != (len(b) == 576) && n != 548 {
				t.Errorf("%d bytes for a packet of %d; RFC 1812 says at most 576", len(b), n)
			}
			m := header.ICMPv4(b[ip.HeaderLen:])
			if [2]byte(m[:2]) != c.t4 || uint32(m.MTU()) != c.info || !bytes.HasPrefix(quoted, m.Payload()) {
				t.Errorf("%x, want type and code %v, MTU %d", m[:8], c.t4, c.info)
			}
		}
		for _, n := range []int{48, 1232, 1233, 1500} {
			quoted := bytes.Repeat([]byte{0xab}, n)
			b := ICMPErrorFrame(MAC{1}, MAC{2}, gw6, ctr6, c.e(false), quoted)[EthernetLen:]
			ip, err := ParseIP(b)
			if err != nil || ip.Src != gw6 || ip.Dst != ctr6 || ip.Proto != ProtoICMPv6 || !TransportValid(b, &ip) {
				t.Fatalf("%+v, %v, or a wrong checksum", ip, err)
			}
			if len(b) != IPv6Len+ICMPLen+min(n, 1232) {
				t.Errorf("%d bytes for a packet of %d; RFC 4443 says at most 1280", len(b), n)
			}
			m := header.ICMPv6(b[ip.HeaderLen:])
			if [2]byte(m[:2]) != c.t6 || m.MTU() != c.info {
				t.Errorf("%x, want type and code %v, MTU %d", m[:8], c.t6, c.info)
			}
		}
	}
}

func TestEchoRequestsAreReadAndAnswered(t *testing.T) {
	for _, c := range []struct {
		ip      IP
		request string
		reply   byte
	}{
		{IP{Src: addr("172.18.0.2"), Dst: addr("198.51.100.7"), Proto: ProtoICMP, TTL: 9}, `08 00 0000 1234 0001 70696e67`, 0},
		{IP{Src: addr("fd00:1::2"), Dst: addr("2001:db8::7"), Proto: ProtoICMPv6, TTL: 9}, `80 00 0000 1234 0001 70696e67`, 129},
	} {
		e, ok := ParseEcho(wire(t, c.request), &c.ip)
		if !ok || e.Src != c.ip.Src || e.Dst != c.ip.Dst || e.ID != 0x1234 || e.Seq != 1 || e.TTL != 9 || string(e.Data) != "ping" {
			t.Errorf("%+v, %t", e, ok)
		}
		b := EchoFrame(MAC{1}, MAC{2}, e.Dst, e.Src, e.ID, e.Seq, e.Data)[EthernetLen:]
		ip, err := ParseIP(b)
		if err != nil || ip.Src != c.ip.Dst || ip.Dst != c.ip.Src || ip.Proto != c.ip.Proto || !TransportValid(b, &ip) {
			t.Errorf("reply %+v, %v, or a wrong checksum", ip, err)
		}
		want := wire(t, c.request)
		want[0] = c.reply
		copy(want[2:4], b[ip.HeaderLen+2:])
		if !bytes.Equal(b[ip.HeaderLen:], want) {
			t.Errorf("reply %x, want %x", b[ip.HeaderLen:], want)
		}
	}
}

func TestOnlyEchoRequestsOfTheOwnVersionAreEchoRequests(t *testing.T) {
	v4 := IP{Src: addr("172.18.0.2"), Dst: addr("198.51.100.7"), Proto: ProtoICMP}
	v6 := IP{Src: addr("fd00:1::2"), Dst: addr("2001:db8::7"), Proto: ProtoICMPv6}
	crossed := func(ip IP, proto uint8) IP { ip.Proto = proto; return ip }
	for _, c := range []struct {
		name    string
		ip      IP
		message string
	}{
		{"nothing", v4, ``},
		{"seven bytes", v4, `08 00 0000 1234 00`},
		{"a reply", v4, `00 00 0000 1234 0001`},
		{"code 1", v4, `08 01 0000 1234 0001`},
		{"ICMPv6's type in ICMP", v4, `80 00 0000 1234 0001`},
		{"ICMP's type in ICMPv6", v6, `08 00 0000 1234 0001`},
		{"ICMPv6 in IPv4", crossed(v4, ProtoICMPv6), `80 00 0000 1234 0001`},
		{"ICMP in IPv6", crossed(v6, ProtoICMP), `08 00 0000 1234 0001`},
	} {
		if e, ok := ParseEcho(wire(t, c.message), &c.ip); ok {
			t.Errorf("%s: %+v", c.name, e)
		}
	}
}

// The largest echo replies fill an IP packet.
func TestTheLargestEchoRepliesFit(t *testing.T) {
	for _, c := range []struct {
		src, dst netip.Addr
		most     int
	}{{addr("198.51.100.7"), addr("172.18.0.2"), 65507}, {addr("2001:db8::7"), addr("fd00:1::2"), 65527}} {
		b := EchoFrame(MAC{1}, MAC{2}, c.src, c.dst, 1, 1, make([]byte, c.most))[EthernetLen:]
		if ip, err := ParseIP(b); err != nil || ip.Len != len(b) || !TransportValid(b, &ip) {
			t.Errorf("%s: %+v, %v, or a wrong checksum", c.dst, ip, err)
		}
	}
}

// A later fragment is no message; who an error is about stands in its quote.
func TestWhatAnErrorIsAboutIsRead(t *testing.T) {
	v4 := IP{Src: addr("172.18.0.2"), Dst: addr("172.18.0.3"), Proto: ProtoICMP}
	v6 := IP{Src: addr("fd00:1::2"), Dst: addr("fd00:1::3"), Proto: ProtoICMPv6}
	quote4 := `45 00 001c 0000 4000 40 11 0000 ac120003 ac120002`
	quote6 := `6000 0000 0008 11 40 fd000001000000000000000000000003 fd000001000000000000000000000002`
	with := func(ip IP, change func(*IP)) IP { change(&ip); return ip }
	for _, c := range []struct {
		name, message string
		ip            IP
		src, dst      string
		isError       bool
	}{
		{"unreachable", `03 03 0000 00000000` + quote4, v4, "172.18.0.3", "172.18.0.2", true},
		{"parameter problem", `0c 00 0000 00000000` + quote4, v4, "172.18.0.3", "172.18.0.2", true},
		{"too big", `02 00 0000 00000500` + quote6, v6, "fd00:1::3", "fd00:1::2", true},
		{"half a quote", `03 03 0000 00000000 45 00`, v4, "", "", true},
		{"no quote", `03 03 0000`, v4, "", "", true},
		{"a quote of the other version", `01 03 0000 00000000` + quote4 + quote4, v6, "", "", true},
		{"an echo request", `08 00 0000 00010001` + quote4, v4, "", "", false},
		{"an IPv6 echo request", `80 00 0000 00010001` + quote6, v6, "", "", false},
		{"a datagram", `03 03 0000 00000000` + quote4, with(v4, func(p *IP) { p.Proto = ProtoUDP }), "", "", false},
		{"the other version's", `03 03 0000 00000000` + quote4, with(v4, func(p *IP) { p.Proto = ProtoICMPv6 }), "", "", false},
		{"a later fragment", `03 03 0000 00000000` + quote4, with(v4, func(p *IP) { p.Fragment, p.Offset = true, 8 }), "", "", false},
		{"nothing", ``, v4, "", "", false},
	} {
		src, dst, isError := QuotedBy(wire(t, c.message), &c.ip)
		want := func(s string) netip.Addr {
			if s == "" {
				return netip.Addr{}
			}
			return addr(s)
		}
		if isError != c.isError || src != want(c.src) || dst != want(c.dst) {
			t.Errorf("%s: %s -> %s, %t", c.name, src, dst, isError)
		}
	}
}
