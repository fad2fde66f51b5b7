package forwarder

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nowait"
	"github.com/footbridge-net/footbridge/internal/packet"
)

// maxQuoted is how much of a packet's data comes back in an ICMP error at
// most, in bytes; containers' kernels look at the first eight.
const maxQuoted = 512

// socketError is an entry of a socket's error queue (ip(7), IP_RECVERR) that came of an
// ICMP error, or stands for one.
type socketError struct {
	icmp     packet.ICMPError
	offender netip.Addr     // who sent the error; invalid if this host did
	dst      netip.AddrPort // where the packet went
	data     []byte         // of the packet, behind the transport header
}

// wantErrors makes a socket keep ICMP errors with their details.
func wantErrors(fd int, v4 bool) {
	setErrors(fd, v4, 1)
}

func setErrors(fd int, v4 bool, wanted int) {
	level, name := unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	if v4 {
		level, name = unix.IPPROTO_IP, unix.IP_RECVERR
	}
	nowait.SetOption(uintptr(fd), level, name, wanted)
}

// wantNoErrors undoes it, and empties the queue: on a TCP connection that is there, an
// ICMP error would end it.
func wantNoErrors(fd int, v4 bool) {
	setErrors(fd, v4, 0)
}

// speaker is who the container is told an error by: the offender, or nobody, which
// stands for the gateway, where a router would not pass the error on by its source.
func (e *socketError) speaker() netip.Addr {
	if a := e.offender; a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return e.offender
}

// errorQueue is room for one entry of a socket's error queue.
type errorQueue struct {
	data [maxQuoted]byte
	oob  [256]byte
	from nowait.Address
}

// read takes one entry; ok is false when there is none. An entry that stands
// for nothing on a wire comes back without a valid dst. e.data is valid until
// the next call.
func (q *errorQueue) read(fd int) (e socketError, ok bool) {
	n, control, no := q.from.Recvmsg(uintptr(fd), q.data[:], q.oob[:], unix.MSG_ERRQUEUE)
	if no != 0 {
		return e, false
	}
	e, valid := parseSocketError(q.oob[:control])
	if !valid {
		return socketError{}, true
	}
	e.dst = q.from.Get()
	e.data = q.data[:n]
	return e, true
}

// Layout of struct sock_extended_err (linux/errqueue.h): errno, origin, type,
// code, pad, info, data, then the offender's address.
const (
	extErrLen    = 16
	originLocal  = 1
	originICMP   = 2
	originICMPv6 = 3
)

// parseSocketError reads the control messages of an error queue entry.
func parseSocketError(oob []byte) (e socketError, ok bool) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return e, false
	}
	for _, m := range messages {
		v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
		v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
		if (!v4 && !v6) || len(m.Data) < extErrLen {
			continue
		}
		number := unix.Errno(binary.NativeEndian.Uint32(m.Data[0:4]))
		origin, typ, code := m.Data[4], m.Data[5], m.Data[6]
		info := binary.NativeEndian.Uint32(m.Data[8:12])
		switch {
		case origin == originICMP && v4, origin == originICMPv6 && v6:
			e.icmp = packet.ICMPError{Type: typ, Code: code}
			if number == unix.EMSGSIZE {
				e.icmp.Info = info
			}
			e.offender = offenderOf(m.Data[extErrLen:])
		case origin == originLocal && number == unix.EMSGSIZE:
			return e, false // the send has said so, too (Forwarder.tooBig)
		case origin == originLocal:
			icmp, known := icmpFor(number, v4)
			if !known {
				return e, false
			}
			e.icmp = icmp
		default:
			return e, false
		}
		return e, true
	}
	return e, false
}

// offenderOf reads the address behind a sock_extended_err.
func offenderOf(sa []byte) netip.Addr {
	if len(sa) < 2 {
		return netip.Addr{}
	}
	switch family := binary.NativeEndian.Uint16(sa); {
	case family == unix.AF_INET && len(sa) >= unix.SizeofSockaddrInet4:
		return netip.AddrFrom4([4]byte(sa[4:8]))
	case family == unix.AF_INET6 && len(sa) >= unix.SizeofSockaddrInet6:
		return netip.AddrFrom16([16]byte(sa[8:24]))
	}
	return netip.Addr{}
}
