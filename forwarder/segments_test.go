package forwarder

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/dgram"
	"github.com/footbridge-net/footbridge/internal/nowait"
	"github.com/footbridge-net/footbridge/internal/packet"
)

// several makes a frame of n datagrams of size bytes.
func several(src, dst netip.AddrPort, n, size int) packet.Datagram {
	d := from(src, dst, strings.Repeat("x", n*size))
	d.SegmentSize = size
	return d
}

// receive takes the next message of a socket as the kernel has it.
func receive(t testing.TB, c *net.UDPConn) dgram.Message {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var r dgram.Receiver
	var m dgram.Message
	e := unix.EAGAIN
	if err := raw.Read(func(fd uintptr) bool {
		m, e = r.Receive(int(fd), make([]byte, dgram.MaxPayload))
		return e != unix.EAGAIN
	}); err != nil || e != 0 {
		t.Fatalf("waited for a message: %v, %v", err, e)
	}
	return m
}

// What the receiver's kernel has together has left in one call.
func TestSeveralDatagramsLeaveTogether(t *testing.T) {
	for _, c := range families {
		t.Run(c.name, func(t *testing.T) {
			f, _ := newWorld(t, Limits{})
			s, at := serve(t, c.host)
			control(t, s, dgram.TakeSeveral)
			f.HandleDatagram(several(netip.AddrPortFrom(c.ctr, 4000), at, 100, 300))
			for _, want := range []int{dgram.MaxSegments, 100 - dgram.MaxSegments} {
				if m := receive(t, s); m.Segment != 300 || len(m.Payload) != want*300 {
					t.Errorf("%d bytes in datagrams of %d, want %d of 300", len(m.Payload), m.Segment, want)
				}
			}
		})
	}
}

func TestSeveralAnswersReachTheContainerTogether(t *testing.T) {
	for _, c := range families {
		t.Run(c.name, func(t *testing.T) {
			f, g := newWorld(t, Limits{})
			s, at := serve(t, c.host)
			src := netip.AddrPortFrom(c.ctr, 4000)
			f.HandleDatagram(from(src, at, "hello"))
			_, peer := read(t, s)
			answer := strings.Repeat("a", 100) + strings.Repeat("b", 100) + "c"
			control(t, s, func(fd int) {
				var to nowait.Address
				to.Set(peer)
				if n, e := new(dgram.Sender).Send(fd, &to, nil, []byte(answer), 100); n != len(answer) || e != 0 {
					t.Error(n, e)
				}
			})
			if got, want := wait(t, g.udp, "the answers"), (datagram{at, src, answer, 100}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if n := f.mappings[mappingKey{src: src}].answers.Load(); n != 2 {
				t.Errorf("three answers count as %d, want 2: that is a stream", n)
			}
		})
	}
}

func control(t testing.TB, c *net.UDPConn, do func(fd int)) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { do(int(fd)) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The kernel does not cut datagrams apart that would have to be fragmented: alone they
// are, or their sender is told.
func TestSeveralDatagramsThatAreTooBigForTheWay(t *testing.T) {
	for _, c := range families {
		t.Run(c.name, func(t *testing.T) {
			f, g := newWorld(t, Limits{})
			src, dst := netip.AddrPortFrom(c.ctr, 4000), netip.AddrPortFrom(c.narrow, 9)
			d := several(src, dst, 5, narrowMTU)
			f.HandleDatagram(d)
			// Behind the way is nobody, which IPv6 says.
			if err := f.mappings[mappingKey{src: src}].send(d); err != nil && err != syscall.ENETUNREACH {
				t.Errorf("what may be cut: %v", err)
			}
			d.DontFragment = true
			f.HandleDatagram(d)
			for {
				e := wait(t, g.icmp, "too big")
				if e.e == packet.NetUnreachable(false) {
					f.HandleDatagram(d) // the call may have been told of that instead, as often as it was made
					continue
				}
				if e.e != packet.TooBig(c.narrow.Is4(), narrowMTU) {
					t.Errorf("%+v", e.e)
				}
				break
			}
			if f.mappings[mappingKey{src: src}].out.out.Apart.Load() {
				t.Error("the socket sends no others together any more")
			}
		})
	}
}

// The last of several, which is shorter, may fit where the others do not.
func TestAShorterLastDatagramLeavesWhereOthersAreTooBig(t *testing.T) {
	c := families[0]
	f, _ := newWorld(t, Limits{})
	s, at := serve(t, c.host)
	const most = 65507 // of any datagram
	d := from(netip.AddrPortFrom(c.ctr, 4000), at, strings.Repeat("x", most+1)+"short")
	d.SegmentSize = most + 1
	f.HandleDatagram(d)
	if got, _ := read(t, s); got != "short" {
		t.Errorf("got %d bytes", len(got))
	}
}

func TestSeveralDatagramsToAClosedPortAreToldByICMP(t *testing.T) {
	for _, c := range families {
		t.Run(c.name, func(t *testing.T) {
			f, g := newWorld(t, Limits{})
			s, at := serve(t, c.host)
			s.Close()
			src := netip.AddrPortFrom(c.ctr, 4000)
			// Each finds the error of the one before; every error must be told.
			for range 3 {
				f.HandleDatagram(several(src, at, 10, 100))
			}
			for range 3 {
				if e := wait(t, g.icmp, "port unreachable"); e.e != packet.PortUnreachable(c.host.Is4()) {
					t.Errorf("%+v", e.e)
				}
			}
		})
	}
}

// An error is told once in a row for each datagram: only the second is its own.
func TestASendIsTriedAgain(t *testing.T) {
	fd, err := udpSocket(true, func(fd int) error {
		return unix.Connect(fd, &unix.SockaddrInet4{Addr: host4.As4(), Port: 9})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var s sender
	s.out.Apart.Store(true)
	at := netip.AddrPortFrom(host4, 9)
	if err := s.send(fd, at, make([]byte, 10), 1); err != nil {
		t.Errorf("to a closed port: %v", err)
	}
	var q errorQueue
	for n := range 10 {
		if e, ok := q.read(fd); !ok || e.dst != at {
			t.Fatalf("error %d of ten datagrams: %+v, %v", n, e, ok)
		}
	}
	if err := s.send(fd, netip.AddrPortFrom(nowhere4, 9), make([]byte, 10), 1); err != syscall.EHOSTUNREACH {
		t.Errorf("to nobody: %v", err)
	}
}

func TestSeveralDatagramsAllocateNothing(t *testing.T) {
	f, _ := newWorld(t, Limits{})
	_, at := serve(t, host4)
	d := several(netip.AddrPortFrom(ctr4, 4000), at, 44, 1448)
	f.HandleDatagram(d)
	m := f.mappings[mappingKey{src: d.Src}]
	for _, apart := range []bool{false, true} {
		m.out.out.Apart.Store(apart)
		if n := testing.AllocsPerRun(100, func() { f.HandleDatagram(d) }); n != 0 {
			t.Errorf("one by one %v: %v allocations", apart, n)
		}
	}
}
