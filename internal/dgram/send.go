package dgram

import (
	"net/netip"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/busypoll"
	"github.com/footbridge-net/footbridge/internal/nowait"
)

// MaxSegments is how many datagrams every kernel takes at once, from a socket or a device,
// that takes several at all: UDP_MAX_SEGMENTS before Linux 6.9, 128 since.
const MaxSegments = 64

// Source is where datagrams are sent from, as a control message. A nil one and the zero
// value leave it to the socket and the routing table.
type Source struct {
	control [maxControl]byte
	n       int
}

// Set makes it the address local, and the interface with the number ifindex if that is not
// 0: it is to be named only where the address means nothing without it.
func (s *Source) Set(local netip.Addr, ifindex uint32) {
	s.n = putPktinfo(s.control[:], local, ifindex)
}

// Sender sends datagrams by one socket. The zero value is ready for use.
type Sender struct {
	// Apart: datagrams are sent one by one. It is set when the kernel says that for this
	// socket it cannot do otherwise.
	Apart atomic.Bool
}

// Send sends payload to an address, as datagrams of size bytes of which the last may be
// shorter, or as one datagram if size is 0, in as few calls as the kernel takes. It says
// how many bytes have left in whole datagrams; with an error that is less than all.
// The error may be that of an earlier datagram, where the socket keeps ICMP errors.
func (s *Sender) Send(fd int, to *nowait.Address, from *Source, payload []byte, size int) (sent int, e syscall.Errno) {
	if size <= 0 {
		size = len(payload)
	}
	together := !s.Apart.Load()
	for {
		b, segment := payload[sent:], 0
		if together && len(b) > size {
			b, segment = b[:min(len(b), MaxSegments*size)], size
		} else {
			b = b[:min(len(b), size)]
		}
		switch e = from.send(fd, to, b, segment); {
		case e != 0 && segment != 0 && s.refused(e):
			together = false
			continue
		case e != 0:
			return sent, e
		}
		busypoll.Sent()
		if sent += len(b); sent == len(payload) {
			return sent, 0
		}
	}
}

// refused reports whether e says that several datagrams are not sent at once, but may be
// sent one by one.
func (s *Sender) refused(e syscall.Errno) bool {
	switch e {
	case unix.EIO:
		// The way out cannot compute checksums, or encrypts. No ICMP error is an EIO.
		s.Apart.Store(true)
		return true
	case unix.EINVAL, unix.EMSGSIZE:
		// A datagram is larger than the path's MTU: it is to be fragmented, or its
		// sender is to be told. Which of the two numbers it is depends on the kernel.
		return true
	case unix.ENOPROTOOPT, unix.EOPNOTSUPP:
		// A kernel that does not know of it, or an earlier datagram's ICMP error.
		return true
	}
	return false
}

// send is one system call: sendto(2) where that says all, which costs less.
func (s *Source) send(fd int, to *nowait.Address, b []byte, segment int) syscall.Errno {
	var control []byte
	if s != nil {
		control = s.control[:s.n]
	}
	if segment != 0 {
		var all [maxControl]byte // s is several goroutines': nothing is written there
		n := copy(all[:], control)
		n += putSegment(all[n:], uint16(segment))
		return to.Sendmsg(uintptr(fd), b, all[:n])
	}
	if len(control) == 0 {
		return to.SendTo(uintptr(fd), b)
	}
	return to.Sendmsg(uintptr(fd), b, control)
}
