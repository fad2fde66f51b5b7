package fdstore

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// ErrManager is wrapped by errors of telling the service manager something.
var ErrManager = errors.New("the service manager could not be told")

// notifyPatience bounds how long a message to the service manager waits for room in its
// queue. It reads messages before anything else, so it is busy starting, or stopped.
const notifyPatience = 5 * time.Second

// manager is the other end of NOTIFY_SOCKET: sd_notify(3). Its methods work on nil, for
// nobody.
type manager struct {
	fd     int // a datagram socket of our own; never on the poller
	to     *unix.SockaddrUnix
	stores bool     // it may keep descriptors
	env    []string // that tells the next program of it
}

// newManager finds the service manager; nil without one. One on another machine
// (vsock) is none: it could not take descriptors.
func newManager(getenv func(string) string) (*manager, error) {
	path := getenv(socketVariable)
	if path == "" || path[0] != '/' && path[0] != '@' {
		return nil, nil
	}
	m := &manager{to: &unix.SockaddrUnix{Name: path}, stores: true, env: []string{socketVariable + "=" + path}}
	// Without a word it may be older than the word: what it does not take it drops.
	if limit := getenv(limitVariable); limit != "" {
		m.stores = limit != "0"
		m.env = append(m.env, limitVariable+"="+limit)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket for the service manager: %w", err)
	}
	tv := unix.NsecToTimeval(notifyPatience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv); err != nil {
		return nil, errors.Join(fmt.Errorf("socket for the service manager: %w", err), unix.Close(fd))
	}
	m.fd = fd
	return m, nil
}

// environ is the environment by which another program finds the manager.
func (m *manager) environ() []string {
	if m == nil {
		return nil
	}
	return m.env
}

func (m *manager) send(text string, oob []byte) error {
	if m == nil {
		return nil
	}
	for {
		_, err := unix.SendmsgN(m.fd, []byte(text), oob, m.to, unix.MSG_NOSIGNAL)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			what, _, _ := strings.Cut(text, "\n")
			return fmt.Errorf("%w (%s, on %s): %w", ErrManager, what, m.to.Name, err)
		}
		return nil
	}
}

// store gives the manager a descriptor to keep. Without FDPOLL=0 it would drop one on
// which poll(2) reports an error, as it does on a TAP whose interface is down.
func (m *manager) store(name string, h *fdpass.Handle) error {
	if m == nil || !m.stores {
		return nil
	}
	fd := h.FD()
	if fd < 0 {
		return fmt.Errorf("%w: %w", ErrManager, os.ErrClosed)
	}
	return m.send("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, unix.UnixRights(fd))
}

// remove takes all descriptors of a name from the manager's store.
func (m *manager) remove(name string) error {
	if m == nil || !m.stores {
		return nil
	}
	return m.send("FDSTOREREMOVE=1\nFDNAME="+name, nil)
}

func (m *manager) close() error {
	if m == nil || m.fd < 0 {
		return nil
	}
	fd := m.fd
	m.fd = -1
	return os.NewSyscallError("close", unix.Close(fd))
}

// Managed reports whether a service manager listens to Notify.
func (s *Store) Managed() bool { return s.manager != nil }

// Notify tells the service manager the program's state in the words of sd_notify(3),
// "READY=1" for instance. Without one it does nothing.
func (s *Store) Notify(state string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.manager.send(state, nil)
}

// Reloading tells the service manager that READY=1 will come again.
func (s *Store) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return os.NewSyscallError("clock_gettime", err)
	}
	return s.Notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
}
