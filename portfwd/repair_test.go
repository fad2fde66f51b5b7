package portfwd

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a process does to a published port's socket ends with that process.
func TestSpoiledSocketsAreRepaired(t *testing.T) {
	for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
		for _, kind := range []string{"tcp", "udp", "tcp by number", "udp by number"} {
			proto, _, asked := strings.Cut(kind, " ")
			t.Run(kind+" "+host, func(t *testing.T) {
				m := Mapping{Proto: proto, Host: netip.MustParseAddrPort(host), Container: netip.MustParseAddrPort("10.0.0.2:80")}
				b, err := NewRegistry().Bind(m)
				if err != nil {
					t.Fatal(err)
				}
				if asked { // a port by its number
					m = b.Mapping()
					b.Close()
					if b, err = NewRegistry().Bind(m); err != nil {
						t.Fatal(err)
					}
				}
				defer b.Close()
				m = b.Mapping()
				fd := b.Handle().FD()
				to, err := sockaddr(netip.MustParseAddrPort(host))
				if err != nil {
					t.Fatal(err)
				}
				if proto == "tcp" {
					err = unspecify(fd)
				} else {
					switch sa := to.(type) {
					case *unix.SockaddrInet4:
						sa.Port = 9
					case *unix.SockaddrInet6:
						sa.Port = 9
					}
					err = unix.Connect(fd, to)
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range []option{{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0}, {unix.SOL_SOCKET, unix.SO_RCVBUF, 1}} {
					if err := setAll(fd, o); err != nil {
						t.Fatal(err)
					}
				}
				if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 1000}); err != nil {
					t.Fatal(err)
				}
				if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_RDWR); err != nil {
					t.Fatal(err)
				}
				for range 2 { // again: what is whole stays so
					if err := Repair(m, b.Handle()); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := unix.Getpeername(fd); err == nil {
					t.Error("it has one client only")
				}
				resets := int32(1) // what is cut
				if m.Proto == "udp" {
					resets = 0
				}
				if l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER); err != nil || l.Onoff != resets || l.Onoff*l.Linger != 0 {
					t.Errorf("it lingers: %v, %v", l, err)
				}
				reach(t, m)
			})
		}
	}
}

// reach sends something to a socket that nobody reads.
func reach(t *testing.T, m Mapping) {
	t.Helper()
	kind := unix.SOCK_STREAM
	if m.Proto == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(domain(m.Host.Addr()), kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	to, err := sockaddr(m.Host)
	if err == nil {
		err = unix.Connect(fd, to)
	}
	// The second one would fail if the first found nobody.
	for range 2 {
		if err == nil {
			_, err = unix.Write(fd, []byte("x"))
		}
	}
	if err != nil {
		t.Errorf("%v is not reached: %v", m.Host, err)
	}
}
