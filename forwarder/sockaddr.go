package forwarder

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nowait"
)

// destination is a socket address, used again for every datagram.
type destination struct{ nowait.Address }

// sendTo sends one datagram, or returns what stood in the way; it never waits.
func (d *destination) sendTo(fd int, b []byte) error {
	switch e := d.SendTo(uintptr(fd), b); e {
	case 0, unix.EAGAIN, unix.ENOBUFS: // lost, as on a wire that is full
		return nil
	default:
		return e
	}
}

// receiveFrom reads one datagram and says whose it is; it never waits.
func (d *destination) receiveFrom(fd int, b []byte) (int, netip.AddrPort, error) {
	n, e := d.RecvFrom(uintptr(fd), b)
	if e != 0 {
		return 0, netip.AddrPort{}, e
	}
	return n, d.Get(), nil
}
