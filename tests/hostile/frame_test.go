package main

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/footbridge-net/footbridge/internal/packet"
)

var (
	a4, b4 = netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	a6, b6 = netip.MustParseAddr("fe80::2"), netip.MustParseAddr("fe80::3")
	macA   = packet.MAC{2, 0, 0, 0, 0, 2}
)

// A hostile frame must be wrong in the one thing that it is about: what is built is otherwise as real stacks make it.

func TestPacketsAreWhole(t *testing.T) {
	mark := []byte("0123456789")
	for name, ip := range map[string][]byte{
		"UDP over IPv4": udpPacket(netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), mark),
		"UDP over IPv6": udpPacket(netip.AddrPortFrom(a6, 1), netip.AddrPortFrom(b6, 2), mark),
		"TCP over IPv4": tcpPacket(netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), flagSYN, 7, 0, mark),
		"TCP over IPv6": tcpPacket(netip.AddrPortFrom(a6, 1), netip.AddrPortFrom(b6, 2), flagSYN, 7, 0, mark),
		"ping":          icmpPacket(a4, b4, packet.ICMPEchoRequest, 0, 1, mark),
		"ping, IPv6":    icmpPacket(a6, b6, packet.ICMPv6EchoRequest, 0, 1, mark),
		"IPv4 options":  ipPacket(a4, b4, packet.ProtoUDP, 64, udpDatagram(netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), mark), 1, 1, 1, 0),
		"IPv6 options": ipPacket(a6, b6, packet.ProtoDestOpts, 64,
			append(options(packet.ProtoUDP, 8, mark), udpDatagram(netip.AddrPortFrom(a6, 1), netip.AddrPortFrom(b6, 2), mark)...)),
		"router advertisement":    routerAdvert(a6, macA, stolen, b6, mark),
		"neighbour advertisement": neighborAdvert(a6, b6, a6, macA, mark),
		"neighbour solicitation":  neighborSolicit(a6, b6, b6, macA, mark),
		"redirect":                redirect(a4, b4, a4, b4, macA, make([]byte, 28), mark),
		"redirect, IPv6":          redirect(a6, b6, a6, b6, macA, nil, mark),
	} {
		p, err := packet.ParseIP(ip)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Len != len(ip) || !packet.HeaderValid(ip, &p) || !packet.TransportValid(ip, &p) {
			t.Errorf("%s: length %d of %d, checksums %v %v", name, p.Len, len(ip), packet.HeaderValid(ip, &p), packet.TransportValid(ip, &p))
		}
		if !bytes.Contains(ip, mark) {
			t.Errorf("%s does not carry its mark", name)
		}
	}
}

func TestNeighbourDiscoveryIsAsTheRFCSays(t *testing.T) {
	mark := []byte("0123456789")
	ip := routerAdvert(a6, macA, stolen, b6, mark)
	advert := header.NDPRouterAdvert(header.ICMPv6(ip[packet.IPv6Len:]).MessageBody())
	if got := advert.RouterLifetime().Seconds(); got != 9000 {
		t.Errorf("the router stays for %v s", got)
	}
	it, err := advert.Options().Iter(true)
	if err != nil {
		t.Fatal(err)
	}
	var prefix, server bool
	for {
		option, done, err := it.Next()
		if err != nil {
			t.Fatal(err)
		}
		if done {
			break
		}
		switch o := option.(type) {
		case header.NDPPrefixInformation:
			prefix = o.Prefix().String() == stolen.String() && o.PrefixLength() == 64 && o.AutonomousAddressConfigurationFlag()
		case header.NDPRecursiveDNSServer:
			addresses, err := o.Addresses()
			server = err == nil && len(addresses) == 1 && addresses[0].String() == b6.String()
		}
	}
	if !prefix || !server {
		t.Errorf("prefix %v, name server %v", prefix, server)
	}
	p, err := packet.ParseIP(neighborAdvert(a6, b6, a6, macA, mark))
	if err != nil {
		t.Fatal(err)
	}
	target, mac, has, err := packet.ParseNeighbor(neighborAdvert(a6, b6, a6, macA, mark)[packet.IPv6Len:], &p)
	if err != nil || target != a6 || mac != macA || !has {
		t.Errorf("advertisement: %v %v %v %v", target, mac, has, err)
	}
}

func TestFragments(t *testing.T) {
	for _, c := range []struct{ src, dst netip.Addr }{{a4, b4}, {a6, b6}} {
		p, err := packet.ParseIP(fragment(c.src, c.dst, packet.ProtoUDP, 7, 1480, true, make([]byte, 16)))
		if err != nil || !p.Fragment || !p.More || p.Offset != 1480 || p.Proto != packet.ProtoUDP || p.Len-p.HeaderLen != 16 {
			t.Errorf("from %s: %+v, %v", c.src, p, err)
		}
	}
}

func TestDHCP(t *testing.T) {
	mark := []byte("0123456789")
	m := dhcpAnswer(a4, b4, macA, dhcpOffer, mark)
	if m[0] != 2 || binary.BigEndian.Uint32(m[236:]) != 0x63825363 || !bytes.Contains(m, append([]byte{53, 1}, dhcpOffer)) || m[len(m)-1] != 255 {
		t.Errorf("%x", m)
	}
}

func TestTags(t *testing.T) {
	f := tagged(inEthernet(macA, macA, udpPacket(netip.AddrPortFrom(a4, 1), netip.AddrPortFrom(b4, 2), nil)), 0x8100, 5)
	if packet.EtherType(f) != 0x8100 || f[14] != 0 || f[15] != 5 || binary.BigEndian.Uint16(f[16:]) != packet.TypeIPv4 {
		t.Errorf("%x", f[:18])
	}
}

func TestOpenFramesHoldForAllPorts(t *testing.T) {
	m := &machine{ip4: a4, ip6: a6}
	for _, to := range []netip.Addr{b4, b6} {
		for _, proto := range []uint8{packet.ProtoUDP, packet.ProtoTCP} {
			f, head := m.open(proto, netip.AddrPortFrom(to, 9), []byte("x"))
			if err := head.Check(len(f), packet.EtherType(f)); err != nil {
				t.Error(err)
			}
			binary.BigEndian.PutUint16(f[head.CsumStart:], 4711) // as Flood does
			at := int(head.CsumStart + head.CsumOffset)
			binary.BigEndian.PutUint16(f[at:], ^packet.Sum(f[head.CsumStart:], 0)) // as the receiver does
			ip, err := packet.ParseIP(f[packet.EthernetLen:])
			if err != nil || !packet.TransportValid(f[packet.EthernetLen:], &ip) {
				t.Errorf("protocol %d to %s: %v", proto, to, err)
			}
		}
	}
}

func TestQuestionsAreQuestions(t *testing.T) {
	m := new(dns.Msg)
	if err := m.Unpack(question(7, "alice")); err != nil || m.Id != 7 || m.Question[0].Name != "alice." {
		t.Errorf("%v, %v", m, err)
	}
}
