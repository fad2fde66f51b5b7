package portfwd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/dgram"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/nowait"
)

// socket is a bound host socket on the runtime's poller. The net package is not
// used: its listeners give no readiness (SyscallConn().Read of a TCPListener is
// EINVAL), and a connection needs no net.Conn around it.
type socket struct {
	file *os.File
	raw  syscall.RawConn
	fd   int
}

// newSocket takes over h, the socket that was bound for m.
func newSocket(m Mapping, h *fdpass.Handle) (*socket, error) {
	if err := verify(h.FD(), m); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	s := &socket{fd: h.Take()}
	s.file = os.NewFile(uintptr(s.fd), "published "+m.Host.String())
	var err error
	if s.raw, err = s.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return s, nil
}

// backlog is Linux's default of net.core.somaxconn since 5.4; the kernel lowers
// it to the sysctl's value.
const backlog = unix.SOMAXCONN

// listen binds a socket for m. It gives the real port.
func listen(m Mapping) (*fdpass.Handle, uint16, error) {
	if m.Proto == "udp" {
		return listenUDP(m)
	}
	return listenTCP(m)
}

// listenTCP listens at exactly m.Host.
func listenTCP(m Mapping) (*fdpass.Handle, uint16, error) {
	return bind(m.Host, unix.SOCK_STREAM, prepareTCP)
}

func prepareTCP(fd int) error {
	// What a worker carried when it died was cut, and must not look as if it was at its end. Accepted sockets
	// inherit it; a connection that ends in order takes it back.
	if e := nowait.ResetOnClose(uintptr(fd), true); e != 0 {
		return os.NewSyscallError("setsockopt", e)
	}
	return setAll(fd,
		// As everywhere: without it a port stays taken for a minute by
		// connections in TIME_WAIT. Two listeners still exclude each other.
		option{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		// What follows is inherited by accepted sockets. The container's
		// stack has decided what to send when; Nagle would delay it again.
		option{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		// A client that vanished is found after 120 + 4*30 s; without, its
		// connection and file descriptor would stay for ever.
		option{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		option{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 120},
		option{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 30},
		option{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 4},
	)
}

// listenUDP binds exactly m.Host, with the address that a client used given
// beside each datagram. There is no SO_REUSEADDR: for UDP it would let another
// program of the user take the port over.
func listenUDP(m Mapping) (*fdpass.Handle, uint16, error) {
	return bind(m.Host, unix.SOCK_DGRAM, func(fd int) error { return prepareUDP(fd, m.Host) })
}

func prepareUDP(fd int, host netip.AddrPort) error {
	pktinfo := option{unix.IPPROTO_IP, unix.IP_PKTINFO, 1}
	if host.Addr().Is6() {
		pktinfo = option{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1}
	}
	dgram.TakeSeveral(fd)
	// Room for bursts, as far as net.core.rmem_max allows: the default
	// 208 KiB is some 90 small datagrams, lost when a reader sleeps 1 ms.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 2<<20)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 2<<20)
	return setAll(fd, pktinfo)
}

func bind(host netip.AddrPort, kind int, prepare func(fd int) error) (*fdpass.Handle, uint16, error) {
	fd, err := unix.Socket(domain(host.Addr()), kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, 0, os.NewSyscallError("socket", err)
	}
	h := fdpass.NewHandle(fd)
	port, err := bindFD(fd, host, kind, prepare)
	if err != nil {
		return nil, 0, errors.Join(err, h.Close())
	}
	return h, port, nil
}

func domain(a netip.Addr) int {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

func bindFD(fd int, host netip.AddrPort, kind int, prepare func(fd int) error) (uint16, error) {
	if host.Addr().Is6() {
		if err := setAll(fd, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1}); err != nil {
			return 0, err
		}
	}
	if err := prepare(fd); err != nil {
		return 0, err
	}
	sa, err := sockaddr(host)
	if err != nil {
		return 0, err
	}
	if err := unix.Bind(fd, sa); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	// With SO_REUSEADDR two sockets can be bound to one port; only one listens.
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(fd, backlog); err != nil {
			return 0, os.NewSyscallError("listen", err)
		}
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return addrPort(local).Port(), nil
}

// verify says whether fd is the socket that listen makes for m, whose Host has
// the real port. The zone of a link-local address is not looked at: its name
// may be another interface's by now, and the socket stays where it was bound.
func verify(fd int, m Mapping) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: descriptor %d for %v/%s: %w", ErrSocket, fd, m.Host, m.Proto, fmt.Errorf(format, args...))
	}
	kind, proto, listening := unix.SOCK_STREAM, unix.IPPROTO_TCP, 1
	if m.Proto == "udp" {
		kind, proto, listening = unix.SOCK_DGRAM, unix.IPPROTO_UDP, 0
	}
	for _, o := range []struct {
		name  string
		which int
		want  int
	}{
		{"SO_DOMAIN", unix.SO_DOMAIN, domain(m.Host.Addr())},
		{"SO_TYPE", unix.SO_TYPE, kind},
		{"SO_PROTOCOL", unix.SO_PROTOCOL, proto},
		{"SO_ACCEPTCONN", unix.SO_ACCEPTCONN, listening},
	} {
		switch got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, o.which); {
		case err != nil:
			return wrong("%s: %w", o.name, err)
		case got != o.want:
			return wrong("%s is %d, not %d", o.name, got, o.want)
		}
	}
	if m.Host.Addr().Is6() {
		// Without it the socket would take IPv4 clients that nobody meant.
		if only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err != nil || only != 1 {
			return wrong("IPV6_V6ONLY is %d, %v", only, err)
		}
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		return wrong("it blocks (flags %#x, %v)", flags, err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return wrong("%w", os.NewSyscallError("getsockname", err))
	}
	local := addrPort(sa)
	if local.Port() != m.Host.Port() || local.Addr().WithZone("") != m.Host.Addr().WithZone("") {
		return wrong("it is bound to %v", local)
	}
	return nil
}

type option struct{ level, name, value int }

func setAll(fd int, options ...option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt "+strconv.Itoa(o.level)+"/"+strconv.Itoa(o.name), err)
		}
	}
	return nil
}

func sockaddr(a netip.AddrPort) (unix.Sockaddr, error) {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}, nil
	}
	zone, err := zoneID(a.Addr().Zone())
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port()), ZoneId: zone}, err
}

// zoneID is the interface index that a zone names, 0 for none.
func zoneID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 31); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("zone %q: %w", zone, unix.EADDRNOTAVAIL)
	}
	return uint32(i.Index), nil
}

// addrPort gives a socket's address, IPv4-mapped ones as IPv4. The zone of a
// link-local address is its interface's number.
func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		a := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 && a.Is6() {
			a = a.WithZone(strconv.Itoa(int(sa.ZoneId)))
		}
		return netip.AddrPortFrom(a, uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// reset closes a connection with RST, so that the client learns of a failure
// as such instead of an end of data.
func reset(fd int) {
	nowait.ResetOnClose(uintptr(fd), true)
	unix.Close(fd)
}
