package shim

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Trace is what is remembered of a container's processes: enough to tell without their word whether they live. A socket
// that is gone says little by itself: somebody may have cleaned up the folder that it was in.
type Trace struct {
	Dir string // the runtime directory
	ID  string // Spec.ID
	PID int    // State.PID when it was last told; 0 if it never was
}

// Lives reports whether the container's pid 1 still runs below its shim.
func (t Trace) Lives() bool {
	fd, err := t.shimPidfd()
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// shimPidfd returns a descriptor of the shim, found as the parent of pid 1 and known by its arguments. ESRCH when there
// is none.
func (t Trace) shimPidfd() (int, error) {
	parent, err := parentPID(t.PID)
	if err != nil || parent <= 1 {
		return -1, unix.ESRCH
	}
	fd, err := unix.PidfdOpen(parent, 0)
	if err != nil {
		return -1, err
	}
	// After the opening, so that the number meant this process when it was asked what it is.
	args, err := os.ReadFile("/proc/" + strconv.Itoa(parent) + "/cmdline")
	again, perr := parentPID(t.PID)
	if err != nil || perr != nil || again != parent || !bytes.Equal(args, []byte(shimName+"\x00"+t.ID+"\x00")) {
		unix.Close(fd)
		return -1, unix.ESRCH
	}
	return fd, nil
}

// parentPID reads a process's parent; 0 for a process that has ended.
func parentPID(pid int) (int, error) {
	if pid <= 1 {
		return 0, unix.ESRCH
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, unix.ESRCH
	}
	for line := range strings.Lines(string(b)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), ":"); key {
		case "State":
			if strings.HasPrefix(strings.TrimSpace(value), "Z") {
				return 0, unix.ESRCH
			}
		case "PPid":
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, fmt.Errorf("/proc/%d/status names no parent", pid)
}
