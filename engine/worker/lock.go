package worker

import (
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
// it, by a descriptor that it gets at its start, so whoever has all of it knows that
// no worker lives: not one that hangs and has not seen its keeper go.
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

// wait returns when no worker lives. One that does not end by itself is killed.
func (l *workerLock) wait() error {
	begin, killed := time.Now(), false
	for {
		err := unix.Flock(int(l.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return unix.Flock(int(l.file.Fd()), unix.LOCK_UN)
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", l.path, err)
		}
		switch waited := time.Since(begin); {
		case waited > ownEnd+killedEnd:
			return fmt.Errorf("a worker of an earlier daemon (pid %d) does not end: end it, then try again", l.noted())
		case waited > ownEnd && !killed:
			killed = true
			if err := killWorker(l.noted()); err != nil {
				return err
			}
		}
		time.Sleep(lockPause) // there is no event for the end of a lock
	}
}

// killWorker kills a process if it is a worker of this user: the number may be
// another's by now.
func killWorker(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil // gone: its lock will be
	}
	defer unix.Close(fd)
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || strings.TrimRight(string(args), "\x00") != processName {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end the worker of an earlier daemon (pid %d): %w", pid, err)
	}
	return nil
}

// share is a share of the lock for a worker to hold.
func (l *workerLock) share() (*fdpass.Handle, error) {
	// Opened anew: the lock belongs to the open file, and this one is the worker's.
	fd, err := unix.Open(l.path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
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
		_, _ = l.file.WriteAt([]byte(strconv.Itoa(pid)+"\n"), 0) // a full disk costs the means to end a worker that hangs
	}
}

func (l *workerLock) noted() int {
	b, _ := io.ReadAll(io.NewSectionReader(l.file, 0, 32))
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return -1
	}
	return pid
}

func (l *workerLock) Close() error { return l.file.Close() }
