package nowait

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Large is the number of bytes from which a call goes by the scheduler's usual way:
// copying them takes as long as the 20 us in which another thread may take over the
// processor, and do something useful.
const Large = 128 << 10

// Readv reads into the pieces of iov; interrupted, it begins again.
func Readv(fd uintptr, iov []unix.Iovec) (int, syscall.Errno) {
	for {
		n, _, e := unix.RawSyscall(unix.SYS_READV, fd, uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(len(iov)))
		if e != unix.EINTR {
			return count(n, e)
		}
	}
}

// Writev writes the pieces of iov, which are size bytes together; interrupted, it
// begins again.
func Writev(fd uintptr, iov []unix.Iovec, size int) (int, syscall.Errno) {
	for {
		var n uintptr
		var e syscall.Errno
		if size < Large {
			n, _, e = unix.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(len(iov)))
		} else {
			n, _, e = unix.Syscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(len(iov)))
		}
		if e != unix.EINTR {
			return count(n, e)
		}
	}
}

// Read reads into b; interrupted, it begins again.
func Read(fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, _, e := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if e != unix.EINTR {
			return count(n, e)
		}
	}
}

// Recv receives into b; interrupted, it begins again.
func Recv(fd uintptr, b []byte, flags int) (int, syscall.Errno) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
		if e != unix.EINTR {
			return count(n, e)
		}
	}
}

// Pending says how many bytes a socket holds to be read (SIOCINQ of linux/sockios.h).
func Pending(fd uintptr) (int, syscall.Errno) {
	var n int32
	_, _, e := unix.RawSyscall(unix.SYS_IOCTL, fd, unix.TIOCINQ, uintptr(unsafe.Pointer(&n)))
	return int(n), e
}

// SetOption sets an option of a socket to a number.
func SetOption(fd uintptr, level, name, value int) syscall.Errno {
	v := int32(value)
	_, _, e := unix.RawSyscall6(unix.SYS_SETSOCKOPT, fd, uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&v)), 4, 0)
	return e
}

// SetText sets an option of a socket to a text.
func SetText(fd uintptr, level, name int, value string) syscall.Errno {
	_, _, e := unix.RawSyscall6(unix.SYS_SETSOCKOPT, fd, uintptr(level), uintptr(name), uintptr(unsafe.Pointer(unsafe.StringData(value))), uintptr(len(value)), 0)
	return e
}

// Option gives an option of a socket that is a number.
func Option(fd uintptr, level, name int) (int, syscall.Errno) {
	var v, size int32 = 0, 4
	_, _, e := unix.RawSyscall6(unix.SYS_GETSOCKOPT, fd, uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&v)), uintptr(unsafe.Pointer(&size)), 0)
	return int(v), e
}

// ResetOnClose makes the last close of a TCP socket a reset (SO_LINGER of 0): it throws away what the other side has
// not acknowledged, and says so. It is also the close of a process that is killed, which is an end of data else:
// half of it would look like all. Sockets that are accepted have what their listener has.
func ResetOnClose(fd uintptr, yes bool) syscall.Errno {
	var l unix.Linger
	if yes {
		l.Onoff = 1
	}
	_, _, e := unix.RawSyscall6(unix.SYS_SETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&l)), unsafe.Sizeof(l), 0)
	return e
}

// Shutdown ends a direction of a connection, as shutdown(2).
func Shutdown(fd uintptr, how int) syscall.Errno {
	_, _, e := unix.RawSyscall(unix.SYS_SHUTDOWN, fd, uintptr(how), 0)
	return e
}

// Events gives those events of poll(2) that are always told, errors and the end of both
// directions, and those of which that are wanted.
func Events(fd uintptr, wanted int16) (int16, syscall.Errno) {
	p := unix.PollFd{Fd: int32(fd), Events: wanted}
	var now unix.Timespec
	for {
		_, _, e := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		if e != unix.EINTR {
			return p.Revents, e
		}
	}
}

// Close closes a descriptor that nobody waits for.
func Close(fd uintptr) { unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0) }

func count(n uintptr, e syscall.Errno) (int, syscall.Errno) {
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}
