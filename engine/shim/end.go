package shim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// endInterval is how often End looks at ctx while it waits for the shim's death, which takes milliseconds.
const endInterval = 50 * time.Millisecond

// End ends the container without a word from its shim: for one that does not answer, so that nobody could
// stop its container any more. The shim is killed, and pid 1 ends with it. That there is no shim is no error.
func (t Trace) End(ctx context.Context) error {
	fd, err := t.find(ctx)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the shim in %s: %w", t.Dir, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill the shim in %s: %w", t.Dir, err)
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(endInterval.Milliseconds()))
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait for the end of the shim in %s: %w", t.Dir, err)
		case n > 0:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("wait for the end of the shim in %s: %w", t.Dir, ctx.Err())
		}
	}
}

// find returns a descriptor of the shim: of the process that listens on the socket, or else of the one that pid 1
// belongs to. ESRCH when there is neither.
func (t Trace) find(ctx context.Context) (int, error) {
	c, err := dial(ctx, t.Dir) // a connection needs nobody to accept it
	if errors.Is(err, ErrGone) {
		return t.shimPidfd()
	}
	if err != nil {
		if fd, perr := t.shimPidfd(); perr == nil {
			return fd, nil
		}
		return -1, err
	}
	defer c.Close()
	return listenerPidfd(c)
}

// listenerPidfd returns a descriptor of the process that listens at the other end of c, ESRCH when it has
// ended. Its pid could have become another's before it was opened: the connection, which ends with the
// listener, then tells.
func listenerPidfd(c *net.UnixConn) (int, error) {
	sc, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	pidfd := -1
	var cerr error
	err = sc.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); cerr != nil {
			return
		}
		if pidfd, cerr = unix.PidfdOpen(int(cred.Pid), 0); cerr != nil {
			return
		}
		p := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP is always told
		if _, cerr = unix.Poll(p, 0); cerr == nil && p[0].Revents != 0 {
			cerr = unix.ESRCH
		}
	})
	if err = errors.Join(err, cerr); err != nil && pidfd >= 0 {
		unix.Close(pidfd)
	}
	return pidfd, err
}
