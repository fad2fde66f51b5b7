package packet

import (
	"errors"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const routerSolicit = `85 00 0000 00000000 `

var (
	fromHost   = IP{Src: addr("fe80::42:acff:fe12:2"), Dst: AllRouters, Proto: ProtoICMPv6, TTL: 255}
	fromNobody = IP{Src: addr("::"), Dst: AllRouters, Proto: ProtoICMPv6, TTL: 255}
)

func TestRouterSolicitationsAreRead(t *testing.T) {
	own := MAC{0x02, 0x42, 0xac, 0x12, 0, 2}
	for _, c := range []struct {
		name, message string
		ip            IP
		mac           MAC
		hasMAC        bool
	}{
		{"bare", routerSolicit, fromHost, MAC{}, false},
		{"with a source", routerSolicit + sourceIs, fromHost, own, true},
		{"with a nonce before it", routerSolicit + `0e01 010203040506` + sourceIs, fromHost, own, true},
		{"from no address", routerSolicit, fromNobody, MAC{}, false},
	} {
		mac, hasMAC, err := ParseRouterSolicit(wire(t, c.message), &c.ip)
		if err != nil || mac != c.mac || hasMAC != c.hasMAC {
			t.Errorf("%s: %s (%t), %v", c.name, mac, hasMAC, err)
		}
	}
}

// RFC 4861 6.1.1, one row for each sentence, and RFC 6980.
func TestRouterSolicitationsThatMustBeDiscarded(t *testing.T) {
	with := func(ip IP, change func(*IP)) IP { change(&ip); return ip }
	for _, c := range []struct {
		name, message string
		ip            IP
	}{
		{"nothing", ``, fromHost},
		{"too short", `85 00 0000 000000`, fromHost},
		{"another type", `86 00 0000 00000000`, fromHost},
		{"hop limit 254: it has passed a router", routerSolicit, with(fromHost, func(p *IP) { p.TTL = 254 })},
		{"code 1", `85 01 0000 00000000`, fromHost},
		{"a fragment", routerSolicit, with(fromHost, func(p *IP) { p.Fragment, p.More = true, true })},
		{"an atomic fragment", routerSolicit, with(fromHost, func(p *IP) { p.FragmentAt = 40 })},
		{"an option of no length", routerSolicit + `01 00 0242ac120002`, fromHost},
		{"an option longer than the message", routerSolicit + `01 02 0242ac120002`, fromHost},
		{"half an option", routerSolicit + `01 01 0242`, fromHost},
		{"a source, and nobody to answer to", routerSolicit + sourceIs, fromNobody},
		{"two sources", routerSolicit + sourceIs + `01 01 0242ac120003`, fromHost},
	} {
		if _, _, err := ParseRouterSolicit(wire(t, c.message), &c.ip); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", c.name, err)
		}
	}
}

func TestDatagramsForDHCPClientsHaveTheirWholeChecksum(t *testing.T) {
	for _, c := range []struct{ src, dst string }{
		{"172.18.0.1:67", "255.255.255.255:68"}, {"172.18.0.1:67", "172.18.0.2:68"}, {"[fe80::1]:547", "[fe80::2]:546"},
	} {
		src, dst := netip.MustParseAddrPort(c.src), netip.MustParseAddrPort(c.dst)
		for n := range 300 { // odd and even lengths
			frame := UDPFrame(Broadcast, MAC{2}, src, dst, make([]byte, n))
			body := frame[EthernetLen:]
			ip, err := ParseIP(body)
			if err != nil || !HeaderValid(body, &ip) || !TransportValid(body, &ip) {
				t.Fatalf("%s to %s, %d bytes: %v", src, dst, n, err)
			}
			if header.UDP(body[ip.HeaderLen:]).Checksum() == 0 {
				t.Fatalf("%s to %s, %d bytes: no checksum", src, dst, n)
			}
			from, to, payload, err := ParseUDP(body[ip.HeaderLen:], &ip)
			if err != nil || from != src || to != dst || len(payload) != n {
				t.Fatalf("%s to %s: %v, %v, %d bytes, %v", src, dst, from, to, len(payload), err)
			}
		}
	}
}

func TestAMessageOfARouterIsValid(t *testing.T) {
	frame := RouterMessageFrame(MAC{2, 1}, MAC{2, 2}, addr("fe80::1"), AllNodes, wire(t, `86 00 ffff 40c0ffff 00000000 00000000`))
	ip, err := ParseIP(frame[EthernetLen:])
	if err != nil || ip.TTL != 255 || !TransportValid(frame[EthernetLen:], &ip) {
		t.Errorf("%+v, %v", ip, err)
	}
}

// Appendix A of RFC 4291, and what Linux makes of it.
func TestTheAddressThatAKernelDerives(t *testing.T) {
	m := MAC{0x02, 0x42, 0xac, 0x12, 0x00, 0x02}
	if a, ok := m.SLAAC(netip.MustParsePrefix("fd00:1::/64")); !ok || a != addr("fd00:1::42:acff:fe12:2") {
		t.Errorf("%v %v", a, ok)
	}
	for _, p := range []string{"fd00:1::/80", "fd00:1::/56", "10.0.0.0/24"} {
		if a, ok := m.SLAAC(netip.MustParsePrefix(p)); ok {
			t.Errorf("%s: %v", p, a)
		}
	}
}

func FuzzParseRouterSolicit(f *testing.F) {
	f.Add([]byte{133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 66, 172, 18, 0, 2}, true)
	f.Add([]byte{133, 0, 0, 0, 0, 0, 0, 0, 1, 0}, false)
	f.Fuzz(func(t *testing.T, b []byte, named bool) {
		ip := fromNobody
		if named {
			ip = fromHost
		}
		mac, hasMAC, err := ParseRouterSolicit(b, &ip)
		if err != nil {
			return
		}
		if len(b) < 8 || b[0] != NDRouterSolicit || (hasMAC && !named) || (!hasMAC && mac != MAC{}) {
			t.Errorf("%x: %s %t", b, mac, hasMAC)
		}
	})
}
