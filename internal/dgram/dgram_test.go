package dgram

import (
	"bytes"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nowait"
)

var (
	local4 = netip.MustParseAddr("127.0.0.1")
	local6 = netip.MustParseAddr("::1")
)

// open makes a socket on an address that does not block.
func open(t testing.TB, at netip.Addr) (fd int, self netip.AddrPort) {
	t.Helper()
	family := unix.AF_INET6
	var sa unix.Sockaddr = &unix.SockaddrInet6{Addr: at.As16()}
	level, option := unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	if at.Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Addr: at.As4()}
		level, option = unix.IPPROTO_IP, unix.IP_PKTINFO
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, sa); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		t.Fatal(err)
	}
	switch sa, err := unix.Getsockname(fd); sa := sa.(type) {
	case *unix.SockaddrInet4:
		return fd, netip.AddrPortFrom(at, uint16(sa.Port))
	case *unix.SockaddrInet6:
		return fd, netip.AddrPortFrom(at, uint16(sa.Port))
	default:
		t.Fatal(err)
		return
	}
}

// both makes two sockets, what a sender of the one's needs for the other, and the one's address.
func both(t testing.TB, local netip.Addr) (client, server int, self netip.AddrPort, to nowait.Address, source Source) {
	t.Helper()
	client, self = open(t, local)
	server, at := open(t, local)
	TakeSeveral(server)
	to.Set(at)
	source.Set(local, 0)
	return client, server, self, to, source
}

// next takes a message that is there: loopback delivers before a send returns.
func next(t testing.TB, r *Receiver, fd int) Message {
	t.Helper()
	m, e := r.Receive(fd, make([]byte, MaxPayload))
	if e != 0 {
		t.Fatal("no message:", e)
	}
	return m
}

func TestMessagesArriveAsTheyWereSent(t *testing.T) {
	for _, local := range []netip.Addr{local4, local6} {
		t.Run(local.String(), func(t *testing.T) {
			client, server, self, to, source := both(t, local)
			var out Sender
			var in Receiver
			if _, e := in.Receive(server, make([]byte, MaxPayload)); e != unix.EAGAIN {
				t.Fatal("nothing was sent, but", e)
			}
			payload := bytes.Repeat([]byte("0123456789"), 100)
			for _, c := range []struct {
				size  int
				apart bool
				want  []int // bytes of messages
				of    []int // bytes of a datagram in each of them, 0 for one
			}{
				{0, false, []int{1000}, []int{0}},
				{1000, false, []int{1000}, []int{0}},
				{300, false, []int{1000}, []int{300}},
				{300, true, []int{300, 300, 300, 100}, []int{0, 0, 0, 0}},
				{10, false, []int{640, 360}, []int{10, 10}},
				{15, false, []int{960, 40}, []int{15, 15}},
				{999, false, []int{1000}, []int{999}},
				{5000, false, []int{1000}, []int{0}},
			} {
				for _, from := range []*Source{nil, {}, &source} {
					out.Apart.Store(c.apart)
					if n, e := out.Send(client, &to, from, payload, c.size); n != len(payload) || e != 0 {
						t.Fatalf("size %d: %d, %v", c.size, n, e)
					}
					if out.Apart.Load() != c.apart {
						t.Errorf("size %d: the kernel does not take it at once", c.size)
					}
					rest := payload
					for i, want := range c.want {
						m := next(t, &in, server)
						if m.From != self || m.Local != local || !m.Direct || m.Interface == 0 || m.Segment != c.of[i] ||
							len(m.Payload) != want || !bytes.Equal(m.Payload, rest[:want]) {
							t.Errorf("size %d, message %d: %d bytes, %v, %+v", c.size, i, len(m.Payload), m.From, m.Info)
						}
						rest = rest[want:]
					}
				}
			}
			if n, e := out.Send(client, &to, nil, nil, 0); n != 0 || e != 0 {
				t.Error("an empty datagram:", n, e)
			}
			if m := next(t, &in, server); len(m.Payload) != 0 || m.From != self {
				t.Errorf("an empty datagram: %+v", m)
			}
		})
	}
}

// What cannot be sent together is sent alone, up to the first that cannot be sent at all.
func TestAnErrorEndsASend(t *testing.T) {
	client, _ := open(t, local4)
	_, at := open(t, local4)
	var to nowait.Address
	to.Set(at)
	var out Sender
	// More than loopback carries in a packet, and may not be cut.
	if err := unix.SetsockoptInt(client, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO); err != nil {
		t.Fatal(err)
	}
	if n, e := out.Send(client, &to, nil, make([]byte, 140000), 70000); n != 0 || e != unix.EMSGSIZE {
		t.Errorf("too much: %d bytes, %v; want EMSGSIZE", n, e)
	}
	if out.Apart.Load() {
		t.Error("for that the socket sends no others together any more")
	}
	to.Set(netip.AddrPortFrom(local4, 0))
	if n, e := out.Send(client, &to, nil, make([]byte, 10), 5); n != 0 || e != unix.EINVAL {
		t.Errorf("to port 0: %d bytes, %v; want EINVAL", n, e)
	}
}

func TestRefusalsAreTold(t *testing.T) {
	for e, want := range map[syscall.Errno][2]bool{
		unix.EIO: {true, true}, unix.EINVAL: {true, false}, unix.EMSGSIZE: {true, false}, unix.EOPNOTSUPP: {true, false},
		unix.ECONNREFUSED: {}, unix.EAGAIN: {}, unix.EHOSTUNREACH: {}, unix.ENOBUFS: {}, unix.EPERM: {},
	} {
		var s Sender
		if refused := s.refused(e); refused != want[0] || s.Apart.Load() != want[1] {
			t.Errorf("%v: refused %v and for good %v, want %v", e, refused, s.Apart.Load(), want)
		}
	}
}

func TestDatagramsAreCounted(t *testing.T) {
	for _, c := range []struct{ n, size, want int }{
		{0, 0, 1}, {0, 5, 1}, {5, 0, 1}, {5, 5, 1}, {6, 5, 2}, {10, 5, 2}, {11, 5, 3}, {4, 5, 1},
	} {
		if got := Count(c.n, c.size); got != c.want {
			t.Errorf("%d bytes of %d: %d, want %d", c.n, c.size, got, c.want)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	client, server, _, to, source := both(t, local4)
	var out Sender
	var in Receiver
	payload, b := make([]byte, 44*1448), make([]byte, MaxPayload)
	for _, from := range []*Source{nil, &source} {
		for _, size := range []int{0, 1448} {
			if n := testing.AllocsPerRun(100, func() {
				if n, e := out.Send(client, &to, from, payload, size); n != len(payload) || e != 0 {
					t.Fatal(n, e)
				}
				if m, e := in.Receive(server, b); e != 0 || m.Segment != size {
					t.Fatal(m.Segment, e)
				}
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
		}
	}
}
