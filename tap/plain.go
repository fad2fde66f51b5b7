package tap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/nowait"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// ErrNotFrames: a descriptor that was given carries no Ethernet frames.
var ErrNotFrames = errors.New("not a descriptor of Ethernet frames")

// Adopt makes an Interface of a descriptor that somebody else has opened: a TAP's queue,
// or a socket of frames (SOCK_SEQPACKET or SOCK_DGRAM), which is a queue without a virtio
// header. It takes the handle over, also when it fails.
//
// Errors: ErrNotFrames, with what to do.
func Adopt(h *fdpass.Handle) (*Interface, error) {
	i := &Interface{Queues: []*fdpass.Handle{h}, Plain: true}
	err := i.adopt(h.FD())
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return i, nil
}

func (i *Interface) adopt(fd int) error {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return err
	}
	if unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr) != nil {
		kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
		if err != nil || kind != unix.SOCK_SEQPACKET && kind != unix.SOCK_DGRAM {
			return fmt.Errorf("descriptor %d: %w: give one of a TAP device (/dev/net/tun after TUNSETIFF), or a socket that keeps frames apart", fd, ErrNotFrames)
		}
		return nil
	}
	i.Name = ifr.Name()
	flags := ifr.Uint16()
	if flags&unix.IFF_TAP == 0 || flags&unix.IFF_NO_PI == 0 {
		return fmt.Errorf("descriptor %d: %w: open the device with IFF_TAP and IFF_NO_PI", fd, ErrNotFrames)
	}
	if flags&unix.IFF_VNET_HDR != 0 {
		if i.Features, err = setOffloads(fd); err != nil {
			return fmt.Errorf("descriptor %d, offloads: %w", fd, err)
		}
		i.Plain = false
	}
	i.MAC = hardwareAddr(fd)
	return nil
}

// hardwareAddr asks a queue for its device's MAC, also from another namespace; zero where it
// does not tell.
func hardwareAddr(fd int) [6]byte {
	// struct ifreq with a struct sockaddr: name, family, address.
	var req struct {
		_      [unix.IFNAMSIZ]byte
		family uint16
		addr   [6]byte
		_      [16]byte
	}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGIFHWADDR, uintptr(unsafe.Pointer(&req)))
	if e != 0 || req.family != unix.ARPHRD_ETHER {
		return [6]byte{}
	}
	return req.addr
}

// NewPlainDevice is NewDevice for queues without virtio headers: what a header would leave
// to be done is done before a frame is written.
func NewPlainDevice(name string, queues []*fdpass.Handle) (*Device, error) {
	d, err := NewDevice(name, queues)
	if err == nil {
		for _, q := range d.queues {
			q.plain = true
		}
	}
	return d, err
}

// readPlain is one attempt to read a frame without a header, as readv is with one.
func (q *Queue) readPlain(fd uintptr) {
	n, e := nowait.Readv(fd, q.iov[1:])
	if e == 0 && n == 0 { // a socket's other end has gone
		e = unix.EBADFD
	}
	q.n, q.errno = n+HeaderSize, e
}

// writePlain is WriteFrame for a queue without headers.
func (q *Queue) writePlain(parts [][]byte) error {
	h := vnet.Decode((*[HeaderSize]byte)(parts[0]))
	var frame []byte
	for _, p := range parts[1:] {
		frame = append(frame, p...)
	}
	if len(frame) > MaxFrame {
		return unix.EMSGSIZE
	}
	err := h.Cut(frame, q.writeWhole)
	if errors.Is(err, vnet.ErrInvalid) {
		return unix.EINVAL
	}
	return err
}

func (q *Queue) writeWhole(b []byte) error {
	if len(b) == 0 {
		return io.ErrUnexpectedEOF
	}
	var iov [1]unix.Iovec
	iov[0].Base = &b[0]
	iov[0].SetLen(len(b))
	q.users.RLock()
	defer q.users.RUnlock()
	if q.closed {
		return os.ErrClosed
	}
	_, e := nowait.Writev(q.fd, iov[:], len(b))
	switch e {
	case 0:
		return nil
	case unix.EBADFD, unix.ENODEV, unix.ENXIO, unix.EPIPE, unix.ECONNRESET, unix.ENOTCONN:
		return ErrGone
	}
	return e
}
