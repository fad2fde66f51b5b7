package foreign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Process is a process that keeps meaning the same one.
type Process struct {
	PID   int
	Start uint64 // in clock ticks after boot, see proc_pid_stat(5)
}

// Find returns the process that has a number now.
func Find(pid int) (Process, error) {
	start, over, err := stat(pid)
	if err == nil && over {
		err = as(ErrGone, "process %d has ended", pid)
	}
	return Process{pid, start}, err
}

// check returns ErrGone when the process has ended, and another error when that
// cannot be told.
func (p Process) check() error {
	start, over, err := stat(p.PID)
	switch {
	case err != nil:
		return err
	case start != p.Start:
		return as(ErrGone, "process %d has ended, and its number is another process's", p.PID)
	case over:
		return as(ErrGone, "process %d has ended", p.PID)
	}
	return nil
}

// Await returns when the process has ended, or ctx is done. Where that cannot be told it is the latter.
func (p Process) Await(ctx context.Context) {
	exited, stop := p.exits()
	defer stop()
	if errors.Is(p.check(), ErrGone) { // its number was another's
		return
	}
	select {
	case <-exited:
	case <-ctx.Done():
	}
}

// stat reads when a process has started, and whether it has ended and only waits to be
// noticed by its parent.
func stat(pid int) (start uint64, over bool, err error) {
	if pid <= 0 {
		return 0, false, as(ErrGone, "%d is no process", pid)
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, false, as(ErrGone, "no such process: %d", pid)
	}
	if err != nil {
		return 0, false, err
	}
	return parseStat(b)
}

// Fields of /proc/PID/stat after the name, which may hold anything, counted from 0.
const (
	statState   = 0
	statThreads = 17
	statStart   = 19
)

func parseStat(b []byte) (start uint64, over bool, err error) {
	i := bytes.LastIndexByte(b, ')')
	fields := bytes.Fields(b[i+1:])
	if i < 0 || len(fields) <= statStart {
		return 0, false, errors.New("the kernel's word on a process (/proc/PID/stat) is not understood")
	}
	start, err = strconv.ParseUint(string(fields[statStart]), 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("the start of a process: %w", err)
	}
	// The first thread may have ended while others go on.
	state := string(fields[statState])
	over = state == "X" || state == "Z" && (len(fields[statThreads]) == 1 && fields[statThreads][0] <= '1')
	return start, over, nil
}

// exits returns a channel that is closed when the process has ended, or when stop is
// called; nil where the kernel gives no descriptor of the process.
func (p Process) exits() (exited <-chan struct{}, stop func()) {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true) // so that the runtime waits for it in its poller
	}
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, func() {}
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, func() {}
	}
	ch := make(chan struct{})
	go func() {
		defer close(ch)
		_ = raw.Read(func(fd uintptr) bool { // an error is stop's
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
		})
	}()
	return ch, func() {
		f.Close()
		<-ch
	}
}
