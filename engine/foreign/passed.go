package foreign

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/tap"
)

// A namespace that was passed by whoever has it open.
//
// Runtimes in a mount namespace of their own keep network namespaces at paths that are
// not seen from here. They pass a descriptor, and say the path; by one of these it is
// found again, for the next daemon and to tell when it is over:
//
//	/proc/PID/ns/net         a process of the user's that lives in it
//	/proc/PID/root/PATH      one that sees the path lead to it

// Owner is what the kernel knows a user namespace by.
type Owner struct{ Dev, Ino uint64 }

// takePassed fills in the place of a namespace that was passed. Whose path is seen from
// here as well is as good as named by it.
func (p *Place) takePassed(net *os.File, from Owner) (tap.Namespaces, error) {
	dup, err := unix.FcntlInt(net.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return tap.Namespaces{}, err
	}
	ns, err := tap.AddOwner(os.NewFile(uintptr(dup), net.Name()))
	if err != nil {
		return ns, err
	}
	if err := madeBelow(ns.User, from); err != nil {
		_ = ns.Close()
		return tap.Namespaces{}, err
	}
	dev, ino, err := identity(ns)
	if err != nil {
		_ = ns.Close()
		return tap.Namespaces{}, err
	}
	p.Dev, p.Ino = dev, ino
	p.Passed = p.Net == "" || !p.leads(p.Net)
	return ns, nil
}

// madeBelow refuses a user namespace that is neither from nor below it; the zero value is
// above all.
func madeBelow(user *os.File, from Owner) error {
	at, err := unix.FcntlInt(user.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { unix.Close(at) }()
	for from != (Owner{}) {
		var st unix.Stat_t
		if err := unix.Fstat(at, &st); err != nil {
			return err
		}
		if uint64(st.Dev) == from.Dev && st.Ino == from.Ino { //nolint:unconvert // other widths elsewhere
			return nil
		}
		parent, err := unix.IoctlRetInt(at, unix.NS_GET_PARENT)
		if err != nil { // EPERM: it is ours, or above
			return as(ErrRefused, "the network namespace that was passed does not belong to the user namespace of the process that passed it, nor to one below: pass one that was made there")
		}
		unix.Close(at)
		at = parent
	}
	return nil
}

// OwnerOf identifies the user namespace of ns.
func OwnerOf(ns tap.Namespaces) (Owner, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(ns.User.Fd()), &st); err != nil {
		return Owner{}, err
	}
	return Owner{uint64(st.Dev), st.Ino}, nil //nolint:unconvert // other widths elsewhere
}

// leads reports whether a path leads to the place's namespace now.
func (p Place) leads(path string) bool {
	dev, ino, err := Inode(path)
	return err == nil && dev == p.Dev && ino == p.Ino
}

// Reach returns a path by which the namespace is reached now. Of a namespace that was passed
// it may mean another process's a moment later, so whoever opens it looks at what he has.
//
// Errors: ErrGone.
func (p Place) Reach() (string, error) {
	switch {
	case p.Net == "" && !p.Passed:
		return "/proc/" + strconv.Itoa(p.Process.PID) + "/ns/net", nil
	case !p.Passed, p.Net != "" && p.leads(p.Net):
		return p.Net, nil
	}
	dirs, err := processes()
	if err != nil {
		return "", err
	}
	for _, dir := range dirs {
		if path := dir + "/ns/net"; p.leads(path) {
			return path, nil
		}
	}
	var seen []string // mount namespaces
	for _, dir := range dirs {
		mounts, err := os.Readlink(dir + "/ns/mnt")
		if p.Net == "" || err != nil || slices.Contains(seen, mounts) {
			continue
		}
		seen = append(seen, mounts)
		if path := dir + "/root" + p.Net; p.leads(path) {
			return path, nil
		}
	}
	return "", as(ErrGone, "the network namespace that was passed is gone: no process of yours is in it, and none finds it at %s", p.Net)
}

// processes returns the folders in /proc of all processes but this one. Those of other
// users are no obstacle: nothing of them can be opened.
func processes() ([]string, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid != os.Getpid() {
			out = append(out, filepath.Join("/proc", name))
		}
	}
	return out, nil
}

// watchPassed watches the process by which the namespace is reached, and the mounts that it
// sees.
func (p Place) watchPassed() *watch {
	w := &watch{changed: make(chan struct{}, 1)}
	path, err := p.Reach()
	if err != nil {
		w.lookEvery(interval)
		return w
	}
	rest, ok := strings.CutPrefix(path, "/proc/")
	if !ok || path == p.Net {
		return watchPath(path)
	}
	pid, place, _ := strings.Cut(rest, "/")
	err = w.process(pid, []string{"ns", "net"})
	if err == nil && place != "ns/net" { // a mount, which the runtime removes
		err = w.mounts("/proc/" + pid + "/mountinfo")
	}
	if err != nil {
		w.lookEvery(interval)
	}
	return w
}
