package stack

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// fragment4 is a fragment of a to the outside: bytes at an offset of packet id.
func fragment4(id uint16, at int, more bool, data []byte) []byte {
	f := ipFrame(a4, out4, packet.ProtoUDP, 64, data)
	binary.BigEndian.PutUint16(f[packet.EthernetLen+4:], id)
	field := uint16(at / 8)
	if more {
		field |= 0x2000
	}
	return fragmentOf(f, field)
}

// fragment6 is the same in IPv6; next is what the fragment header names.
func fragment6(id uint32, at int, more bool, next uint8, data []byte) []byte {
	h := make([]byte, packet.FragmentHeaderLen, packet.FragmentHeaderLen+len(data))
	h[0] = next
	field := uint16(at)
	if more {
		field |= 1
	}
	binary.BigEndian.PutUint16(h[2:], field)
	binary.BigEndian.PutUint32(h[4:], id)
	return ipFrame(a6, out6, packet.ProtoFragment, 64, append(h, data...))
}

// store is a store of fragments, with its time.
type store struct {
	t *testing.T
	fragments
	now time.Time
}

func newStore(t *testing.T, l Limits) *store {
	s := &store{t: t, now: time.Unix(1000, 0)}
	s.limits = l.withDefaults()
	s.onExpiry = func() {}
	t.Cleanup(s.close)
	return s
}

// add gives the packet that is whole with the frame, and how many were given up.
func (s *store) add(frame []byte) ([]byte, int) {
	s.t.Helper()
	body := frame[packet.EthernetLen:]
	ip, err := packet.ParseIP(body)
	if err != nil || !ip.Fragment {
		s.t.Fatalf("%x is no fragment: %v", frame, err)
	}
	pieces, dropped := s.fragments.add(body, &ip, s.now)
	if pieces == nil {
		return nil, dropped
	}
	return bytes.Join(pieces, nil), dropped
}

// Whatever the order, the packet is as it was before it was cut.
func TestFragmentsBecomeTheirPacket(t *testing.T) {
	data := make([]byte, 1000)
	for i := range data {
		data[i] = byte(i * 7)
	}
	whole4 := datagramFrame(gwMAC, aMAC, ap(a4, 1000), ap(out4, 2000), string(data))
	whole6 := datagramFrame(gwMAC, aMAC, ap(a6, 1000), ap(out6, 2000), string(data))
	payload6 := whole6[packet.EthernetLen+packet.IPv6Len:]
	// Destination options may be cut off with the rest: offsets count from them.
	optioned := append(options6(packet.ProtoUDP), payload6...)
	var six, behind [][]byte
	for at := 0; at < len(payload6); at += 200 {
		n := min(200, len(payload6)-at)
		six = append(six, fragment6(7, at, at+n < len(payload6), packet.ProtoUDP, payload6[at:at+n]))
	}
	for at := 0; at < len(optioned); at += 200 {
		n := min(200, len(optioned)-at)
		behind = append(behind, fragment6(8, at, at+n < len(optioned), packet.ProtoDestOpts, optioned[at:at+n]))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		for name, set := range map[string][][]byte{"IPv4": cut(whole4, 200), "IPv6": six, "IPv6 with options": behind} {
			s := newStore(t, Limits{})
			r.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
			for i, f := range set {
				got, dropped := s.add(f)
				if dropped != 0 || (len(got) > 0) != (i == len(set)-1) {
					t.Fatalf("%s: %d bytes after %d of %d, %d dropped", name, len(got), i+1, len(set), dropped)
				}
				if i < len(set)-1 {
					if twice, dropped := s.add(f); twice != nil || dropped != 0 {
						t.Fatalf("%s: a fragment that came twice did harm", name)
					}
					continue
				}
				ip, err := packet.ParseIP(got)
				if err != nil || ip.Fragment || ip.FragmentAt != 0 || ip.Len != len(got) || !packet.HeaderValid(got, &ip) || !packet.TransportValid(got, &ip) {
					t.Fatalf("%s: %+v, %v, or a wrong checksum", name, ip, err)
				}
				if _, _, payload, err := packet.ParseUDP(got[ip.HeaderLen:], &ip); err != nil || !bytes.Equal(payload, data) {
					t.Fatalf("%s: %d bytes, %v", name, len(payload), err)
				}
			}
			if n, cost := s.held(); n != 0 || cost != 0 {
				t.Fatalf("%s: %d packets of %d bytes are left", name, n, cost)
			}
		}
	}
}

// RFC 5722: what overlaps is dropped, all of it; so is what contradicts itself.
func TestFragmentsThatContradictEachOtherAreDropped(t *testing.T) {
	b := make([]byte, 64)
	other := bytes.Repeat([]byte{1}, 64)
	for _, c := range []struct {
		name   string
		frames [][]byte
		lost   int
	}{
		{"from before", [][]byte{fragment4(1, 32, true, b), fragment4(1, 0, true, b)}, 2},
		{"from behind", [][]byte{fragment4(1, 0, true, b), fragment4(1, 32, true, b)}, 2},
		{"inside", [][]byte{fragment4(1, 0, true, b), fragment4(1, 8, true, b[:8])}, 2},
		{"around", [][]byte{fragment4(1, 16, true, b[:8]), fragment4(1, 0, true, b)}, 2},
		{"the same place, other bytes", [][]byte{fragment4(1, 0, true, b), fragment4(1, 0, true, other)}, 2},
		{"the same place, longer", [][]byte{fragment4(1, 0, true, b[:8]), fragment4(1, 0, true, b)}, 2},
		{"an end before others", [][]byte{fragment4(1, 128, true, b), fragment4(1, 64, false, b)}, 2},
		{"two ends", [][]byte{fragment4(1, 64, false, b), fragment4(1, 128, false, b)}, 2},
		{"behind the end", [][]byte{fragment4(1, 64, false, b), fragment4(1, 128, true, b)}, 2},
		{"an end that becomes the middle", [][]byte{fragment4(1, 64, true, b), fragment4(1, 64, false, b)}, 2},
		{"IPv6", [][]byte{fragment6(1, 0, true, 17, b), fragment6(1, 32, true, 17, b)}, 2},
		{"no multiple of eight", [][]byte{fragment4(1, 0, true, b[:9])}, 1},
		{"IPv6, no multiple of eight", [][]byte{fragment6(1, 0, true, 17, b[:9])}, 1},
		{"nothing in it", [][]byte{fragment4(1, 8, true, nil)}, 1},
	} {
		s := newStore(t, Limits{})
		lost := 0
		for _, f := range c.frames {
			got, dropped := s.add(f)
			if got != nil {
				t.Errorf("%s: a packet came of it", c.name)
			}
			lost += dropped
		}
		if n, cost := s.held(); lost != c.lost || n != 0 || cost != 0 {
			t.Errorf("%s: %d given up, want %d; %d packets of %d bytes left", c.name, lost, c.lost, n, cost)
		}
	}
}

// A packet's header may differ in its fragments: what is put together is still one.
func TestAPacketLongerThanPacketsAreIsDropped(t *testing.T) {
	s := newStore(t, Limits{FragmentBytes: 1 << 20})
	const step = 8 * 1024
	for at := 0; at < 65512; at += step {
		n := min(step, 65512-at)
		f := fragment4(1, at, at+n < 65512, make([]byte, n))
		if at == 0 { // options, which the others do not have
			f = from4(a4, out4, packet.ProtoUDP, bytes.Repeat([]byte{1}, 40), make([]byte, n))
			binary.BigEndian.PutUint16(f[packet.EthernetLen+4:], 1)
			binary.BigEndian.PutUint16(f[packet.EthernetLen+6:], 0x2000)
		}
		got, dropped := s.add(f)
		if got != nil {
			t.Fatalf("a packet of %d bytes", len(got))
		}
		if last := at+n == 65512; (dropped > 0) != last {
			t.Errorf("%d given up at %d", dropped, at)
		}
	}
}

// Over quota the port's own oldest goes, whatever the quota is of.
func TestOverQuotaTheOldestPacketGoes(t *testing.T) {
	for name, l := range map[string]Limits{
		"packets": {FragmentDatagrams: 4},
		"bytes":   {FragmentBytes: 4*(packetCost+fragmentCost+packet.IPv4Len+512) + 100},
	} {
		s := newStore(t, l)
		half := make([]byte, 512)
		for id := range uint16(5) {
			_, dropped := s.add(fragment4(id, 0, true, half))
			if want := int(id) / 4; dropped != want {
				t.Errorf("%s: packet %d: %d given up, want %d", name, id, dropped, want)
			}
		}
		if got, _ := s.add(fragment4(1, 512, false, half)); got == nil {
			t.Errorf("%s: the second oldest was lost, too", name)
		}
		if got, _ := s.add(fragment4(0, 512, false, half)); got != nil {
			t.Errorf("%s: the oldest was kept", name)
		}
	}
}

func TestTheQuotaHoldsWhateverIsSent(t *testing.T) {
	l := Limits{FragmentDatagrams: 10, FragmentBytes: 20000}
	s := newStore(t, l)
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		f := fragment4(uint16(r.IntN(30)), 8*r.IntN(8000), r.IntN(4) > 0, make([]byte, 8*(1+r.IntN(180))))
		if ip, err := packet.ParseIP(f[packet.EthernetLen:]); err != nil || !ip.Fragment {
			continue
		}
		s.add(f)
		if n, cost := s.held(); n > l.FragmentDatagrams || cost > l.FragmentBytes || n != len(s.waiting) {
			t.Fatalf("%d packets of %d bytes", n, cost)
		}
	}
}

func TestAPacketHasOnlySoManyFragments(t *testing.T) {
	s := newStore(t, Limits{})
	for i := range maxFragments {
		if _, dropped := s.add(fragment4(1, 16*i, true, make([]byte, 8))); dropped != 0 {
			t.Fatalf("fragment %d: %d given up", i, dropped)
		}
	}
	if _, dropped := s.add(fragment4(1, 16*maxFragments, true, make([]byte, 8))); dropped != maxFragments+1 {
		t.Errorf("%d given up, want all %d", dropped, maxFragments+1)
	}
}

// RFC 791 and RFC 8200: 30 and 60 seconds.
func TestFragmentsWaitOnlySoLong(t *testing.T) {
	s := newStore(t, Limits{})
	s.add(fragment6(1, 0, true, packet.ProtoUDP, make([]byte, 8)))
	s.add(fragment4(1, 0, true, make([]byte, 8)))
	s.add(fragment4(2, 8, true, make([]byte, 8)))
	for _, c := range []struct {
		after           time.Duration
		dropped, quoted int
	}{{29 * time.Second, 0, 0}, {30 * time.Second, 2, 1}, {59 * time.Second, 0, 0}, {60 * time.Second, 1, 1}} {
		firsts, dropped := s.expire(s.now.Add(c.after))
		if dropped != c.dropped || len(firsts) != c.quoted {
			t.Errorf("after %v: %d given up, %d first ones, want %d, %d", c.after, dropped, len(firsts), c.dropped, c.quoted)
		}
		for _, f := range firsts {
			if ip, err := packet.ParseIP(f); err != nil || !ip.Fragment || !ip.IsFirst() || !packet.HeaderValid(f, &ip) {
				t.Errorf("after %v: %x is no first fragment: %v", c.after, f, err)
			}
		}
	}
}

func TestTheTimeoutIsToldToTheContainer(t *testing.T) {
	w := newWorld(t, true)
	w.a.send(plain, fragment4(1, 0, true, make([]byte, 8)))
	w.a.send(plain, fragment6(1, 0, true, packet.ProtoUDP, make([]byte, 8)))
	w.settle(w.a, aMAC, a4)
	w.pa.fragments.mu.Lock()
	for _, p := range w.pa.fragments.byAge {
		p.deadline = time.Now()
	}
	w.pa.fragments.mu.Unlock()
	w.pa.expireFragments()
	for _, typ := range []byte{packet.ICMPTimeExceeded, packet.ICMPv6TimeExceeded} {
		body := w.a.receive().frame[packet.EthernetLen:]
		ip, err := packet.ParseIP(body)
		if err != nil || body[ip.HeaderLen] != typ || body[ip.HeaderLen+1] != packet.ICMPCodeReassembly {
			t.Errorf("%+v %x, %v", ip, body, err)
		}
	}
	if n := w.pa.Stats().Drops["fragments"]; n != 2 {
		t.Errorf("%d counted", n)
	}
}

// One container's fragments do not push out another's.
func TestFragmentsOfOneContainerDoNotTouchAnothers(t *testing.T) {
	w := newWorld(t, false)
	got := make(chan netip.Addr, 1)
	w.net.Gateway().SetHandlers(Handlers{UDP: func(d packet.Datagram) { got <- d.Src.Addr() }})
	whole := datagramFrame(gwMAC, bMAC, ap(b4, 1000), ap(out4, 2000), string(make([]byte, 3000)))
	parts := cut(whole, 1480)
	w.b.send(plain, parts[0])
	for id := range uint16(2000) {
		w.a.send(plain, fragment4(id, 0, true, make([]byte, 1480)))
	}
	w.settle(w.a, aMAC, a4)
	for _, f := range parts[1:] {
		w.b.send(plain, f)
	}
	if src := <-got; src != b4 {
		t.Errorf("a datagram of %s", src)
	}
	stats := w.pa.Stats()
	n, cost := stats.FragmentDatagrams, stats.FragmentBytes
	if lost := stats.Drops["fragments"]; n == 0 || n > DefaultFragmentDatagrams || cost > DefaultFragmentBytes || int(lost)+n != 2000 {
		t.Errorf("a holds %d packets of %d bytes, and lost %d of 2000", n, cost, lost)
	}
}

// What the guard drops of whole packets it drops of those that were cut, too.
func TestNothingIsHiddenByCutting(t *testing.T) {
	w := newWorld(t, true)
	w.net.Gateway().SetHandlers(Handlers{Echo: func(e packet.Echo) { t.Errorf("echo request to %s", e.Dst) }})
	// Destination options that say the chain goes on in the second fragment
	// cannot be judged, and go.
	w.a.send(plain, fragment6(1, 0, true, packet.ProtoDestOpts, []byte{packet.ProtoICMPv6, 1, 1, 4, 0, 0, 0, 0}))
	w.a.send(plain, fragment6(1, 8, false, packet.ProtoDestOpts, make([]byte, 16)))
	// An error about others' packets whose quote is in the second fragment.
	lie := quoting(a4, gw4.Addr(), gw4.Addr(), b4)
	for _, f := range cut(to(gwMAC, lie), 8) {
		w.a.send(plain, f)
	}
	w.settle(w.a, aMAC, a4)
	w.a.silent()
	d := w.pa.Stats().Drops
	if d["malformed"] != 1 || d["icmp_error"] == 0 {
		t.Errorf("drops are %v", d)
	}
}

func TestAClosedPortKeepsNoFragments(t *testing.T) {
	w := newWorld(t, false)
	w.a.send(plain, fragment4(1, 0, true, make([]byte, 1480)))
	w.settle(w.a, aMAC, a4)
	w.pa.Close()
	body := fragment4(2, 0, true, make([]byte, 8))[packet.EthernetLen:]
	ip, err := packet.ParseIP(body)
	if err != nil {
		t.Fatal(err)
	}
	w.pa.fragments.add(body, &ip, time.Now())
	if n, cost := w.pa.fragments.held(); n != 0 || cost != 0 {
		t.Errorf("%d packets of %d bytes", n, cost)
	}
}
