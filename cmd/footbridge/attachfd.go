package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// givenFD takes a descriptor that this program was started with. One whose other end
// can be closed is a pipe or a socket.
func givenFD(flag string, fd int, hasOtherEnd bool) (*os.File, error) {
	var st unix.Stat_t
	if fd < 0 {
		return nil, fmt.Errorf("%s %d: a descriptor is 0 or more", flag, fd)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	// What is close-on-exec was opened by this program itself.
	if err == nil && flags&unix.FD_CLOEXEC != 0 {
		err = unix.EBADF
	}
	if err == nil {
		err = unix.Fstat(fd, &st)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %d: no such descriptor was given to this command: %w", flag, fd, err)
	}
	if kind := st.Mode & unix.S_IFMT; hasOtherEnd && kind != unix.S_IFIFO && kind != unix.S_IFSOCK {
		return nil, fmt.Errorf("%s %d: it is neither a pipe nor a socket, and has no other end that could be closed", flag, fd)
	}
	if access, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); !hasOtherEnd && err == nil && access&unix.O_ACCMODE == unix.O_RDONLY {
		return nil, fmt.Errorf("%s %d: it can only be read from, and something is to be written to it", flag, fd)
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), flag), nil
}

// hangup returns a channel that is closed when the other end of a pipe or a socket is.
// What is written to it meanwhile is dropped.
func hangup(f *os.File) <-chan struct{} {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		defer runtime.KeepAlive(f) // or the collector closes it meanwhile
		fd := int(f.Fd())          // blocking from here on
		b := make([]byte, 512)
		for {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
			_, err := unix.Poll(p, -1)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case err != nil, p[0].Revents&(unix.POLLERR|unix.POLLNVAL|unix.POLLRDHUP) != 0:
				return
			}
			// At a hangup the rest is read first: then comes the end.
			n, err := unix.Read(fd, b)
			if n == 0 || err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
				return
			}
		}
	}()
	return closed
}
