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

// Set makes it the address to, whose zone is not kept.
func (a *Address) Set(to netip.AddrPort) {
	if to.Addr().Is4() {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&a.raw))
		v4.Family = unix.AF_INET
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&v4.Port))[:], to.Port())
		v4.Addr = to.Addr().As4()
		a.size = unix.SizeofSockaddrInet4
		return
	}
	a.raw = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&a.raw.Port))[:], to.Port())
	a.size = unix.SizeofSockaddrInet6
}

// Get gives the address that it is; invalid if it is none.
func (a *Address) Get() netip.AddrPort {
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&a.raw.Port))[:])
	switch a.raw.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&a.raw))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.raw.Addr), port)
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

// RecvFrom receives one datagram into b and makes a the address of its sender;
// interrupted, it begins again.
func (a *Address) RecvFrom(fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		a.raw.Family, a.size = unix.AF_UNSPEC, unix.SizeofSockaddrInet6
		n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&a.raw)), uintptr(unsafe.Pointer(&a.size)))
		if e != unix.EINTR {
			return count(n, e)
		}
	}
}

// ErrorOf takes an entry of a socket's error queue (ip(7), IP_RECVERR): the packet's
// data and control messages, whose lengths are returned, and where it went as a.
func (a *Address) ErrorOf(fd uintptr, data, control []byte) (n, controlLen int, e syscall.Errno) {
	a.raw.Family = unix.AF_UNSPEC
	iov := unix.Iovec{Base: unsafe.SliceData(data)}
	iov.SetLen(len(data))
	m := unix.Msghdr{Name: (*byte)(unsafe.Pointer(&a.raw)), Namelen: unix.SizeofSockaddrInet6, Iov: &iov, Control: unsafe.SliceData(control)}
	m.SetIovlen(1)
	m.SetControllen(len(control))
	n, e = Recvmsg(fd, &m, unix.MSG_ERRQUEUE)
	return n, int(m.Controllen), e
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
