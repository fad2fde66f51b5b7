package tap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

// Whoever attaches to a namespace for somebody else must not be led to another one, nor to
// open what he would not. Here are the ways to try.

// Opening what is no namespace has no effect: a pipe is not waited for and has had no
// reader, and nobody has connected to a socket.
func TestWhatIsNoNamespaceIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	// A writer that does not wait notices every reader there ever was by the other error.
	writer := func() error {
		fd, err := unix.Open(pipe, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(pipe, link); err != nil {
		t.Fatal(err)
	}
	before := openFDs(t)
	for _, path := range []string{pipe, link, file, dir, "/dev/null", "/dev/tty", "/dev/ptmx", "/proc/self/status", "/proc/self/ns/uts", "/proc/self/ns/user"} {
		if _, err := OpenNamespacePath(path); !errors.Is(err, ErrNotNamespace) {
			t.Errorf("%s: %v, want ErrNotNamespace", path, err)
		}
		if err := writer(); !errors.Is(err, unix.ENXIO) {
			t.Fatalf("%s: the pipe has a reader (%v)", path, err)
		}
	}
	if _, err := OpenNamespacePath(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if after := openFDs(t); after > before {
		t.Errorf("%d descriptors more than before", after-before)
	}
}

// A path that leads elsewhere after it was opened leads nobody there.
func TestAPathIsFollowedOnce(t *testing.T) {
	first, _ := newWorld(t, 0)
	second, _ := newWorld(t, 0)
	path := filepath.Join(t.TempDir(), "netns")
	point := func(to string) {
		t.Helper()
		if err := errors.Join(os.Symlink(to, path+".new"), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	nsOf := func(pid int) string { return fmt.Sprintf("/proc/%d/ns/net", pid) }
	point(nsOf(first.Pid))
	ns, err := OpenNamespacePath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	point(nsOf(second.Pid))
	mustAttach(t, ns, testLink())
	if links := first.Run("ip", "-o", "link"); !strings.Contains(links, "eth0") {
		t.Errorf("not in the namespace that was opened: %s", links)
	}
	if links := second.Run("ip", "-o", "link"); strings.Contains(links, "eth0") {
		t.Errorf("in the one that the path leads to now: %s", links)
	}

	// While it is turned all the time it leads to one or the other, wholly, or is refused.
	stop := make(chan struct{})
	turned := make(chan error, 1)
	go func() {
		defer close(turned)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			to := []string{nsOf(first.Pid), nsOf(second.Pid), "/dev/null", "/proc/self/ns/net"}[i%4]
			if err := errors.Join(os.Symlink(to, path+".new"), os.Rename(path+".new", path)); err != nil {
				turned <- err
				return
			}
		}
	}()
	opened := 0
	for range 2000 {
		ns, err := OpenNamespacePath(path)
		if err != nil {
			if !errors.Is(err, ErrNotNamespace) && !errors.Is(err, ErrForeignOwner) && !errors.Is(err, ErrHostNamespace) {
				t.Fatal(err)
			}
			continue
		}
		opened++
		pid := 0
		for _, w := range []int{first.Pid, second.Pid} {
			if same, err := sameFile(int(ns.Net.Fd()), nsOf(w)); err == nil && same {
				pid = w
			}
		}
		if same, err := sameFile(int(ns.User.Fd()), fmt.Sprintf("/proc/%d/ns/user", pid)); pid == 0 || err != nil || !same {
			t.Fatalf("a network of process %d with another's user namespace (%v)", pid, err)
		}
		ns.Close()
	}
	close(stop)
	if err := <-turned; err != nil {
		t.Fatal(err)
	}
	if opened == 0 {
		t.Error("it never led to a namespace")
	}
}

// A namespace that only a mount keeps goes on being the one that was opened after the
// mount and its file are gone.
func TestAMountedNamespaceOutlivesItsFile(t *testing.T) {
	dir := t.TempDir()
	other := nstest.Start(t, "", "unshare", "--user", "--map-root-user", "--mount", "--net", "sh", "-c", `
		set -e
		mount -t tmpfs tmpfs "$0"
		touch "$0/kept"
		unshare --net sh -c 'mount --bind /proc/self/ns/net "$0/kept"' "$0"
		echo mounted; read x
		umount -l "$0/kept"; rm "$0/kept"
		echo gone; read x`, dir)
	other.Says("mounted")
	path := fmt.Sprintf("/proc/%d/root%s/kept", other.PID, dir)
	ns, err := OpenNamespacePath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	other.GoOn()
	other.Says("gone")
	mustAttach(t, ns, testLink())
	if _, err := OpenNamespacePath(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the path: %v", err)
	}
}

// A process may have moved into a user namespace that has no power over its network: what
// counts is who owns the network.
func TestTheOwnerOfANetworkCounts(t *testing.T) {
	w, _ := newWorld(t, 0)
	other := nstest.Start(t, "", "nsenter", "--preserve-credentials", "-U", "-n", "-t", fmt.Sprint(w.Pid),
		"unshare", "--user", "--map-root-user", "sh", "-c", "echo inside; read x")
	other.Says("inside")
	pid := other.PID
	var st syscall.Stat_t
	if err := syscall.Stat(fmt.Sprintf("/proc/%d/ns/user", pid), &st); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() (Namespaces, error){
		"by pid":  func() (Namespaces, error) { return OpenNamespaces(pid) },
		"by path": func() (Namespaces, error) { return OpenNamespacePath(fmt.Sprintf("/proc/%d/ns/net", pid)) },
	} {
		ns, err := open()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if same, err := sameFile(int(ns.User.Fd()), fmt.Sprintf("/proc/%d/ns/user", w.Pid)); err != nil || !same {
			t.Errorf("%s: the user namespace is not the network's owner (%v)", name, err)
		}
		if same, err := sameFile(int(ns.User.Fd()), fmt.Sprintf("/proc/%d/ns/user", pid)); err != nil || same {
			t.Errorf("%s: it is the process's own (%v)", name, err)
		}
		ns.Close()
	}
}
