package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine"
)

// maxSocketPath is the size of sun_path in struct sockaddr_un (unix(7)), less
// the zero at its end.
const maxSocketPath = 107

// longestSocket is the longest path of a socket below the runtime folder: the
// one of a container's shim.
const longestSocket = "/c/0123456789ab/s"

const socketFile = "footbridge.sock"

// dirs are the folders of one user at run time.
type dirs struct {
	runtime string // sockets, locks, the daemon's log: gone after a restart of the machine
	state   string // definitions and containers' logs: stay
}

func (d dirs) socket() string    { return filepath.Join(d.runtime, socketFile) }
func (d dirs) lock() string      { return filepath.Join(d.runtime, engine.LockFile) }
func (d dirs) startLock() string { return filepath.Join(d.runtime, "start.lock") }
func (d dirs) log() string       { return filepath.Join(d.runtime, "daemon.log") }

// findDirs says where the folders are, from the environment. It touches nothing.
func findDirs(getenv func(string) string, uid int) (dirs, error) {
	var d dirs
	// A relative path is as good as none, says the XDG base directory specification.
	if base := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(base) {
		d.runtime = filepath.Join(base, "footbridge")
	} else {
		d.runtime = "/tmp/footbridge-" + strconv.Itoa(uid)
	}
	if n := len(d.runtime + longestSocket); n > maxSocketPath {
		return dirs{}, api.Errorf(api.ErrUnsafeDir, "runtime folder %s: its path is %d bytes too long for the unix sockets in it: "+
			"set XDG_RUNTIME_DIR to a shorter path", d.runtime, n-maxSocketPath)
	}

	if base := getenv("XDG_STATE_HOME"); filepath.IsAbs(base) {
		d.state = filepath.Join(base, "footbridge")
		return d, nil
	}
	home := getenv("HOME")
	if !filepath.IsAbs(home) {
		u, err := user.LookupId(strconv.Itoa(uid))
		if err != nil || !filepath.IsAbs(u.HomeDir) {
			return dirs{}, api.Errorf(api.ErrUnsafeDir, "state folder: there is no home folder for uid %d: set HOME or XDG_STATE_HOME", uid)
		}
		home = u.HomeDir
	}
	d.state = filepath.Join(home, ".local", "state", "footbridge")
	return d, nil
}

// prepare makes the folders where they are missing and checks that nobody else
// can have a hand in them. Errors match api.ErrUnsafeDir.
func (d dirs) prepare() error {
	_, err := os.Lstat(d.runtime)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err := prepareDir("runtime", d.runtime, "XDG_RUNTIME_DIR"); err != nil {
		return err
	}
	err = prepareDir("state", d.state, "XDG_STATE_HOME")
	if err != nil && fresh {
		_ = os.Remove(d.runtime) // it stays if somebody uses it already
	}
	return err
}

// prepareDir makes path, 0700, or checks the one that is there. variable is the
// environment variable that leads to another place.
func prepareDir(what, path, variable string) error {
	fail := func(reason, remedy string) error {
		return api.Errorf(api.ErrUnsafeDir, "%s folder %s %s: %s", what, path, reason, remedy)
	}
	elsewhere := "set " + variable + " to a folder of your own"

	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fail(fmt.Sprintf("cannot be made (%v)", err), elsewhere)
	}
	// Mkdir, not MkdirAll: it does not follow a symbolic link at the last place.
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fail(fmt.Sprintf("cannot be made (%v)", err), elsewhere)
	}
	parent, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return fail(fmt.Sprintf("cannot be looked at (%v)", err), elsewhere)
	}
	if m := parent.Mode(); m.Perm()&0o002 != 0 && m&fs.ModeSticky == 0 {
		return fail("may be renamed by anybody, because "+filepath.Dir(path)+" is writable to all without the sticky bit",
			"run chmod o-w "+filepath.Dir(path)+", or "+elsewhere)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fail(fmt.Sprintf("cannot be looked at (%v)", err), elsewhere)
	}
	return checkDir(what, path, variable, info)
}

// checkDir says what is wrong with a folder that is there.
func checkDir(what, path, variable string, info fs.FileInfo) error {
	fail := func(reason, remedy string) error {
		return api.Errorf(api.ErrUnsafeDir, "%s folder %s %s: %s", what, path, reason, remedy)
	}
	remedy := fmt.Sprintf("remove it, or set %s to a folder of your own", variable)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fail("is a symbolic link, which somebody else could turn", remedy)
	case !info.IsDir():
		return fail("is not a folder", remedy)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fail("has no owner that could be checked", remedy)
	}
	if uid := os.Geteuid(); int(stat.Uid) != uid {
		return fail(fmt.Sprintf("belongs to uid %d and not to you (uid %d)", stat.Uid, uid), remedy)
	}
	if perm := info.Mode().Perm(); perm != 0o700 {
		return fail(fmt.Sprintf("has mode %04o, so that others may enter or you may not", perm), "run chmod 700 "+path)
	}
	return nil
}
