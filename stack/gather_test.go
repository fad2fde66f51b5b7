package stack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/footbridge-net/footbridge/internal/dgram"
	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// datagramFrom is one of a flow that has a name.
func datagramFrom(flow byte, payload string) packet.Datagram {
	ip := append([]byte{0x45, 19: flow, 27: 0}, payload...)
	return packet.Datagram{Src: ap(a4, 1000+uint16(flow)), Dst: ap(out4, 53), TTL: 64, IP: ip, Payload: ip[28:]}
}

// text says what a datagram is: flow, pieces, what is quoted of it.
func text(d packet.Datagram) string {
	var pieces []string
	for rest := range slices.Chunk(d.Payload, max(1, d.SegmentSize)) {
		pieces = append(pieces, string(rest))
	}
	if d.SegmentSize == 0 {
		pieces = []string{string(d.Payload)}
	}
	return fmt.Sprintf("%c:%s(%s)", d.IP[19], strings.Join(pieces, "+"), d.IP[28:])
}

func TestDatagramsOfARowAreHandedOnTogether(t *testing.T) {
	many := strings.Repeat(" Axx", dgram.Together)
	long := strings.Repeat("x", 40000)
	for _, c := range []struct{ name, sent, want string }{
		{"one at a time", "Aaa . Aaa .", "A:aa(aa) A:aa(aa)"},
		{"the first at once", "Aaa Abb Acc .", "A:aa(aa) A:bb+cc(bb)"},
		{"one is left", "Aaa Abb .", "A:aa(aa) A:bb(bb)"},
		{"a short one ends it", "Aaa Abb Acc Ad Aee Aff .", "A:aa(aa) A:bb+cc+d(bb) A:ee+ff(ee)"},
		{"shorter ones", "Aaa Ab Ab Ab .", "A:aa(aa) A:b(b) A:b+b(b)"},
		{"a longer one", "Aaa Abb Acc Addd Aeee .", "A:aa(aa) A:bb+cc(bb) A:ddd(ddd) A:eee(eee)"},
		{"an empty one", "Aaa Abb A A Acc .", "A:aa(aa) A:bb(bb) A:() A:() A:cc(cc)"},
		{"another flow", "Aaa Abb Acc Bdd Bee Bff Agg .", "A:aa(aa) A:bb+cc(bb) B:dd(dd) B:ee+ff(ee) A:gg(gg)"},
		{"as many as go", "Axx" + many + many + " .", "A:xx(xx)" + strings.Repeat(" A:xx"+strings.Repeat("+xx", dgram.Together-1)+"(xx)", 2)},
		{"no more than fits", "A" + long + " A" + long + " A" + long + " .", strings.Repeat(" A:"+long+"("+long+")", 3)[1:]},
		{"not over a rest", "Aaa Abb Acc . Add Aee .", "A:aa(aa) A:bb+cc(bb) A:dd(dd) A:ee(ee)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var g gather
			var got []string
			for _, s := range strings.Split(c.sent, " ") {
				if s == "." {
					g.rest()
					continue
				}
				d := datagramFrom(s[0], s[1:])
				g.put(d, func(d packet.Datagram) { got = append(got, text(d)) })
				for i := range d.IP {
					d.IP[i] = '?' // the reader's buffer has the next frame
				}
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("%.200q, want %.200q", got, c.want)
			}
			if g.room != nil || g.flush() {
				t.Error("something is left")
			}
		})
	}
}

// Whatever is different about two datagrams keeps them apart.
func TestOnlyDatagramsOfOneKindAreHandedOnTogether(t *testing.T) {
	for what, change := range map[string]func(*packet.Datagram){
		"nothing":        func(*packet.Datagram) {},
		"source":         func(d *packet.Datagram) { d.Src = ap(b4, 1065) },
		"destination":    func(d *packet.Datagram) { d.Dst = ap(out4, 54) },
		"hops":           func(d *packet.Datagram) { d.TTL-- },
		"service":        func(d *packet.Datagram) { d.TOS = 4 },
		"fragmentation":  func(d *packet.Datagram) { d.DontFragment = true },
		"segments":       func(d *packet.Datagram) { d.SegmentSize = 1 },
		"something more": func(d *packet.Datagram) { d.IP = append(d.IP, "more"...); d.Payload = d.IP[28:30] },
	} {
		var g gather
		n := 0
		for i := range 4 {
			d := datagramFrom('A', "xx")
			if i == 2 {
				change(&d)
			}
			g.put(d, func(d packet.Datagram) { n++ })
		}
		g.rest()
		if want := 4; what == "nothing" && n != 2 || what != "nothing" && n != want {
			t.Errorf("%s is another: handed on %d times", what, n)
		}
	}
}

// row is a device that has frames one behind the other, and nothing more until it is closed.
type row struct {
	*memory
	frames [][]byte
}

func (r *row) Queues() []Queue { return []Queue{r} }
func (r *row) Waited() bool    { return false }

func (r *row) ReadFrame(hdr *[vnet.Len]byte, b []byte) (int, error) {
	if len(r.frames) == 0 {
		r.idle()
		<-r.done
		return 0, os.ErrClosed
	}
	*hdr = plain
	n := copy(b, r.frames[0])
	r.frames = r.frames[1:]
	return n, nil
}

func TestWhatAContainerSendsAtOnceLeaves(t *testing.T) {
	for _, c := range []struct{ src, dst netip.Addr }{{c4, out4}, {c6, out6}} {
		w := newWorld(t, true)
		got := make(chan string, 10)
		w.net.Gateway().SetHandlers(Handlers{UDP: func(d packet.Datagram) {
			ip, err := packet.ParseIP(d.IP)
			if err != nil || ip.Src != c.src || d.Src != ap(c.src, 1000) || d.Dst != ap(c.dst, 53) {
				t.Errorf("%+v, %v", d, err)
			}
			if d.SegmentSize != 0 && d.SegmentSize != 2 {
				t.Errorf("segments of %d bytes", d.SegmentSize)
			}
			got <- string(d.Payload)
		}})
		r := &row{memory: newMemory(t)}
		for _, p := range []string{"aa", "bb", "cc", "d"} {
			r.frames = append(r.frames, datagramFrame(w.net.Gateway().MAC(), cMAC, ap(c.src, 1000), ap(c.dst, 53), p))
		}
		r.frames = append(r.frames, r.frames[0][:20]) // what is dropped holds nothing up
		if _, err := w.net.AddPort(PortOptions{Name: "row", MAC: cMAC, Addresses: []netip.Addr{c.src}, Device: r}); err != nil {
			t.Fatal(err)
		}
		all := <-got
		for len(all) < len("aabbccd") { // how many at once is a matter of turns
			all += <-got
		}
		if all != "aabbccd" {
			t.Errorf("%s left", all)
		}
	}
}

// A datagram that came in fragments stays behind those before it.
func TestAFragmentedDatagramKeepsItsPlace(t *testing.T) {
	w := newWorld(t, true)
	got := make(chan string, 10)
	w.net.Gateway().SetHandlers(Handlers{UDP: func(d packet.Datagram) { got <- string(d.Payload) }})
	frame := func(payload string) []byte {
		return datagramFrame(w.net.Gateway().MAC(), cMAC, ap(c4, 1000), ap(out4, 53), payload)
	}
	whole := frame(strings.Repeat("c", 24))
	cut := func(from, to int, more bool) []byte {
		const head, ipAt = packet.EthernetLen + packet.IPv4Len, packet.EthernetLen
		b := append(slices.Clone(whole[:head]), whole[head+from:head+to]...)
		ip := b[ipAt:]
		field := uint16(from / 8)
		if more {
			field |= 0x2000
		}
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[6:], field)
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], ^packet.Sum(ip[:packet.IPv4Len], 0))
		return b
	}
	r := &row{memory: newMemory(t), frames: [][]byte{frame("aa"), frame("bb"), cut(0, 16, true), cut(16, 32, false), frame("dd")}}
	if _, err := w.net.AddPort(PortOptions{Name: "row", MAC: cMAC, Addresses: []netip.Addr{c4}, Device: r}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"aa", "bb", strings.Repeat("c", 24), "dd"} {
		if s := <-got; s != want {
			t.Errorf("%s, want %s", s, want)
		}
	}
}

func BenchmarkGather(b *testing.B) {
	var g gather
	d := datagramFrom('A', strings.Repeat("x", 1400))
	give := func(packet.Datagram) {}
	if n := testing.AllocsPerRun(1000, func() { g.put(d, give) }); n != 0 {
		b.Fatalf("%v allocations for a datagram, want 0", n)
	}
	b.ReportAllocs()
	for b.Loop() {
		g.put(d, give)
	}
}
