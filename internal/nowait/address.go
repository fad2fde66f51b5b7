package nowait

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Address is the address of an IPv4 or IPv6 socket in the kernel's form, used again
// for every datagram: the usual ones cost an allocation each.
type Address struct {
	raw  unix.RawSockaddrInet6 // large enough for both families
	size uint32
}

func (a *Address) bytes() *[unix.SizeofSockaddrInet6]byte {
	return (*[unix.SizeofSockaddrInet6]byte)(unsafe.Pointer(&a.raw))
}

// Set makes it the address to, whose zone is not kept.
func (a *Address) Set(to netip.AddrPort) {
	b := a.bytes()
	clear(b[:])
	// sin_port and sin6_port are in one place, in network byte order.
	binary.BigEndian.PutUint16(b[2:], to.Port())
	if to.Addr().Is4() {
		binary.NativeEndian.PutUint16(b[0:], unix.AF_INET)
		ip := to.Addr().As4()
		copy(b[4:], ip[:])
		a.size = unix.SizeofSockaddrInet4
		return
	}
	binary.NativeEndian.PutUint16(b[0:], unix.AF_INET6)
	ip := to.Addr().As16()
	copy(b[8:], ip[:])
	a.size = unix.SizeofSockaddrInet6
}

// SetScope says by the interface's number which one an IPv6 address is behind, where the
// address alone does not say it: the zone that Set does not keep.
func (a *Address) SetScope(ifindex uint32) {
	if a.size == unix.SizeofSockaddrInet6 {
		a.raw.Scope_id = ifindex
	}
}

// Get gives the address that it is, an IPv4-mapped one as IPv4 and without zone; invalid
// if it is none.
func (a *Address) Get() netip.AddrPort {
	b := a.bytes()
	if a.size < 2 {
		return netip.AddrPort{}
	}
	switch port := binary.BigEndian.Uint16(b[2:]); binary.NativeEndian.Uint16(b[0:]) {
	case unix.AF_INET:
		if a.size >= unix.SizeofSockaddrInet4 {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
		}
	case unix.AF_INET6:
		if a.size >= unix.SizeofSockaddrInet6 {
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port)
		}
	}
	return netip.AddrPort{}
}

// SendTo sends one datagram there; interrupted, it begins again.
func (a *Address) SendTo(fd uintptr, b []byte) syscall.Errno {
	for {
		_, _, e := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&a.raw)), uintptr(a.size))
		if e != unix.EINTR {
			return e
		}
	}
}

// Sendmsg sends b there with control messages (sendmsg(2)); interrupted, it begins again.
func (a *Address) Sendmsg(fd uintptr, b, control []byte) syscall.Errno {
	var iov unix.Iovec
	m := a.message(&iov, b, control, a.size)
	for {
		_, _, e := unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&m)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if e != unix.EINTR {
			return e
		}
	}
}

// Recvmsg receives into b and control what one recvmsg(2) gives, and says how much either
// holds; a is then the address of its sender, or with MSG_ERRQUEUE in flags where what has
// failed went (ip(7), IP_RECVERR). Interrupted, it begins again.
func (a *Address) Recvmsg(fd uintptr, b, control []byte, flags int) (n, controlLen int, e syscall.Errno) {
	var iov unix.Iovec
	m := a.message(&iov, b, control, unix.SizeofSockaddrInet6)
	a.raw.Family = unix.AF_UNSPEC
	for {
		n, _, e := unix.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&m)), uintptr(flags|unix.MSG_DONTWAIT))
		switch e {
		case 0:
			a.size = m.Namelen
			return int(n), min(int(m.Controllen), len(control)), 0
		case unix.EINTR:
		default:
			return 0, 0, e
		}
	}
}

func (a *Address) message(iov *unix.Iovec, b, control []byte, size uint32) (m unix.Msghdr) {
	iov.Base = unsafe.SliceData(b)
	iov.SetLen(len(b))
	m.Name, m.Namelen = &a.bytes()[0], size
	m.Iov = iov
	m.SetIovlen(1)
	m.Control = unsafe.SliceData(control)
	m.SetControllen(len(control))
	return m
}

// Connect begins to connect a socket that does not block; called again, it says how
// that goes: 0 when it is connected, EALREADY while nothing is known, else its failure.
func (a *Address) Connect(fd uintptr) syscall.Errno {
	for {
		_, _, e := unix.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&a.raw)), uintptr(a.size))
		if e != unix.EINTR {
			return e
		}
	}
}
