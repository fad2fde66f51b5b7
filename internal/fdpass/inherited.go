package fdpass

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// CloseInherited closes the descriptors above last that came along unasked. All that
// the Go runtime opened for itself is marked close-on-exec; what is not marked was
// therefore there before the program began.
func CloseInherited(last int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		// Without /proc at least nothing is handed on to others.
		_ = unix.CloseRange(uint(last)+1, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC)
		return
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= last {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}
