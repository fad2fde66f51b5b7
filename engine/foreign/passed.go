package foreign

import (
	"bufio"
	"fmt"
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
//	/proc/PID/root/PATH      one that has it mounted, and sees the path lead to it

// Owner is what the kernel knows a user namespace by.
type Owner struct{ Dev, Ino uint64 }

// takePassed fills in the place of a namespace that was passed. Whose path is seen from
// here as well is as good as named by it.
func (p *Place) takePassed(net *os.File, from Owner) (tap.Namespaces, error) {
	dup, err := unix.FcntlInt(net.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return tap.Namespaces{}, err
	}
	ns, err := plain(tap.AddOwner(os.NewFile(uintptr(dup), net.Name())))
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
	ours := false // so is a path that cannot be looked at: the namespace itself is at hand
	if p.Net != "" {
		ours, _ = p.leads(p.Net)
	}
	p.Passed = !ours
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

// is reports whether the file at a path in /proc is the place's namespace now.
func (p Place) is(path string) bool {
	dev, ino, err := Inode(path)
	return err == nil && dev == p.Dev && ino == p.Ino
}

// leads is is for any path. The error is ErrSilent: it cannot be told.
func (p Place) leads(path string) (bool, error) {
	led, err := ask(paths, p.about(path), func() (bool, error) { return p.is(path), nil }, func(bool) {})
	return led, err
}

// about is what questions about a path are about: the path; of a namespace that was passed the namespace, which any number
// of others may show at paths of theirs.
func (p Place) about(path string) string {
	if p.Passed {
		return fmt.Sprintf("the network namespace %s, at %s", p.inode(), p.Net)
	}
	return path
}

// inode is how the kernel writes the namespace in links and tables.
func (p Place) inode() string { return "net:[" + strconv.FormatUint(p.Ino, 10) + "]" }

// Reach returns a path by which the namespace is reached now. Of a namespace that was passed
// it may mean another process's a moment later, so whoever opens it looks at what he has.
//
// Errors: ErrGone, ErrSilent.
func (p Place) Reach() (string, error) {
	switch {
	case p.Net == "" && !p.Passed:
		return "/proc/" + strconv.Itoa(p.Process.PID) + "/ns/net", nil
	case !p.Passed:
		return p.Net, nil
	}
	var hidden error
	if p.Net != "" {
		led, err := p.leads(p.Net)
		if led {
			return p.Net, nil
		}
		hidden = err
	}
	dirs, err := processes()
	if err != nil {
		return "", err
	}
	for _, dir := range dirs {
		if path := dir + "/ns/net"; p.is(path) {
			return path, nil
		}
	}
	if p.Net != "" && hidden == nil {
		path, err := p.seenBy(dirs)
		if path != "" || err != nil {
			return path, err
		}
	}
	if hidden != nil {
		return "", hidden
	}
	return "", as(ErrGone, "the network namespace that was passed is gone: no process of yours is in it, and none finds it at %s", p.Net)
}

// seenBy returns the namespace's path as one of the processes sees it. The files of those who do not have it mounted
// are not touched: what is there is theirs, and may never answer.
func (p Place) seenBy(dirs []string) (string, error) {
	var seen []string // mount namespaces
	for _, dir := range dirs {
		mounts, err := os.Readlink(dir + "/ns/mnt")
		if err != nil || slices.Contains(seen, mounts) {
			continue
		}
		seen = append(seen, mounts)
		if !mounted(dir+"/mountinfo", p.inode()) {
			continue
		}
		path := dir + "/root" + p.Net
		led, err := p.leads(path)
		if err != nil {
			return "", err
		}
		if led {
			return path, nil
		}
	}
	return "", nil
}

// mounted reports whether a table of mounts has a namespace in it. What is mounted is not asked for that.
func mounted(table, inode string) bool {
	f, err := os.Open(table)
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		// The fourth is what of the file system is mounted, see proc_pid_mountinfo(5); of all others it is a path.
		if fields := strings.Fields(s.Text()); len(fields) > 3 && fields[3] == inode {
			return true
		}
	}
	return false
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
