package dgram

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Ancillary data of UDP sockets (recvmsg(2), ip(7), ipv6(7), udp(7)): a row of
//
//	struct cmsghdr { size_t cmsg_len; int cmsg_level; int cmsg_type; } data, padded to size_t
//
// in the host's byte order.

const (
	wordSize = 4 << (^uint(0) >> 63) // sizeof(size_t)
	cmsgHead = wordSize + 8

	pktinfo4Len = 12 // struct in_pktinfo { int ifindex; in_addr spec_dst, addr; }
	pktinfo6Len = 20 // struct in6_pktinfo { in6_addr addr; int ifindex; }

	// maxControl is room for what is asked of the kernel and for what is told
	// it: packet info and a segment size, with headers and padding.
	maxControl = 96
)

// Info is what the kernel says about a message, as far as its socket was made to ask.
type Info struct {
	// Local is the host's address that it was sent to, from which an answer
	// has to come. For broadcast and multicast it is an address of the
	// interface (IPv4) or invalid (IPv6). It is invalid without IP_PKTINFO, too.
	Local netip.Addr
	// Direct is false for broadcast and multicast.
	Direct bool
	// Interface is the number of the one that it has come by.
	Interface uint32
	// Segment is not 0 if several datagrams of that size came at once.
	Segment int
}

// parseControl reads ancillary data; the Info of damaged data is zero.
func parseControl(b []byte) (c Info) {
	for len(b) >= cmsgHead {
		n := word(b)
		if n < cmsgHead || n > uint64(len(b)) {
			return Info{}
		}
		level := int32(binary.NativeEndian.Uint32(b[wordSize:]))
		kind := int32(binary.NativeEndian.Uint32(b[wordSize+4:]))
		data := b[cmsgHead:n]
		switch {
		case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(data) >= pktinfo4Len:
			c.Interface = binary.NativeEndian.Uint32(data)
			c.Local = netip.AddrFrom4([4]byte(data[4:8]))
			c.Direct = c.Local == netip.AddrFrom4([4]byte(data[8:12]))
		case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(data) >= pktinfo6Len:
			c.Interface = binary.NativeEndian.Uint32(data[16:])
			c.Local = netip.AddrFrom16([16]byte(data[:16]))
			c.Direct = !c.Local.IsMulticast()
		case level == unix.SOL_UDP && kind == unix.UDP_GRO && len(data) >= 4:
			c.Segment = int(int32(binary.NativeEndian.Uint32(data)))
			if c.Segment < 0 {
				return Info{}
			}
		}
		b = b[min(align(int(n)), len(b)):]
	}
	return c
}

// putPktinfo writes the wish to send from local, by the interface if its number
// is not 0, and returns the length. b has room for maxControl bytes.
func putPktinfo(b []byte, local netip.Addr, ifindex uint32) int {
	if local.Is4() {
		data := putHead(b, unix.IPPROTO_IP, unix.IP_PKTINFO, pktinfo4Len)
		binary.NativeEndian.PutUint32(data, ifindex)
		a := local.As4()
		copy(data[4:], a[:]) // spec_dst; addr is not looked at
		return align(cmsgHead + pktinfo4Len)
	}
	data := putHead(b, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, pktinfo6Len)
	a := local.As16()
	copy(data, a[:])
	binary.NativeEndian.PutUint32(data[16:], ifindex)
	return align(cmsgHead + pktinfo6Len)
}

// putSegment writes the wish to send several datagrams of size bytes.
func putSegment(b []byte, size uint16) int {
	data := putHead(b, unix.SOL_UDP, unix.UDP_SEGMENT, 2)
	binary.NativeEndian.PutUint16(data, size)
	return align(cmsgHead + 2)
}

func putHead(b []byte, level, kind, length int) []byte {
	clear(b[:align(cmsgHead+length)])
	if wordSize == 8 {
		binary.NativeEndian.PutUint64(b, uint64(cmsgHead+length))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(cmsgHead+length))
	}
	binary.NativeEndian.PutUint32(b[wordSize:], uint32(level))
	binary.NativeEndian.PutUint32(b[wordSize+4:], uint32(kind))
	return b[cmsgHead : cmsgHead+length]
}

func word(b []byte) uint64 {
	if wordSize == 8 {
		return binary.NativeEndian.Uint64(b)
	}
	return uint64(binary.NativeEndian.Uint32(b))
}

func align(n int) int { return (n + wordSize - 1) &^ (wordSize - 1) }
