package tap

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespaces are handles of a container's network namespace and of the user
// namespace that owns it. They keep both alive, and go on meaning the same ones
// whatever becomes of the process.
type Namespaces struct {
	User, Net *os.File

	helper   *session // nil: one for each request, see Keep
	settings *os.File // nil: the daemon's /proc/sys, see UseSettingsOf
}

// OpenNamespaces opens the network namespace of a process and the user
// namespace that owns it, which must belong to the caller's uid.
//
// Errors: ErrNoProcess, ErrForeignOwner, ErrHostNamespace.
func OpenNamespaces(pid int) (Namespaces, error) {
	// The pidfd is opened first and asked last: if the process lives
	// then, the number meant it all the time.
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return Namespaces{}, processError(pid, err)
	}
	defer unix.Close(pidfd)
	handle, err := netns.GetFromPid(pid)
	if err != nil {
		return Namespaces{}, processError(pid, err)
	}
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil {
		handle.Close()
		return Namespaces{}, processError(pid, err)
	}
	what := fmt.Sprintf("network namespace of process %d", pid)
	return openOwner(handle, what)
}

// OpenNamespacePath is OpenNamespaces for a file, such as one below /run/netns or
// /proc/PID/ns/net.
//
// Errors: ErrNotNamespace, ErrForeignOwner, ErrHostNamespace, and those of open(2).
func OpenNamespacePath(path string) (Namespaces, error) {
	net, err := OpenNetwork(path)
	if err != nil {
		return Namespaces{}, err
	}
	return AddOwner(net)
}

// OpenNetwork opens a network namespace by its path, whoever owns it. What the
// path leads to is settled once, whatever becomes of the path; and nothing but a
// namespace is opened, since opening a pipe waits and opening a device may do
// anything.
//
// Errors: ErrNotNamespace, and those of open(2).
func OpenNetwork(path string) (*os.File, error) {
	what := "network namespace " + path
	place, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("tap: open %s: %w", what, err)
	}
	defer unix.Close(place)
	var st unix.Statfs_t
	if err := unix.Fstatfs(place, &st); err != nil {
		return nil, fmt.Errorf("tap: open %s: %w", what, err)
	}
	if st.Type != unix.NSFS_MAGIC {
		return nil, fmt.Errorf("tap: %s: %w", path, ErrNotNamespace)
	}
	handle, err := netns.GetFromPath(fmt.Sprintf("/proc/self/fd/%d", place))
	if err != nil {
		return nil, fmt.Errorf("tap: open %s: %w", what, err)
	}
	net := os.NewFile(uintptr(handle), what)
	if err := checkKind(net, what); err != nil {
		net.Close()
		return nil, err
	}
	return net, nil
}

func processError(pid int, err error) error {
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("tap: process %d: %w", pid, ErrNoProcess)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		var st unix.Stat_t
		if serr := unix.Stat(fmt.Sprintf("/proc/%d", pid), &st); serr == nil && int(st.Uid) != os.Geteuid() {
			return fmt.Errorf("tap: namespaces of process %d: %w (uid %d, not %d): %w", pid, ErrForeignOwner, st.Uid, os.Geteuid(), err)
		}
		return fmt.Errorf("tap: namespaces of process %d: %w: %w", pid, ErrForeignOwner, err)
	}
	return fmt.Errorf("tap: namespaces of process %d: %w", pid, err)
}

// openOwner is AddOwner of a handle.
func openOwner(handle netns.NsHandle, what string) (Namespaces, error) {
	net := os.NewFile(uintptr(handle), what)
	if err := checkKind(net, what); err != nil {
		net.Close()
		return Namespaces{}, err
	}
	return AddOwner(net)
}

// AddOwner takes over an open network namespace and adds the user namespace that
// owns it, which must belong to the caller's uid. It is the kernel's answer, not
// /proc/PID/ns/user: a process may have moved on into a user namespace that has no
// power over its network.
//
// Errors: ErrForeignOwner, ErrHostNamespace.
func AddOwner(net *os.File) (Namespaces, error) {
	ns, err := checkOwner(net, net.Name())
	if err != nil {
		net.Close()
		return Namespaces{}, err
	}
	return ns, nil
}

func checkKind(net *os.File, what string) error {
	if kind, err := unix.IoctlRetInt(int(net.Fd()), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return fmt.Errorf("tap: %s: %w", what, ErrNotNamespace)
	}
	return nil
}

func checkOwner(net *os.File, what string) (Namespaces, error) {
	fd := int(net.Fd())
	// First: to an ordinary user the host's own network is somebody else's as well.
	if same, err := sameFile(fd, "/proc/self/ns/net"); err != nil {
		return Namespaces{}, fmt.Errorf("tap: %s: %w", what, err)
	} else if same {
		return Namespaces{}, fmt.Errorf("tap: %s: %w", what, ErrHostNamespace)
	}
	owner, err := unix.IoctlRetInt(fd, unix.NS_GET_USERNS)
	if errors.Is(err, unix.EPERM) { // not ours, nor below ours
		return Namespaces{}, fmt.Errorf("tap: %s: %w", what, ErrForeignOwner)
	} else if err != nil {
		return Namespaces{}, fmt.Errorf("tap: %s: its user namespace: %w", what, err)
	}
	user := os.NewFile(uintptr(owner), "user namespace of "+what)
	uid, err := masterUID(owner)
	if err != nil {
		user.Close()
		return Namespaces{}, fmt.Errorf("tap: %s: its owner: %w", what, err)
	}
	if uid != os.Geteuid() {
		user.Close()
		return Namespaces{}, fmt.Errorf("tap: %s: %w (uid %d, not %d)", what, ErrForeignOwner, uid, os.Geteuid())
	}
	return Namespaces{User: user, Net: net}, nil
}

// masterUID is the uid, as seen from here, of whoever has all power over a user
// namespace: the creator of that one of its ancestors (or of itself) which is a child
// of ours. Whoever has power over a namespace has it over those below, whichever of
// his uids made them.
func masterUID(fd int) (int, error) {
	at, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer func() { unix.Close(at) }()
	for {
		ours, err := sameFile(at, "/proc/self/ns/user")
		if err != nil {
			return -1, err
		}
		if ours {
			return ownerUID(at)
		}
		parent, err := unix.IoctlRetInt(at, unix.NS_GET_PARENT)
		if err != nil {
			return -1, err
		}
		if ours, err = sameFile(parent, "/proc/self/ns/user"); err != nil || ours {
			unix.Close(parent)
			if err != nil {
				return -1, err
			}
			return ownerUID(at)
		}
		unix.Close(at)
		at = parent
	}
}

// ownerUID is the uid, as seen from here, of a user namespace's creator.
func ownerUID(fd int) (int, error) {
	var uid uint32
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.NS_GET_OWNER_UID, uintptr(unsafe.Pointer(&uid)))
	runtime.KeepAlive(&uid)
	if e != 0 {
		return -1, e
	}
	return int(uid), nil
}

// sameFile reports whether an open file and a path are one: for namespaces, that
// they are the same one.
func sameFile(fd int, path string) (bool, error) {
	var a, b unix.Stat_t
	if err := unix.Fstat(fd, &a); err != nil {
		return false, fmt.Errorf("compare with %s: %w", path, err)
	}
	if err := unix.Stat(path, &b); err != nil {
		return false, fmt.Errorf("compare with %s: %w", path, err)
	}
	return a.Dev == b.Dev && a.Ino == b.Ino, nil
}

// Close closes both handles.
func (ns Namespaces) Close() error {
	ns.ForgetSettings()
	var errs []error
	for _, f := range []*os.File{ns.User, ns.Net} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// userToEnter is the user namespace to enter on the way to ns.Net, or nil when
// the caller is in it already: setns(2) refuses that.
func (ns Namespaces) userToEnter() (*os.File, error) {
	if ns.Net == nil {
		return nil, errors.New("tap: Namespaces without a network namespace")
	}
	if ns.User == nil {
		return nil, nil
	}
	same, err := sameFile(int(ns.User.Fd()), "/proc/self/ns/user")
	if err != nil {
		return nil, fmt.Errorf("tap: user namespace: %w", err)
	}
	if same {
		return nil, nil
	}
	return ns.User, nil
}
