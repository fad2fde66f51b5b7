package forwarder

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// What a container says in a packet's IP header goes on in the header that the
// host's kernel makes, as far as sockets let it:
//
//	TTL, hop limit    less one: the gateway is a router, too
//	type of service   as it is, ECN's bits included; of TCP the SYN's without them,
//	                  since either half of the connection has its own ECN
//	don't fragment    IP_PMTUDISC_DO: what is too big is refused by the kernel or
//	                  by a router, and the container is told the path's MTU
//	may be cut        IP_PMTUDISC_DONT: routers and the host cut it. IPv6 knows no
//	                  such packets; one that came in fragments leaves in some
//
// All of it are options of the socket, set when they change with the lock held
// that sending takes: a datagram is never sent with another's. Flows do not change
// them, so this costs three calls a flow and nothing a datagram.

// path is how a packet is to travel. The zero value stands for a new socket's.
type path struct {
	hops uint8 // TTL or hop limit; 0 = the host's default
	tos  uint8
	df   fragmentation
}

// fragmentation is what may be done to a packet that is too big.
type fragmentation uint8

const (
	byDefault fragmentation = iota
	mayBeCut
	dontCut
)

// onward is the path of what the container sent with these fields. ttl is above 1.
func onward(ttl, tos uint8, dontFragment bool) path {
	p := path{hops: ttl - 1, tos: tos, df: mayBeCut}
	if dontFragment {
		p.df = dontCut
	}
	return p
}

// set makes the socket fd, which has the path old, send on p.
func (p path) set(fd int, v4 bool, old path) {
	level, ttl, tos, discover := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_TOS, unix.IP_MTU_DISCOVER
	cut, whole := unix.IP_PMTUDISC_DONT, unix.IP_PMTUDISC_DO
	if !v4 {
		level, ttl, tos, discover = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_TCLASS, unix.IPV6_MTU_DISCOVER
		// Cut at the path's MTU, and told of it, since no router will cut.
		cut, whole = unix.IPV6_PMTUDISC_WANT, unix.IPV6_PMTUDISC_DO
	}
	if p.hops != old.hops && p.hops != 0 {
		unix.SetsockoptInt(fd, level, ttl, int(p.hops))
	}
	if p.tos != old.tos {
		unix.SetsockoptInt(fd, level, tos, int(p.tos))
	}
	switch {
	case p.df == old.df:
	case p.df == dontCut:
		unix.SetsockoptInt(fd, level, discover, whole)
	case p.df == mayBeCut:
		unix.SetsockoptInt(fd, level, discover, cut)
	}
}

// tooBig tells the container that what it sent, which quoted begins, is too big for
// the way to dst.
func (f *Forwarder) tooBig(c *client, dst netip.Addr, quoted []byte) {
	if !c.measures.take(f.now(), measureEvery, measureBurst) {
		return // more often it would not be told anyway
	}
	f.gw.SendICMPError(netip.Addr{}, packet.TooBig(dst.Is4(), f.out.mtu(dst)), quoted)
}

// leastMTU is the path MTU told to a container if the kernel does not say: the
// smallest that always works lets it go on (RFC 791, RFC 8200). In bytes.
func leastMTU(dst netip.Addr) uint32 {
	if dst.Is4() {
		return 576
	}
	return 1280
}

// mtu asks the kernel for the MTU of the way to dst, in bytes. It needs a socket that
// is connected, which those of flows are not; its error queue, which has the number
// for them, may be read by somebody else at the moment.
func (o *Outbound) mtu(dst netip.Addr) uint32 {
	family, level, option := unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MTU
	if dst.Is4() {
		family, level, option = unix.AF_INET, unix.IPPROTO_IP, unix.IP_MTU
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return leastMTU(dst)
	}
	defer unix.Close(fd)
	if o.bind(fd, dst.Is4()) != nil || unix.Connect(fd, sockaddr(netip.AddrPortFrom(dst, anyPort))) != nil {
		return leastMTU(dst)
	}
	// Less than a link may have would make the container's kernel do nonsense.
	mtu, err := unix.GetsockoptInt(fd, level, option)
	if err != nil || mtu < minMTU || mtu > maxMTU {
		return leastMTU(dst)
	}
	return uint32(mtu)
}

// anyPort is where nothing is sent: connect(2) wants a port.
const anyPort = 9

// minMTU is what every link carries (RFC 791 3.2), in bytes.
const minMTU = 68

// maxMTU is what any link says that it carries, in bytes: loopback.
const maxMTU = 64 << 10

// sockaddr is a as package unix has it.
func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
