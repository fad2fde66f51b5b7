package dgram

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestControlRoundTrip(t *testing.T) {
	for _, s := range []string{"192.0.2.2", "2001:db8::1", "fe80::1"} {
		a := netip.MustParseAddr(s)
		b := make([]byte, maxControl)
		n := putPktinfo(b, a, 7)
		if a.Is4() {
			copy(b[cmsgHead+8:], a.AsSlice()) // the header's destination, which only the kernel writes
		}
		gro := putHead(b[n:], unix.SOL_UDP, unix.UDP_GRO, 4)
		binary.NativeEndian.PutUint32(gro, 1400)
		n += align(cmsgHead + 4)
		c := parseControl(b[:n])
		if want := (Info{Local: a, Direct: true, Interface: 7, Segment: 1400}); c != want {
			t.Errorf("%s: got %+v, want %+v", s, c, want)
		}
		for i := range cmsgHead {
			if c := parseControl(b[:i]); c != (Info{}) {
				t.Errorf("%s: %+v when cut to %d bytes", s, c, i)
			}
		}
	}
}

// The layout agrees with the one of the system's own functions.
func TestControlLayout(t *testing.T) {
	b := make([]byte, maxControl)
	n := putPktinfo(b, netip.MustParseAddr("2001:db8::1"), 1)
	n += putSegment(b[n:], 1400)
	msgs, err := unix.ParseSocketControlMessage(b[:n])
	if err != nil || len(msgs) != 2 {
		t.Fatalf("%d messages, %v", len(msgs), err)
	}
	if h := msgs[0].Header; h.Level != unix.IPPROTO_IPV6 || h.Type != unix.IPV6_PKTINFO || len(msgs[0].Data) != unix.SizeofInet6Pktinfo {
		t.Errorf("first %+v with %d bytes", h, len(msgs[0].Data))
	}
	if h := msgs[1].Header; h.Level != unix.SOL_UDP || h.Type != unix.UDP_SEGMENT || binary.NativeEndian.Uint16(msgs[1].Data) != 1400 {
		t.Errorf("second %+v % x", h, msgs[1].Data)
	}
	if pktinfo4Len != unix.SizeofInet4Pktinfo || pktinfo6Len != unix.SizeofInet6Pktinfo || cmsgHead != unix.SizeofCmsghdr {
		t.Error("sizes differ from the system's")
	}
}

func FuzzControl(f *testing.F) {
	b := make([]byte, maxControl)
	n := putPktinfo(b, netip.MustParseAddr("192.0.2.2"), 7)
	f.Add(b[:n+putSegment(b[n:], 9)])
	n = putPktinfo(b, netip.MustParseAddr("2001:db8::1"), 0)
	f.Add(b[:n])
	f.Add(make([]byte, cmsgHead))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c := parseControl(b); c.Segment < 0 || c.Direct && !c.Local.IsValid() {
			t.Errorf("%+v", c)
		}
	})
}
