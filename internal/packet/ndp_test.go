package packet

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

const (
	target   = `fd000001000000000000000000000003`
	solicit  = `87 00 0000 00000000 ` + target
	advert   = `88 00 0000 20000000 ` + target
	sourceIs = `01 01 0242ac120002 `
	targetIs = `02 01 0242ac120003 `
)

var (
	fromNode = IP{Src: addr("fd00:1::2"), Dst: addr("ff02::1:ff00:3"), Proto: ProtoICMPv6, TTL: 255}
	nobody   = IP{Src: addr("::"), Dst: addr("ff02::1:ff00:3"), Proto: ProtoICMPv6, TTL: 255}
)

func TestNeighbourMessagesAreRead(t *testing.T) {
	own, other := MAC{0x02, 0x42, 0xac, 0x12, 0, 2}, MAC{0x02, 0x42, 0xac, 0x12, 0, 3}
	for _, c := range []struct {
		name, message string
		ip            IP
		mac           MAC
		hasMAC        bool
	}{
		{"a solicitation", solicit, fromNode, MAC{}, false},
		{"with a source", solicit + sourceIs, fromNode, own, true},
		{"with a nonce before it", solicit + `0e01 010203040506` + sourceIs, fromNode, own, true},
		{"with the source twice", solicit + sourceIs + sourceIs, fromNode, own, true},
		{"with an option for advertisements", solicit + targetIs, fromNode, MAC{}, false},
		{"for duplicate address detection", solicit, nobody, MAC{}, false},
		{"an advertisement", advert + targetIs, fromNode, other, true},
		{"an advertisement to one", `88 00 0000 60000000 ` + target + targetIs, IP{Src: fromNode.Src, Dst: addr("fd00:1::3"), TTL: 255}, other, true},
	} {
		got, mac, hasMAC, err := ParseNeighbor(wire(t, c.message), &c.ip)
		if err != nil || got != addr("fd00:1::3") || mac != c.mac || hasMAC != c.hasMAC {
			t.Errorf("%s: %s at %s (%t), %v", c.name, got, mac, hasMAC, err)
		}
	}
}

// RFC 4861 7.1.1 and 7.1.2, one row for each sentence, and RFC 6980.
func TestNeighbourMessagesThatMustBeDiscarded(t *testing.T) {
	with := func(ip IP, change func(*IP)) IP { change(&ip); return ip }
	for _, c := range []struct {
		name, message string
		ip            IP
	}{
		{"nothing", ``, fromNode},
		{"too short", solicit[:len(solicit)-2], fromNode},
		{"hop limit 254: it has passed a router", solicit, with(fromNode, func(p *IP) { p.TTL = 254 })},
		{"code 1", `87 01 0000 00000000 ` + target, fromNode},
		{"a fragment", solicit, with(fromNode, func(p *IP) { p.Fragment, p.More = true, true })},
		{"an atomic fragment", solicit, with(fromNode, func(p *IP) { p.FragmentAt = 40 })},
		{"another type", `85 00 0000 00000000 ` + target, fromNode},
		{"a group as the target", `87 00 0000 00000000 ff020000000000000000000000000001`, fromNode},
		{"an option of no length", solicit + `0100 0242ac120002`, fromNode},
		{"an option longer than the message", solicit + `0102 0242ac120002`, fromNode},
		{"seven bytes of an option", solicit + `0101 0242ac1200`, fromNode},
		{"one byte behind an option", solicit + sourceIs + `00`, fromNode},
		{"two sources", solicit + sourceIs + `0101 0242ac120009`, fromNode},
		{"from nobody, but with a source", solicit + sourceIs, nobody},
		{"from nobody, to one", solicit, with(nobody, func(p *IP) { p.Dst = addr("fd00:1::3") })},
		{"from nobody, to all", solicit, with(nobody, func(p *IP) { p.Dst = AllNodes })},
		{"solicited, but to all", `88 00 0000 60000000 ` + target, with(fromNode, func(p *IP) { p.Dst = AllNodes })},
	} {
		if got, mac, _, err := ParseNeighbor(wire(t, c.message), &c.ip); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %s at %s, %v", c.name, got, mac, err)
		}
	}
}

func TestANeighbourSolicitationIsReadAsItIsWritten(t *testing.T) {
	mac, src, tgt := MAC{0x02, 0x42, 0xac, 0x12, 0, 3}, addr("fd00:1::3"), addr("fd00:1::abcd:1234")
	b := NeighborSolicitFrame(mac, src, tgt)
	if Destination(b) != (MAC{0x33, 0x33, 0xff, 0xcd, 0x12, 0x34}) || Source(b) != mac || EtherType(b) != TypeIPv6 {
		t.Errorf("frame %x", b)
	}
	ip, err := ParseIP(b[EthernetLen:])
	if err != nil || ip.Dst != addr("ff02::1:ffcd:1234") || ip.Src != src || !TransportValid(b[EthernetLen:], &ip) {
		t.Errorf("%+v, %v", ip, err)
	}
	got, from, hasMAC, err := ParseNeighbor(b[EthernetLen+ip.HeaderLen:], &ip)
	if err != nil || got != tgt || from != mac || !hasMAC {
		t.Errorf("%s from %s (%t), %v", got, from, hasMAC, err)
	}
}

func TestANeighbourAdvertisementOnTheWire(t *testing.T) {
	mac := MAC{0x02, 0x42, 0xac, 0x12, 0, 3}
	for _, c := range []struct {
		dst   string
		flags byte
	}{{"fd00:1::2", 0x60}, {"ff02::1", 0x20}} {
		b := NeighborAdvertFrame(Broadcast, mac, addr(c.dst), addr("fd00:1::3"))
		body := b[EthernetLen:]
		ip, err := ParseIP(body)
		if err != nil || ip.TTL != 255 || ip.Src != addr("fd00:1::3") || ip.Dst != addr(c.dst) || !TransportValid(body, &ip) {
			t.Fatalf("%+v, %v, or a wrong checksum", ip, err)
		}
		m := bytes.Clone(body[ip.HeaderLen:ip.Len])
		got := header.NDPNeighborAdvert(m[4:])
		if got.OverrideFlag() != true || got.SolicitedFlag() != (c.flags&0x40 != 0) || got.RouterFlag() {
			t.Errorf("to %s: flags %x", c.dst, m[4])
		}
		m[2], m[3] = 0, 0
		if want := wire(t, `88 00 0000 `)[:4]; !bytes.Equal(m[:4], want) || m[4] != c.flags {
			t.Errorf("to %s: %x", c.dst, m)
		}
		if want := wire(t, `000000`+target+targetIs); !bytes.Equal(m[5:], want) {
			t.Errorf("to %s: %x, want %x", c.dst, m[5:], want)
		}
		if tgt, gotMAC, has, err := ParseNeighbor(body[ip.HeaderLen:ip.Len], &ip); err != nil || !has || gotMAC != mac || tgt != addr("fd00:1::3") {
			t.Errorf("read back: %s at %s, %v", tgt, gotMAC, err)
		}
	}
}

func FuzzParseNeighbor(f *testing.F) {
	for _, s := range []string{solicit, solicit + sourceIs, advert + targetIs, solicit + `0e01 010203040506` + sourceIs} {
		f.Add(wire(f, s), byte(255), false)
		f.Add(wire(f, s), byte(255), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, hops byte, fromNobody bool) {
		ip := fromNode
		if fromNobody {
			ip = nobody
		}
		ip.TTL = hops
		tgt, mac, hasMAC, err := ParseNeighbor(b, &ip)
		if err != nil {
			return
		}
		solicited := b[0] == NDNeighborSolicit
		switch {
		case hops != 255, len(b) < 24, b[1] != 0, tgt.IsMulticast(), tgt != netip.AddrFrom16([16]byte(b[8:24])):
			t.Fatalf("%s of hop limit %d", tgt, hops)
		case fromNobody && solicited && hasMAC:
			t.Fatal("who has no address has told its MAC")
		}
		// gVisor also refuses options of other kinds for what is in them.
		it, err := header.NDPOptions(b[24:]).Iter(true)
		if err != nil {
			return
		}
		var theirs []byte
		for {
			o, done, err := it.Next()
			if err != nil || done {
				break
			}
			switch o := o.(type) {
			case header.NDPSourceLinkLayerAddressOption:
				if solicited && len(o) == 6 {
					theirs = []byte(o)
				}
			case header.NDPTargetLinkLayerAddressOption:
				if !solicited && len(o) == 6 {
					theirs = []byte(o)
				}
			}
		}
		if hasMAC != (theirs != nil) || (hasMAC && !bytes.Equal(theirs, mac[:])) {
			t.Fatalf("MAC %s (%t); gVisor finds %x", mac, hasMAC, theirs)
		}
	})
}
