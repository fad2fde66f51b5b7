package forwarder

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/dgram"
	"github.com/footbridge-net/footbridge/internal/nowait"
)

// sender sends by a socket that keeps ICMP errors: a call that fails may have failed for
// what was sent before, and is made again. The reader takes the details from the error
// queue.
type sender struct {
	to  nowait.Address
	out dgram.Sender
}

// send sends payload to an address, as datagrams of size bytes or as one if size is 0. It
// returns what stood in the way of a datagram twice; those behind it are not sent, but for
// a shorter one where they are too long. It never waits.
func (s *sender) send(fd int, to netip.AddrPort, payload []byte, size int) error {
	s.to.Set(to)
	for again := false; ; again = true {
		sent, e := s.out.Send(fd, &s.to, nil, payload, size)
		switch {
		case e == 0, e == unix.EAGAIN, e == unix.ENOBUFS: // lost, as on a wire that is full
			return nil
		case again && sent == 0:
			if e == unix.EMSGSIZE && size > 0 && len(payload) > size && len(payload)%size != 0 {
				_, _ = s.out.Send(fd, &s.to, nil, payload[len(payload)/size*size:], 0)
			}
			return e
		}
		payload = payload[sent:]
	}
}
