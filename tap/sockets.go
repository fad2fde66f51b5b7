package tap

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/tap/internal/nsexec"
)

// MaxSockets bounds one call of Sockets: as many as one message carries.
const MaxSockets = nsexec.MaxSockets

// Sockets makes n TCP sockets, from 1 to MaxSockets, inside a network namespace: what they
// connect to is what a process in there would reach. They do not block, and each is
// bound, for good, to the address at and a port of its own: the first that is free from
// at's on, in the range that outgoing connections have. next is the port for the next
// call. All or none are made; EADDRNOTAVAIL says that the address is not the namespace's.
// Nothing is executed in there: the way in by nsenter, which Attach may take, is none for
// this.
func Sockets(ns Namespaces, at netip.AddrPort, n int) (hs []*fdpass.Handle, next uint16, err error) {
	user, err := ns.userToEnter()
	if err != nil {
		return nil, 0, err
	}
	fds, next, err := nsexec.Sockets(user, ns.Net, at, n)
	if err != nil {
		return nil, 0, fmt.Errorf("tap: sockets at %v in a namespace: %w", at.Addr(), err)
	}
	for _, fd := range fds {
		hs = append(hs, fdpass.NewHandle(fd))
	}
	return hs, next, nil
}

// Dup makes other handles of the same namespaces.
func (ns Namespaces) Dup() (out Namespaces, err error) {
	if out.Net, err = dupFile(ns.Net); err != nil || ns.User == nil {
		return out, err
	}
	if out.User, err = dupFile(ns.User); err != nil {
		out.Net.Close()
		return Namespaces{}, err
	}
	return out, nil
}

func dupFile(f *os.File) (*os.File, error) {
	if f == nil {
		return nil, fmt.Errorf("tap: duplicate a namespace's handle: %w", os.ErrInvalid)
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	runtime.KeepAlive(f)
	if err != nil {
		return nil, fmt.Errorf("tap: duplicate a namespace's handle: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
