package forwarder

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// destination is a socket address in the kernel's form, used again for every
// datagram: the usual ones cost an allocation each.
type destination struct {
	raw  unix.RawSockaddrInet6 // large enough for both families
	size uint32
}

// set makes it the address a.
func (d *destination) set(a netip.AddrPort) {
	if a.Addr().Is4() {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&d.raw))
		v4.Family = unix.AF_INET
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&v4.Port))[:], a.Port())
		v4.Addr = a.Addr().As4()
		d.size = unix.SizeofSockaddrInet4
		return
	}
	d.raw = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: a.Addr().As16()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&d.raw.Port))[:], a.Port())
	d.size = unix.SizeofSockaddrInet6
}

// get gives the address that it is.
func (d *destination) get() netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&d.raw.Port))[:])
	if d.raw.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&d.raw))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(d.raw.Addr), port)
}

// sendTo sends one datagram, or returns what stood in the way; it never waits.
func (d *destination) sendTo(fd int, b []byte) error {
	for {
		_, _, e := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
			uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL,
			uintptr(unsafe.Pointer(&d.raw)), uintptr(d.size))
		switch e {
		case 0:
			return nil
		case unix.EINTR:
			continue
		case unix.EAGAIN, unix.ENOBUFS:
			return nil // lost, as on a wire that is full
		}
		return e
	}
}

// receiveFrom reads one datagram and says whose it is; it never waits.
func (d *destination) receiveFrom(fd int, b []byte) (int, netip.AddrPort, error) {
	d.size = unix.SizeofSockaddrInet6
	n, _, e := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
		uintptr(len(b)), unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(&d.raw)), uintptr(unsafe.Pointer(&d.size)))
	if e != 0 {
		return 0, netip.AddrPort{}, e
	}
	return int(n), d.get(), nil
}
