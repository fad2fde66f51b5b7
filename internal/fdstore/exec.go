package fdstore

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// Exec puts the program at path in the place of this one: same process, same pid, and
// everything in the Store goes over. env is its environment, to which what Open needs is
// added. Exec returns only when it failed; then everything is as it was.
func (s *Store) Exec(path string, argv, env []string) error {
	s.mu.Lock() // nothing comes or goes from here on
	defer s.mu.Unlock()
	var entries []entry
	for _, name := range slices.Sorted(maps.Keys(s.held)) {
		entries = append(entries, entry{s.held[name].FD(), name})
	}
	table, err := memoryFile(formatTable(entries))
	if err != nil {
		return fmt.Errorf("execute %s: %w", path, err)
	}
	defer table.Close()
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(variables, name)
	})
	env = append(env, s.manager.environ()...)
	env = append(env, tableVariable+"="+strconv.Itoa(os.Getpid())+":"+strconv.Itoa(table.FD()))
	fds := []int{table.FD()}
	for _, e := range entries {
		fds = append(fds, e.fd)
	}
	if err := execApart(fds, path, argv, env); err != nil {
		return fmt.Errorf("execute %s: %w", path, err)
	}
	return nil
}

// memoryFile makes a file in memory.
func memoryFile(text string) (*fdpass.Handle, error) {
	fd, err := unix.MemfdCreate("descriptors", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	h := fdpass.NewHandle(fd)
	for b := []byte(text); len(b) > 0; {
		n, err := unix.Write(fd, b)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(os.NewSyscallError("write", err), h.Close())
		}
		b = b[max(n, 0):]
	}
	return h, nil
}

// execApart executes path with fds inherited, from a thread with a descriptor table of
// its own. When that fails it returns after the table is gone.
func execApart(fds []int, path string, argv, env []string) error {
	// The table's end is seen by this pipe: its other end is closed here, and in the
	// table only by the thread's end.
	var alive [2]int
	if err := unix.Pipe2(alive[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	defer unix.Close(alive[0])
	// A program that is being started has all descriptors until it is executed.
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	failed := make(chan error, 1)
	go onThread(func() { failed <- execWith(fds, path, argv, env) })
	err := <-failed
	_ = unix.Close(alive[1])
	for {
		if _, rerr := unix.Read(alive[0], make([]byte, 1)); !errors.Is(rerr, unix.EINTR) {
			return err
		}
	}
}

// onThread calls f on a thread that ends with it. Never on the first one: the runtime
// does not end that.
func onThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		f()
		return // still locked, so the thread ends
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		defer close(done)
		onThread(f) // on another one, since this is taken
	}()
	<-done
}

// execWith executes path with fds inherited. The thread must not be used for anything
// afterwards: its descriptors are no longer the process's.
//
// No descriptor is moved or closed here: between these calls the runtime may do work on
// this thread that needs its own.
func execWith(fds []int, path string, argv, env []string) error {
	limit, err := openFiles(nil)
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	// Exec gives back the limit of open files that this program was started with, also
	// when it fails.
	err = os.NewSyscallError("execve", syscall.Exec(path, argv, env))
	_, lerr := openFiles(&limit)
	return errors.Join(err, lerr)
}

// openFiles sets the limit of open files, unless set is nil, and returns the one
// before. Not by package syscall, which would take it for the user's wish and pass it on
// to what is started.
func openFiles(set *unix.Rlimit) (old unix.Rlimit, err error) {
	_, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE,
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(&old)), 0, 0)
	if errno != 0 {
		return old, os.NewSyscallError("prlimit", errno)
	}
	return old, nil
}
