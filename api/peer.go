package api

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Who may speak to the daemon.
//
// The socket lies in a directory that only its user can enter, and still two
// kinds of stranger could hold its other end: another user to whom the
// connection was passed, and a process inside one of the daemon's own
// containers. The second has the daemon's uid in the kernel's eyes, because a
// container is the user's own user namespace, and it may see the socket, because
// it sees the host's files; what it has not is the daemon's user namespace.
//
// The pid of SO_PEERCRED names who called connect(2). It may have died since and
// its number may be another's now, so the question is asked while a pidfd
// (SO_PEERPIDFD, Linux 6.5) proves that it lives. A peer of which nothing can be
// learned is refused, except one whose pid we have no number for (0): it lives
// in a pid namespace above ours, where no container of ours can be.

// errOtherUserNS: the peer has our uid, and is in a user namespace that is not ours.
// It may be a runtime all the same, see runtimepeer.go.
var errOtherUserNS = errors.New("another user namespace")

// peerCred returns the credentials that the other end had when it connected or
// listened.
func peerCred(conn *net.UnixConn) (*unix.Ucred, error) {
	var cred *unix.Ucred
	err := control(conn, func(fd int) (err error) {
		cred, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask who is behind the socket (SO_PEERCRED): %w", err)
	}
	return cred, nil
}

// checkPeer returns nil when the other end may use the API of uid's daemon, else
// an errdefs.ErrPermissionDenied that says why not.
func checkPeer(conn *net.UnixConn, uid int) error {
	cred, err := peerCred(conn)
	if err != nil {
		return Errorf(errdefs.ErrPermissionDenied, "%w", err)
	}
	if int(cred.Uid) != uid {
		return Errorf(errdefs.ErrPermissionDenied, "this footbridge daemon serves uid %d, and you are uid %d: every user has a daemon of his own", uid, cred.Uid)
	}
	if cred.Pid == 0 {
		return nil
	}
	pidfd, err := peerPidfd(conn)
	if err != nil {
		return Errorf(errdefs.ErrPermissionDenied, "process %d cannot be looked at: %w", cred.Pid, err)
	}
	if pidfd >= 0 {
		defer unix.Close(pidfd)
	}
	same, err := sameUserNamespace(int(cred.Pid))
	if err != nil {
		return Errorf(errdefs.ErrPermissionDenied, "process %d cannot be looked at: %w", cred.Pid, err)
	}
	if !same {
		return Errorf(errOtherUserNS, "%w",
			Errorf(errdefs.ErrPermissionDenied, "process %d lives in another user namespace than the footbridge daemon; containers may not control it: run the command on the host", cred.Pid))
	}
	if pidfd >= 0 {
		if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil {
			return Errorf(errdefs.ErrPermissionDenied, "process %d, which connected, has ended: %w", cred.Pid, err)
		}
	}
	return nil
}

// peerPidfd returns a pidfd of the other end, or -1 where the kernel is older
// than 6.5.
func peerPidfd(conn *net.UnixConn) (int, error) {
	fd := -1
	err := control(conn, func(s int) (err error) {
		fd, err = unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
		return err
	})
	if errors.Is(err, unix.ENOPROTOOPT) {
		return -1, nil
	}
	if err != nil {
		return -1, fmt.Errorf("SO_PEERPIDFD: %w", err)
	}
	return fd, nil
}

// sameUserNamespace reports whether a process lives in our user namespace.
//
// The namespace's link can be read of processes that we could trace. That is
// not so of one that made itself undumpable; its uid map can be read even then,
// and in a container it differs from ours.
func sameUserNamespace(pid int) (bool, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	ours, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return false, err
	}
	theirs, err := os.Readlink(dir + "/ns/user")
	if err == nil {
		return ours == theirs, nil
	}
	if !errors.Is(err, unix.EACCES) {
		return false, err
	}
	ourMap, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return false, err
	}
	theirMap, err := os.ReadFile(dir + "/uid_map")
	if err != nil {
		return false, err
	}
	return string(ourMap) == string(theirMap), nil
}

// control calls f with the connection's descriptor, which stays open meanwhile.
func control(conn *net.UnixConn, f func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}
