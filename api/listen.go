package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what sockaddr_un holds beside its final zero (unix(7)).
const maxSocketPath = 107

// staleProbeTimeout bounds how long a socket that lies about is asked whether
// somebody serves it. A unix connect answers at once unless a backlog is full,
// which means that somebody does.
const staleProbeTimeout = 2 * time.Second

// Listen makes the daemon's socket: mode 0600 in a directory that passes
// CheckDir, which is made when it is missing (its parent is not). A socket on
// which nobody answers is removed first. Closing the listener removes the
// socket.
//
// Two daemons that start at once are to be kept apart by a lock of their own;
// Listen's look at an old socket is no lock.
func Listen(path string) (*net.UnixListener, error) {
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the socket's directory: %w", err)
	}
	if err := CheckDir(dir); err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	// The directory keeps others out until this is done.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// CheckDir returns ErrUnsafeDir unless dir is a directory, not a symbolic link,
// that belongs to this user, that nobody else may enter, and that nobody else can
// put another in the place of. A directory that is missing is fs.ErrNotExist.
func CheckDir(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: dir, Err: err}
	}
	uid := uint32(os.Geteuid())
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return Errorf(ErrUnsafeDir, "%s is a symbolic link: remove it, or set XDG_RUNTIME_DIR to a directory of your own", dir)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return Errorf(ErrUnsafeDir, "%s is not a directory: remove it, or set XDG_RUNTIME_DIR to a directory of your own", dir)
	case st.Uid != uid:
		return Errorf(ErrUnsafeDir, "%s belongs to uid %d, not to you (uid %d): set XDG_RUNTIME_DIR to a directory of your own", dir, st.Uid, uid)
	case st.Mode&0o077 != 0:
		return Errorf(ErrUnsafeDir, "%s has mode %04o, others may enter it: run `chmod 700 %s`", dir, st.Mode&0o7777, dir)
	}
	parent := filepath.Dir(dir)
	if err := unix.Stat(parent, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: parent, Err: err}
	}
	if st.Mode&unix.S_IWOTH != 0 && st.Mode&unix.S_ISVTX == 0 {
		return Errorf(ErrUnsafeDir, "anybody may rename %s, because %s is writable to all without the sticky bit: run `chmod +t %s`, or set XDG_RUNTIME_DIR to a directory of your own", dir, parent, parent)
	}
	return nil
}

func checkSocketPath(path string) error {
	switch {
	case path == "" || path[0] == '@' || path[0] == 0:
		return Errorf(ErrSocketPath, "%q is not a path of a socket: abstract sockets have no permissions and are never used", path)
	case len(path) > maxSocketPath:
		return Errorf(ErrSocketPath, "the socket's path is %d bytes long, and a unix socket's may be %d: set XDG_RUNTIME_DIR to a shorter path (%s)", len(path), maxSocketPath, path)
	}
	return nil
}

// removeStale removes a socket that nobody serves. What is not a socket stays.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != fs.ModeSocket {
		return Errorf(ErrSocketPath, "%s exists and is not a socket: remove it", path)
	}
	conn, err := net.DialTimeout("unix", path, staleProbeTimeout)
	if err == nil {
		conn.Close()
		return Errorf(ErrSocketInUse, "another daemon answers on %s: stop it with `footbridge daemon stop`", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return Errorf(ErrSocketInUse, "%s exists, and it cannot be told whether a daemon serves it: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the socket of a daemon that is gone: %w", err)
	}
	return nil
}
