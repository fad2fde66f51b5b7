package portfwd

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// Repair makes the socket of m what it was when it was bound, after a process has had it
// that may have spoiled it for the next one: by connecting it, which ends a listener and
// leaves a UDP socket with a single client, or by options. Clients that wait in the queue
// of a listener that listens stay there.
func Repair(m Mapping, h *fdpass.Handle) error {
	fd := h.FD()
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil {
		return os.NewSyscallError("fcntl", err)
	} else if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_NONBLOCK); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	hops := option{unix.IPPROTO_IP, unix.IP_TTL, -1}
	if m.Host.Addr().Is6() {
		hops = option{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, -1}
	}
	err := setAll(fd, hops)
	if m.Proto == "udp" {
		err = errors.Join(err, os.NewSyscallError("setsockopt", unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})))
		if _, perr := unix.Getpeername(fd); perr == nil {
			err = errors.Join(err, disconnect(fd, m))
		}
		return errors.Join(err, prepareUDP(fd, m.Host), verify(fd, m))
	}
	if listens, lerr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); lerr == nil && listens == 0 {
		if derr := disconnect(fd, m); derr != nil {
			return errors.Join(err, derr) // or it would listen somewhere else
		}
		err = errors.Join(err, os.NewSyscallError("listen", unix.Listen(fd, backlog)))
	}
	return errors.Join(err, prepareTCP(fd), verify(fd, m))
}

// disconnect ends what connect(2) made of a socket, which is then bound as it was.
func disconnect(fd int, m Mapping) error {
	if err := unspecify(fd); err != nil {
		return err
	}
	sa, err := sockaddr(m.Host)
	if err != nil {
		return err
	}
	// A port that was asked for stays bound, and one that the kernel chose does not.
	if err := unix.Bind(fd, sa); err != nil && !errors.Is(err, unix.EINVAL) {
		return os.NewSyscallError("bind", err)
	}
	if local, err := unix.Getsockname(fd); err != nil || addrPort(local).Port() != m.Host.Port() {
		return errors.Join(ErrSocket, err)
	}
	return nil
}

func unspecify(fd int) error {
	var nowhere unix.RawSockaddrAny // AF_UNSPEC
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&nowhere)), unix.SizeofSockaddrInet6)
	if errno != 0 {
		return os.NewSyscallError("connect", errno)
	}
	return nil
}
