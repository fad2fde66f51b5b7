package worker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// lockName is the lock's file in the runtime folder. Every worker holds a share of
// it, by a descriptor that it gets at its start, so whoever has all of it and does not find
// the process that is noted in it knows that no worker lives: not one that hangs and has
// not seen its keeper go.
const lockName = "worker.lock"

// Waiting for the workers of a daemon that is no more.
const (
	ownEnd    = 2 * time.Second // until they are killed
	killedEnd = 5 * time.Second // after that
	lockPause = 5 * time.Millisecond
)

type workerLock struct {
	path string
	file *os.File
}

// openLock opens the lock. With alone, workers of others are ended first.
func openLock(dir string, alone bool) (*workerLock, error) {
	if dir == "" {
		return anonymousLock()
	}
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the workers: %w", err)
	}
	l := &workerLock{path, f}
	if alone {
		if err := l.wait(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return l, nil
}

// anonymousLock is a lock in memory, which nobody else can have: where no later program
// takes the same interfaces.
func anonymousLock() (*workerLock, error) {
	fd, err := unix.MemfdCreate(lockName, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("lock of the workers: %w", err)
	}
	return &workerLock{fmt.Sprintf("/proc/self/fd/%d", fd), os.NewFile(uintptr(fd), lockName)}, nil
}

// wait returns when no worker lives. One that does not end by itself is killed, also
// if it has let go of its share: that is up to what a container has made of it.
func (l *workerLock) wait() error {
	begin, killed := time.Now(), false
	pid, worker := l.noted()
	if worker >= 0 {
		defer unix.Close(worker)
	}
	for {
		err := unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			if err := unix.Flock(int(l.file.Fd()), unix.LOCK_UN); err != nil || !lives(worker) {
				return err
			}
		} else if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", l.path, err)
		}
		switch waited := time.Since(begin); {
		case waited > ownEnd+killedEnd:
			return fmt.Errorf("a worker of an earlier daemon (pid %d) does not end: end it, then try again", pid)
		case waited > ownEnd && !killed && worker >= 0:
			killed = true
			if err := unix.PidfdSendSignal(worker, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("end the worker of an earlier daemon (pid %d): %w", pid, err)
			}
		}
		time.Sleep(lockPause) // there is no event for the end of a lock
	}
}

// lives reports whether a process has not ended; -1 has.
func lives(pidfd int) bool {
	if pidfd < 0 {
		return false
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
	return n == 0 || errors.Is(err, unix.EINTR)
}

// share is a share of the lock for a worker to hold.
func (l *workerLock) share() (*fdpass.Handle, error) {
	// Opened anew: the lock belongs to the open file, and this one is the worker's.
	flags := unix.O_RDONLY | unix.O_CLOEXEC
	if !strings.HasPrefix(l.path, "/proc/self/fd/") {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Open(l.path, flags, 0)
	if err == nil {
		if err = unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("lock of the workers %s: %w", l.path, err)
	}
	return fdpass.NewHandle(fd), nil
}

// note writes down who holds it, for whoever has to end it.
func (l *workerLock) note(pid int) {
	if err := l.file.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(io.NewOffsetWriter(l.file, 0), "%d %s\n", pid, startOf(pid)) // a full disk costs the means to end a worker that hangs
	}
}

// noted opens the process that was written down; -1 if it is gone. Its number may be
// another's by now, who has begun at another time.
func (l *workerLock) noted() (pid, pidfd int) {
	b, _ := io.ReadAll(io.NewSectionReader(l.file, 0, 64))
	number, began, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 1 {
		return -1, -1
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return pid, -1
	}
	if began == "" || startOf(pid) != began {
		unix.Close(fd)
		return pid, -1
	}
	return pid, fd
}

// startOf is when a process began, in ticks since the machine did: proc_pid_stat(5). It
// is empty when there is none. No process can change it, as it can its name and arguments.
func startOf(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	// The name may hold anything; behind it comes field 3.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return ""
	}
	return fields[22-3]
}

func (l *workerLock) Close() error { return l.file.Close() }
