package forwarder

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nowait"
	"github.com/footbridge-net/footbridge/internal/packet"
)

// families are what a test of both begins with.
var families = []struct {
	name                           string
	ctr, gw, host, nowhere, narrow netip.Addr
}{
	{"IPv4", ctr4, gw4, host4, nowhere4, narrow4},
	{"IPv6", ctr6, gw6, host6, nowhere6, narrow6},
}

// header is what a server sees of a datagram's IP header.
type ipHeader struct{ hops, tos int }

// readHeader reads a datagram of s, whose IP header the kernel was asked for.
func readHeader(t *testing.T, s *net.UDPConn) ipHeader {
	t.Helper()
	oob := make([]byte, 256)
	_, n, _, _, err := s.ReadMsgUDPAddrPort(make([]byte, 1<<16), oob)
	if err != nil {
		t.Fatalf("waited for a datagram: %v", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil {
		t.Fatal(err)
	}
	var h ipHeader
	for _, m := range messages {
		switch int(m.Header.Type) {
		case unix.IP_TTL, unix.IPV6_HOPLIMIT:
			h.hops = int(m.Data[0])
		case unix.IP_TOS, unix.IPV6_TCLASS:
			h.tos = int(m.Data[0])
		}
	}
	return h
}

func wantHeaders(t *testing.T, s *net.UDPConn) {
	t.Helper()
	raw, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	v4 := s.LocalAddr().(*net.UDPAddr).IP.To4() != nil
	raw.Control(func(fd uintptr) {
		if v4 {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTTL, 1)
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
			return
		}
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
	})
}

func TestDatagramsKeepTheirHopsAndTheirService(t *testing.T) {
	for _, c := range families {
		t.Run(c.name, func(t *testing.T) {
			f, _ := newWorld(t, Limits{})
			s, at := serve(t, c.host)
			wantHeaders(t, s)
			// Of one flow, each with its own.
			for _, want := range []ipHeader{{63, 0}, {1, 0}, {254, 0xb8}, {63, 0x03}, {2, 0}} {
				d := from(netip.AddrPortFrom(c.ctr, 4000), at, "hello")
				d.TTL, d.TOS = uint8(want.hops+1), uint8(want.tos)
				f.HandleDatagram(d)
				if got := readHeader(t, s); got != want {
					t.Errorf("it arrived with %+v, want %+v", got, want)
				}
			}
		})
	}
}

func TestWhatIsTooBigForTheWayIsToldWithItsMTU(t *testing.T) {
	for _, c := range families {
		t.Run(c.name, func(t *testing.T) {
			f, g := newWorld(t, Limits{})
			src, dst := netip.AddrPortFrom(c.ctr, 4000), netip.AddrPortFrom(c.narrow, 9)
			fits := narrowMTU - packet.UDPHeaderLen(c.narrow) + packet.EthernetLen
			send := func(size int, dontFragment bool) {
				d := from(src, dst, string(make([]byte, size)))
				d.DontFragment = dontFragment
				f.HandleDatagram(d)
			}
			// told is the next error about a size. What was sent may have been
			// refused by the kernel, behind the way.
			told := func() icmpError {
				t.Helper()
				for {
					if e := wait(t, g.icmp, "too big"); e.e != packet.NetUnreachable(false) {
						return e
					}
				}
			}
			want := packet.TooBig(c.narrow.Is4(), narrowMTU)
			send(fits, true)
			send(4000, false) // is cut
			send(fits+1, true)
			e := told()
			if e.e != want || e.from.IsValid() {
				t.Errorf("%+v from %v, want %+v from the gateway", e.e, e.from, want)
			}
			if ip, err := packet.ParseIP(e.quoted); err != nil || ip.Src != c.ctr || ip.Dst != c.narrow {
				t.Errorf("it quotes %+v, %v; want the datagram", ip, err)
			}
			echo := packet.Echo{Src: c.ctr, Dst: c.narrow, ID: 1, Seq: 1, TTL: 64, Data: make([]byte, fits+1), DontFragment: true, IP: e.quoted}
			f.HandleEcho(echo)
			if e := told(); e.e != want {
				t.Errorf("a ping is told %+v", e.e)
			}
			echo.DontFragment = false
			f.HandleEcho(echo)
			// The next error is the next one's: each was told once.
			d := from(src, netip.AddrPortFrom(c.nowhere, 9), "")
			f.HandleDatagram(d)
			if e := told(); e.e == want {
				t.Errorf("there was one more: %+v", e.e)
			}
		})
	}
}

// Asking for an MTU costs four system calls, so a container cannot make that
// happen more often than it is told of errors.
func TestQuestionsForMTUsArePaced(t *testing.T) {
	f, g := newWorld(t, Limits{})
	clock := &fakeClock{}
	f.now = clock.now
	told := 0
	for range 2 * measureBurst {
		d := from(netip.AddrPortFrom(ctr4, 4000), netip.AddrPortFrom(narrow4, 9), string(make([]byte, 2000)))
		d.DontFragment = true
		f.HandleDatagram(d)
		select {
		case <-g.icmp:
			told++
		default:
		}
	}
	if told != measureBurst {
		t.Errorf("%d errors at once, want %d", told, measureBurst)
	}
	clock.set(time.Second)
	d := from(netip.AddrPortFrom(ctr4, 4000), netip.AddrPortFrom(narrow4, 9), string(make([]byte, 2000)))
	d.DontFragment = true
	f.HandleDatagram(d)
	wait(t, g.icmp, "an error after a second")
}

// A container's probe of the path by TCP (traceroute -T) takes the SYN's hops.
func TestASYNTakesItsPath(t *testing.T) {
	for _, c := range []struct {
		name string
		syn  []byte
		want path
	}{
		{"IPv4, the usual", []byte{0: 0x45, 8: 64, 19: 0}, path{}},
		{"IPv4, a probe", []byte{0: 0x45, 8: 3, 19: 0}, path{hops: 2}},
		{"IPv4, a class and ECN", []byte{0: 0x45, 1: 0xbb, 8: 255, 19: 0}, path{hops: 254, tos: 0xb8}},
		{"IPv6, the usual", []byte{0: 0x60, 7: 64, 39: 0}, path{}},
		{"IPv6, a probe of a class", []byte{0: 0x6b, 1: 0x80, 7: 2, 39: 0}, path{hops: 1, tos: 0xb8}},
	} {
		if got := (&pendingTCP{syn: c.syn}).onward(); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestWhoSaysAnErrorIsARouter(t *testing.T) {
	for a, want := range map[string]bool{
		"203.0.113.1": true, "192.168.1.1": true, "2001:db8::1": true, "fd00::1": true,
		"127.0.0.1": false, "::1": false, "fe80::1": false, "169.254.1.1": false, "224.0.0.1": false, "0.0.0.0": false, "::": false,
	} {
		e := socketError{offender: netip.MustParseAddr(a)}
		if got := e.speaker().IsValid(); got != want {
			t.Errorf("%s is shown: %v, want %v", a, got, want)
		}
	}
	if (&socketError{}).speaker().IsValid() {
		t.Error("nobody is somebody")
	}
}

// What a send is told at once is in the error queue, too; whoever reads that does not tell
// it again. IPv4's entry does not even have the port.
func TestTheKernelsOwnTooBigIsToldOnce(t *testing.T) {
	var sockets []int
	for _, c := range families {
		fd, err := udpSocket(c.ctr.Is4(), func(int) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, fd)
		onward(64, 0, true).set(fd, c.ctr.Is4(), path{})
		var to nowait.Address
		to.Set(netip.AddrPortFrom(c.narrow, 9))
		if err := to.SendTo(uintptr(fd), make([]byte, 2*narrowMTU)); err != unix.EMSGSIZE {
			t.Fatalf("%s: %v, want EMSGSIZE", c.name, err)
		}
		var q errorQueue
		e, ok := q.read(fd)
		if !ok || e.dst.IsValid() {
			t.Errorf("%s: %+v, %v, want an entry that stands for nothing", c.name, e, ok)
		}
	}
	for _, fd := range sockets {
		unix.Close(fd)
	}
}

// On an attempt an ICMP error is wanted, and on the connection it is not: it would end it.
func TestAConnectionIsNotEndedByICMPErrors(t *testing.T) {
	f, _ := newWorld(t, Limits{})
	for _, c := range families {
		family, level, option := unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_RECVERR
		syn := make([]byte, packet.IPv6Len)
		syn[0], syn[7] = 0x60, 64
		if c.ctr.Is4() {
			family, level, option = unix.AF_INET, unix.IPPROTO_IP, unix.IP_RECVERR
			syn[0], syn[8] = 0x45, 64
		}
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		h := f.hooks(&pendingTCP{syn: syn, to: netip.AddrPortFrom(c.host, 80)})
		if err := h.Prepare(fd); err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{1, 0} {
			if got, err := unix.GetsockoptInt(fd, level, option); got != want || err != nil {
				t.Errorf("%s: errors are wanted: %d, %v, want %d", c.name, got, err, want)
			}
			if i == 0 {
				h.Ended(fd, nil)
			}
		}
	}
}
