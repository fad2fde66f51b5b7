package nowait

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Splice moves up to n bytes from a socket into a pipe, or from a pipe to a socket;
// interrupted, it begins again. What moves are references to pages, so n may be more than Large.
func Splice(from, to uintptr, n int) (int, syscall.Errno) {
	for {
		m, _, e := unix.RawSyscall6(unix.SYS_SPLICE, from, 0, to, 0, uintptr(n), unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		if e != unix.EINTR {
			return count(m, e)
		}
	}
}
