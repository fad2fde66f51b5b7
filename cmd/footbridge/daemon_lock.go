package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/fdstore"
)

var (
	// errAnotherDaemon: a daemon has the lock, and answers.
	errAnotherDaemon = errors.New("another daemon is running")
	errLockHeld      = errors.New("another daemon holds the lock and does not answer")
)

const (
	// lockPatience is how long a daemon waits for another one that is starting
	// or ending: both take less than shutdownTimeout.
	lockPatience = shutdownTimeout + 5*time.Second
	// lockInterval is how often it looks. There is no event to wait for: either
	// the lock becomes free or the socket appears.
	lockInterval = 20 * time.Millisecond
)

// lockDaemon makes this process the user's one daemon, and writes its pid into
// the lock's file. When another daemon answers it returns errAnotherDaemon. The lock is
// in the store: it is there already when a program before this one had it.
func lockDaemon(ctx context.Context, d dirs, store *fdstore.Store, log *slog.Logger) (err error) {
	f := storedLock(d, store)
	if f == nil {
		if f, err = takeLock(ctx, d); err != nil {
			return err
		}
	}
	defer f.Close()
	h, err := duplicate(f)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := keep(store, log, lockName, h); err != nil {
		return err
	}
	if err := writePID(f); err != nil {
		forget(store, log, lockName)
		return err
	}
	return nil
}

// storedLock returns the lock that is in the store, if it is the lock's file of today.
func storedLock(d dirs, store *fdstore.Store) *os.File {
	h, ok := store.Get(lockName)
	if !ok {
		return nil
	}
	f := os.NewFile(uintptr(h.Take()), d.lock())
	held, err := f.Stat()
	today, lerr := os.Lstat(d.lock())
	if err == nil && lerr == nil && os.SameFile(held, today) && unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		return f
	}
	_ = f.Close()
	_ = store.Remove(lockName) // the next one that is kept takes its place anyway
	return nil
}

// takeLock waits for the lock.
func takeLock(ctx context.Context, d dirs) (_ *os.File, err error) {
	f, err := os.OpenFile(d.lock(), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the daemon: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	client := api.New(d.socket())
	tick := time.NewTicker(lockInterval)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("lock %s: %w", d.lock(), err)
		}
		if _, err := client.DaemonVersion(ctx); err == nil {
			return nil, fmt.Errorf("%w (pid %s) on %s: stop it with `footbridge daemon stop`", errAnotherDaemon, readPID(f), d.socket())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: pid %s: end it, then try again", errLockHeld, readPID(f))
		}
	}
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// keep puts a descriptor into the store. That the service manager could not be told is
// worth a line, and no more.
func keep(store *fdstore.Store, log *slog.Logger, name string, h *fdpass.Handle) error {
	err := store.Put(name, h)
	if errors.Is(err, fdstore.ErrManager) {
		log.Warn("a descriptor is not kept by the service manager", "name", name, "error", err)
		return nil
	}
	return err
}

// forget is the opposite of keep.
func forget(store *fdstore.Store, log *slog.Logger, name string) {
	if err := store.Remove(name); err != nil {
		log.Warn("the service manager keeps a descriptor for longer than it should", "name", name, "error", err)
	}
}

// duplicate makes a Handle of what f has open.
func duplicate(f syscall.Conn) (h *fdpass.Handle, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	cerr := raw.Control(func(fd uintptr) {
		var n int
		if n, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3); err == nil {
			h = fdpass.NewHandle(n)
		}
	})
	return h, errors.Join(cerr, err)
}

// readPID returns what the lock's file says, as text.
func readPID(f *os.File) string {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return pid
	}
	return "unknown"
}

// findDaemon returns the pid of the process that holds the daemon's lock, and 0
// if nobody does.
func findDaemon(d dirs) (pid int, err error) {
	f, err := os.OpenFile(d.lock(), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		return 0, nil // and closing f gives the lock back
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return 0, fmt.Errorf("lock %s: %w", d.lock(), err)
	}
	text := readPID(f)
	if pid, err = strconv.Atoi(text); err != nil || pid <= 1 {
		return 0, fmt.Errorf("%s is locked by a process that cannot be told (pid %s)", d.lock(), text)
	}
	return pid, nil
}

// stopDaemon ends the daemon and waits for its end. It speaks to the process
// and not to the API, so that a daemon of any version can be stopped.
func stopDaemon(d dirs, patience time.Duration) (pid int, err error) {
	pid, fd, err := openDaemon(func() (int, error) {
		if pid, err := findDaemon(d); pid != 0 || err != nil {
			return pid, err
		}
		return lostDaemon(d), nil
	})
	if fd < 0 || err != nil {
		return pid, err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return pid, fmt.Errorf("end the daemon (pid %d): %w", pid, err)
	}
	deadline := time.Now().Add(patience)
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return pid, fmt.Errorf("the daemon (pid %d) has not ended within %v: look at %s, or end it with: kill -9 %d", pid, patience, d.log(), pid)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return pid, err
		}
		if n > 0 {
			return pid, nil
		}
	}
}

// openDaemon opens the process that find finds (pidfd_open(2)), with pid 0 if it
// finds none. fd is negative where there is nothing to end: none, or one that has
// ended in this moment.
func openDaemon(find func() (int, error)) (pid, fd int, err error) {
	pid, err = find()
	for pid != 0 && err == nil {
		fd, err = unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			return pid, -1, nil
		}
		if err != nil {
			return pid, -1, fmt.Errorf("daemon (pid %d): %w", pid, err)
		}
		// The pid could have become another process's before it was opened, or the
		// daemon not be the one to end any more: then it is decided afresh.
		var again int
		if again, err = find(); err == nil && again == pid {
			return pid, fd, nil
		}
		_ = unix.Close(fd)
		pid = again
	}
	return pid, -1, err
}
