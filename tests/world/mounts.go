package world

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Folders of the user inside a world.
const (
	Home       = "/tmp/home"            // $HOME
	RuntimeDir = "/run/user/1000"       // $XDG_RUNTIME_DIR
	StateHome  = Home + "/.local/state" // $XDG_STATE_HOME
	etcAside   = "/run/etc"             // the machine's own /etc
	systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// files of /etc that a world has for itself.
var etcFiles = map[string]string{
	"resolv.conf":   "nameserver 198.51.100.53\nsearch example.test\n",
	"hosts":         "127.0.0.1 localhost\n::1 localhost ip6-localhost\n192.0.2.1 host.example.test\n",
	"hostname":      "host\n",
	"passwd":        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:" + Home + ":/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
	"group":         "root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n",
	"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
	"subuid":        "",
	"subgid":        "",
}

// makeMounts gives the world its own /proc, /tmp, /run and /etc. share lists folders that are kept at their path.
func makeMounts(share []string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc of the new pid namespace: %w (a container with a masked /proc forbids this)", err)
	}
	kept := make(map[string]int)
	for _, dir := range append([]string{"/etc"}, share...) {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening %s: %w", dir, err)
		}
		defer unix.Close(fd)
		kept[dir] = fd
	}
	for dir, mode := range map[string]string{"/tmp": "1777", "/run": "755"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode="+mode); err != nil {
			return fmt.Errorf("mounting a private %s: %w", dir, err)
		}
	}
	for _, dir := range slices.Sorted(slices.Values(share)) { // a folder before those in it, which are there then
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		if err := bindFD(kept[dir], dir); err != nil {
			return err
		}
	}
	if err := bindFD(kept["/etc"], etcAside); err != nil {
		return err
	}
	if err := makeEtc(); err != nil {
		return err
	}
	for _, dir := range []string{Home, RuntimeDir, StateHome} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the user's folders: %w", err)
		}
	}
	if err := unix.Sethostname([]byte("host")); err != nil {
		return fmt.Errorf("naming the host: %w", err)
	}
	return nil
}

// bindFD mounts an open folder at a path, with whatever is mounted below it.
func bindFD(fd int, path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("keeping %s: %w", path, err)
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", fd), path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("keeping %s: %w", path, err)
	}
	return nil
}

// makeEtc lays a folder over /etc in which every file is a symbolic link to the machine's own, but for those that
// the world has for itself. They are ordinary files there, so a test can write them, replace them, or link them.
func makeEtc() error {
	if err := unix.Mount("tmpfs", "/etc", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mounting a private /etc: %w", err)
	}
	entries, err := os.ReadDir(etcAside)
	if err != nil {
		return fmt.Errorf("reading the machine's /etc: %w", err)
	}
	for _, e := range entries {
		if _, own := etcFiles[e.Name()]; own {
			continue
		}
		if err := os.Symlink(filepath.Join(etcAside, e.Name()), filepath.Join("/etc", e.Name())); err != nil {
			return fmt.Errorf("filling /etc: %w", err)
		}
	}
	for name, text := range etcFiles {
		if err := os.WriteFile(filepath.Join("/etc", name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("filling /etc: %w", err)
		}
	}
	return nil
}

// writeSysctl sets one value of this process's network namespace. A value that the kernel doesn't know is left.
func writeSysctl(name, value string) error {
	path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	err := os.WriteFile(path, []byte(value), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("setting %s=%q: %w", name, value, err)
	}
	return nil
}
