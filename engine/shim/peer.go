package shim

import (
	"errors"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// peerAllowed reports whether the other end of c may give orders: the user's own processes in the shim's
// user namespace, and root. A container's processes have the user's uid too, and a privileged one can take
// the mask off that hides the socket; what they have not is the namespace.
func peerAllowed(c *net.UnixConn) bool {
	sc, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Ucred
	var cerr error
	pidfd := -1
	err = sc.Control(func(fd uintptr) {
		if cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); cerr == nil {
			// Linux 6.5; before, a pid that became another's is not noticed.
			if p, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD); err == nil {
				pidfd = p
			} else if !errors.Is(err, unix.ENOPROTOOPT) {
				cerr = err
			}
		}
	})
	if pidfd >= 0 {
		defer unix.Close(pidfd)
	}
	if err != nil || cerr != nil {
		return false
	}
	if cred.Uid == 0 && os.Getuid() != 0 {
		return true
	}
	// No pid: a namespace above ours, where no container of ours can be.
	if int(cred.Uid) != os.Getuid() || cred.Pid != 0 && !inOurUserNamespace(int(cred.Pid)) {
		return false
	}
	// That it lives now says that the pid was its own when it was looked at.
	return pidfd < 0 || unix.PidfdSendSignal(pidfd, 0, nil, 0) == nil
}

// inOurUserNamespace compares the namespaces, or the uid maps of a process that made itself undumpable.
func inOurUserNamespace(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	theirs, err := os.Readlink(dir + "/ns/user")
	if err == nil {
		ours, err := os.Readlink("/proc/self/ns/user")
		return err == nil && ours == theirs
	}
	if !errors.Is(err, unix.EACCES) {
		return false
	}
	theirMap, err := os.ReadFile(dir + "/uid_map")
	if err != nil {
		return false
	}
	ourMap, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && string(ourMap) == string(theirMap)
}
