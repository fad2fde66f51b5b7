package shim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// setup makes of pid 1's fresh namespaces what the container shall see. The order matters: /proc
// first, because all that follows goes through it; the files before the masks, because they lie under one.
func setup(req *setupRequest) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return refused("make the mounts private", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", quiet, ""); err != nil {
		return refused("mount /proc", err)
	}
	mountSys(req.Privileged)
	if err := bindFiles(req.Binds, req.Scratch); err != nil {
		return err
	}
	for _, path := range req.Mask {
		if err := mask(path); err != nil {
			return err
		}
	}
	if req.Hostname != "" {
		if err := unix.Sethostname([]byte(req.Hostname)); err != nil {
			return fmt.Errorf("set the host name to %q: %w", req.Hostname, err)
		}
	}
	if req.Domainname != "" {
		if err := unix.Setdomainname([]byte(req.Domainname)); err != nil {
			return fmt.Errorf("set the domain name to %q: %w", req.Domainname, err)
		}
	}
	if req.Loopback {
		if err := loopbackUp(); err != nil {
			return fmt.Errorf("bring up lo: %w", err)
		}
	}
	return nil
}

func refused(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrNamespaces, what, err)
}

// mountSys shows the container's own network devices in /sys and keeps the host's cgroup tree. It is best
// effort: only who owns the network namespace may mount sysfs, so with the host's network the host's stays.
func mountSys(writable bool) {
	const cgroup = "/sys/fs/cgroup"
	tree, treeErr := unix.OpenTree(unix.AT_FDCWD, cgroup, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if treeErr == nil {
		defer unix.Close(tree)
	}
	flags := uintptr(quiet)
	if !writable {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", flags, ""); err != nil {
		return
	}
	if treeErr == nil {
		_ = unix.MoveMount(tree, "", unix.AT_FDCWD, cgroup, unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
}

// bindFiles shows our files in place of the host's. A mount over a file is undone by the kernel as soon as
// somebody outside replaces that file by renaming another over it (mount_namespaces(7)), and that is how
// resolv.conf is written everywhere. So /etc is overlaid first with a layer that holds files of its own for the
// mounts to lie on; it also has those that the host lacks. Where that cannot be, or where something is mounted
// below /etc (as in an outer container, where nobody can rename such a file either), the mounts go over the
// host's files, following its symbolic links.
func bindFiles(binds []fileBind, scratch string) error {
	var targets, missing []string
	for _, b := range binds {
		targets = append(targets, b.Target)
		if _, err := os.Stat(b.Target); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, b.Target)
		} else if err != nil {
			return fmt.Errorf("show %s: %w", b.Target, err)
		}
	}
	if len(missing) > 0 || len(targets) > 0 && !mountsBelow("/etc") {
		if err := overlayEtc(targets, scratch); err != nil && len(missing) > 0 {
			return fmt.Errorf("the host has no %s to show the container's over, and %w; create an empty one on the host",
				strings.Join(missing, ", "), err)
		}
	}
	for _, b := range binds {
		if err := unix.Mount(b.Source, b.Target, "", unix.MS_BIND, ""); err != nil {
			return refused("show "+b.Source+" as "+b.Target, err)
		}
	}
	return nil
}

// mountsBelow reports whether something is mounted below a folder: an overlay would show what lies under it.
func mountsBelow(dir string) bool {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return true
	}
	return slices.ContainsFunc(parseMounts(string(table)), func(m mountEntry) bool {
		rest, ok := below(dir, m.point)
		return ok && rest != ""
	})
}

// overlayEtc puts a layer in memory over /etc, in which these files are there and empty.
func overlayEtc(files []string, scratch string) error {
	if strings.ContainsAny(scratch, ",:\\") {
		return fmt.Errorf("the path %s cannot be given to overlayfs", scratch)
	}
	if err := unix.Mount("tmpfs", scratch, "tmpfs", quiet, "mode=0755,size=1m"); err != nil {
		return refused("mount a tmpfs on "+scratch, err)
	}
	// The overlay keeps what it needs; the tmpfs itself need not stay in sight.
	defer func() { _ = unix.Unmount(scratch, unix.MNT_DETACH) }()
	upper, work := filepath.Join(scratch, "upper"), filepath.Join(scratch, "work")
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	for _, file := range files {
		if err := os.WriteFile(filepath.Join(upper, filepath.Base(file)), nil, 0o644); err != nil {
			return err
		}
	}
	options := "lowerdir=/etc,upperdir=" + upper + ",workdir=" + work
	err := unix.Mount("overlay", "/etc", "overlay", unix.MS_NOSUID|unix.MS_NODEV, options+",userxattr")
	if errors.Is(err, unix.EINVAL) { // before Linux 5.11 the option is not known
		err = unix.Mount("overlay", "/etc", "overlay", unix.MS_NOSUID|unix.MS_NODEV, options)
	}
	if err != nil {
		return refused("put an overlay over /etc", err)
	}
	return nil
}

// mask hides a path, and every other path at which the host shows the same files by a bind mount.
// What is not there cannot be hidden and is an error: it could appear later.
func mask(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("hide %s: %w", path, err)
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("hide %s: %w", path, err)
	}
	st, err := os.Stat(real)
	if err != nil {
		return fmt.Errorf("hide %s: %w", path, err)
	}
	for _, alias := range aliases(parseMounts(string(table)), real) {
		// An alias that we cannot reach, the container cannot reach either; one that something else is
		// mounted over shows something else.
		if a, err := os.Stat(alias); err == nil && os.SameFile(a, st) {
			if err := cover(alias, a.IsDir()); err != nil {
				return err
			}
		}
	}
	return cover(real, st.IsDir())
}

func cover(path string, dir bool) error {
	var err error
	if dir {
		err = unix.Mount("tmpfs", path, "tmpfs", quiet|unix.MS_RDONLY, "mode=0555,size=4k,nr_inodes=2")
	} else {
		err = unix.Mount(os.DevNull, path, "", unix.MS_BIND, "")
	}
	if err != nil {
		return refused("hide "+path, err)
	}
	return nil
}

// mountEntry is what masks need of a line of /proc/self/mountinfo, see proc_pid_mountinfo(5).
type mountEntry struct{ device, root, point string }

func parseMounts(table string) []mountEntry {
	// The kernel writes space, tab, newline and backslash in octal.
	plain := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var mounts []mountEntry
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		mounts = append(mounts, mountEntry{f[2], plain.Replace(f[3]), plain.Replace(f[4])})
	}
	return mounts
}

// aliases returns the other paths at which mounts may show the file that is at path.
func aliases(mounts []mountEntry, path string) []string {
	var at mountEntry
	for _, m := range mounts { // the longest mount point, and of equal ones the last mounted
		if _, ok := below(m.point, path); ok && len(m.point) >= len(at.point) {
			at = m
		}
	}
	rest, ok := below(at.point, path)
	if !ok {
		return nil
	}
	inside := filepath.Join(at.root, rest) // the path within the file system
	var found []string
	for _, m := range mounts {
		if m.device != at.device {
			continue
		}
		if rest, ok := below(m.root, inside); ok {
			if p := filepath.Join(m.point, rest); p != path && !slices.Contains(found, p) {
				found = append(found, p)
			}
		}
	}
	return found
}

// below returns path relative to dir, and whether it is dir or lies under it. Both are clean.
func below(dir, path string) (string, bool) {
	if dir == "/" {
		return path, strings.HasPrefix(path, "/")
	}
	if path == dir {
		return "", dir != ""
	}
	if strings.HasPrefix(path, dir+"/") {
		return path[len(dir):], true
	}
	return "", false
}

// finishSetup is what waits until the container's interfaces are there: sysctls, and then /proc/sys
// is made read-only. Kernel settings of a network namespace belong to its uid 0 without any capability;
// writable, they would let a container forward packets or accept router advertisements.
func finishSetup(req *setupRequest) error {
	if req == nil {
		return errors.New("launched before set up")
	}
	if req.Loopback {
		dockerSysctls()
	}
	for name, value := range req.Sysctls {
		path, err := sysctlPath(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(value), 0); err != nil {
			return fmt.Errorf("set sysctl %s to %q: %w; only those of the container's own network and IPC namespaces can be set", name, value, err)
		}
	}
	if req.Privileged {
		return nil
	}
	const sys = "/proc/sys"
	if err := unix.Mount(sys, sys, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return refused("bind "+sys, err)
	}
	if err := unix.Mount("", sys, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|quiet, ""); err != nil {
		return refused("make "+sys+" read-only", err)
	}
	return nil
}

// dockerSysctls sets what Docker sets in every network namespace it makes: low ports and ping for
// everybody inside. Best effort, as there.
func dockerSysctls() {
	_ = os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0)
	highest := int64(0)
	if maps, err := user.ParseIDMapFile("/proc/self/gid_map"); err == nil {
		for _, m := range maps {
			highest = max(highest, min(m.ID+m.Count-1, 1<<31-1))
		}
	}
	_ = os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 "+strconv.FormatInt(highest, 10)), 0)
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
		return err
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}
