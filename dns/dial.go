package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/turn"
)

// Sockets to the servers are made here and not by package net, which asks the
// kernel for the names of all interfaces when an address has a zone: a process in
// a sandbox may not.

// dialer makes one connected socket to a server.
type dialer struct {
	kind    int // SOCK_DGRAM or SOCK_STREAM
	server  netip.AddrPort
	timeout time.Duration
	turn    *turn.Turn
}

// dial gives a connected socket whose calls end after the timeout or with ctx.
// release is called by whoever is done with it.
func (d dialer) dial(ctx context.Context) (conn *os.File, release func(), err error) {
	conn, done, err := d.begin()
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(d.timeout))
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	release = func() {
		stop()
		start := d.turn.Begin()
		defer d.turn.End(start)
		conn.Close()
	}
	if !done {
		err = connected(conn)
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return conn, release, nil
}

// begin begins to connect; done says that this is over.
func (d dialer) begin() (conn *os.File, done bool, err error) {
	domain, sa, err := sockaddr(d.server)
	if err != nil {
		return nil, false, err
	}
	start := d.turn.Begin()
	defer d.turn.End(start)
	fd, err := unix.Socket(domain, d.kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, false, os.NewSyscallError("socket", err)
	}
	switch err = unix.Connect(fd, sa); err {
	case nil, unix.EINPROGRESS, unix.EINTR: // EINTR: it goes on, too
		return os.NewFile(uintptr(fd), "DNS server"), err == nil, nil
	}
	unix.Close(fd)
	return nil, false, os.NewSyscallError("connect", err)
}

// connected waits for the end of a connection attempt under way.
func connected(conn *os.File) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Write(func(fd uintptr) bool {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			result = os.NewSyscallError("getsockopt", err)
		case code != 0:
			result = os.NewSyscallError("connect", unix.Errno(code))
		default:
			// No error is not yet a connection.
			_, err := unix.Getpeername(int(fd))
			return err != unix.ENOTCONN
		}
		return true
	})
	if err != nil {
		return err
	}
	return result
}

func sockaddr(a netip.AddrPort) (domain int, sa unix.Sockaddr, err error) {
	if ip := a.Addr().Unmap(); ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Addr: ip.As4(), Port: int(a.Port())}, nil
	}
	zone, err := zoneID(a.Addr().Zone())
	return unix.AF_INET6, &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port()), ZoneId: zone}, err
}

// zoneID is the number that a zone is, 0 for none.
func zoneID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(zone, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("zone %q: not an interface's number; `ip link` lists them", zone)
	}
	return uint32(n), nil
}

// numbered gives interfaces in zones by their numbers. A server whose interface
// is not there is left out: its address means nothing without.
func numbered(servers []netip.AddrPort) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range servers {
		if _, err := zoneID(s.Addr().Zone()); err != nil {
			i, err := net.InterfaceByName(s.Addr().Zone())
			if err != nil {
				continue
			}
			s = netip.AddrPortFrom(s.Addr().WithZone(strconv.Itoa(i.Index)), s.Port())
		}
		out = append(out, s)
	}
	return out
}
