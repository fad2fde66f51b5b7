package portfwd

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nowait"
)

// recvmsg(2) and sendmsg(2) as they are: the wrappers of x/sys allocate a
// sockaddr for each datagram.

// sockaddrAny is room for a struct sockaddr_in or sockaddr_in6, aligned.
type sockaddrAny struct{ unix.RawSockaddrInet6 }

func (a *sockaddrAny) bytes() *[unix.SizeofSockaddrInet6]byte {
	return (*[unix.SizeofSockaddrInet6]byte)(unsafe.Pointer(a))
}

// set writes an address and returns the length.
func (a *sockaddrAny) set(to netip.AddrPort, scope uint32) uint32 {
	b := a.bytes()
	clear(b[:])
	// sin_port and sin6_port are in one place, in network byte order.
	binary.BigEndian.PutUint16(b[2:], to.Port())
	if to.Addr().Is4() {
		binary.NativeEndian.PutUint16(b[0:], unix.AF_INET)
		ip := to.Addr().As4()
		copy(b[4:], ip[:])
		return unix.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(b[0:], unix.AF_INET6)
	ip := to.Addr().As16()
	copy(b[8:], ip[:])
	binary.NativeEndian.PutUint32(b[24:], scope)
	return unix.SizeofSockaddrInet6
}

// get reads an address of n bytes, IPv4-mapped ones as IPv4 and without zone.
// It is invalid if it is of another family or too short.
func (a *sockaddrAny) get(n uint32) netip.AddrPort {
	b := a.bytes()
	if n < 2 {
		return netip.AddrPort{}
	}
	switch port := binary.BigEndian.Uint16(b[2:]); binary.NativeEndian.Uint16(b[0:]) {
	case unix.AF_INET:
		if n >= unix.SizeofSockaddrInet4 {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), port)
		}
	case unix.AF_INET6:
		if n >= unix.SizeofSockaddrInet6 {
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port)
		}
	}
	return netip.AddrPort{}
}

// receiver is the memory of recvmsg. It is used by one goroutine.
type receiver struct {
	msg     unix.Msghdr
	iov     unix.Iovec
	name    sockaddrAny
	control [maxControl]byte
	err     syscall.Errno
}

// recv reads one datagram into b. If it is not ok, err says why.
func (r *receiver) recv(fd int, b []byte) (payload []byte, ok bool) {
	r.iov.Base = unsafe.SliceData(b)
	r.iov.SetLen(len(b))
	r.msg.Name = &r.name.bytes()[0]
	r.msg.Namelen = unix.SizeofSockaddrInet6
	r.msg.Iov = &r.iov
	r.msg.SetIovlen(1)
	r.msg.Control = &r.control[0]
	r.msg.SetControllen(len(r.control))
	n, err := nowait.Recvmsg(uintptr(fd), &r.msg, 0)
	r.iov.Base = nil // b belongs to a pool
	r.err = err
	if err != 0 {
		return nil, false
	}
	return b[:n], true
}

func (r *receiver) client() netip.AddrPort { return r.name.get(r.msg.Namelen) }

func (r *receiver) controlData() []byte {
	return r.control[:min(int(r.msg.Controllen), len(r.control))]
}

// sendmsg sends one message without blocking. Nothing is kept.
func sendmsg(fd int, name *sockaddrAny, nameLen uint32, control, payload []byte) syscall.Errno {
	var iov unix.Iovec
	iov.Base = unsafe.SliceData(payload)
	iov.SetLen(len(payload))
	var msg unix.Msghdr
	msg.Name = &name.bytes()[0]
	msg.Namelen = nameLen
	msg.Iov = &iov
	msg.SetIovlen(1)
	msg.Control = unsafe.SliceData(control)
	msg.SetControllen(len(control))
	_, err := nowait.Sendmsg(uintptr(fd), &msg, 0)
	return err
}
