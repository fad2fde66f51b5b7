package load

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now is the time since an arbitrary beginning, the same for all processes of the machine.
func Now() time.Duration {
	var t unix.Timespec
	// It fails for a clock that does not exist only.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return time.Duration(t.Nano())
}
