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

// Program is what Exec executes.
type Program struct {
	Path      string
	Args, Env []string
	// OpenFiles is its soft limit of open files, see StartLimit; 0 leaves it as this
	// program's, which Go has raised.
	OpenFiles uint64
}

// Exec puts another program in the place of this one: same process, same pid, and
// everything in the Store goes over. What Open needs is added to its environment. Exec
// returns only when it failed; then everything is as it was.
func (s *Store) Exec(p Program) error {
	s.mu.Lock() // nothing comes or goes from here on
	defer s.mu.Unlock()
	var entries []entry
	for _, name := range slices.Sorted(maps.Keys(s.held)) {
		entries = append(entries, entry{s.held[name].FD(), name})
	}
	table, err := memoryFile(formatTable(entries))
	if err != nil {
		return fmt.Errorf("execute %s: %w", p.Path, err)
	}
	defer table.Close()
	env := slices.DeleteFunc(slices.Clone(p.Env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return slices.Contains(variables, name)
	})
	env = append(env, s.manager.environ()...)
	p.Env = append(env, tableVariable+"="+strconv.Itoa(os.Getpid())+":"+strconv.Itoa(table.FD()))
	fds := []int{table.FD()}
	for _, e := range entries {
		fds = append(fds, e.fd)
	}
	if err := execApart(fds, p); err != nil {
		return fmt.Errorf("execute %s: %w", p.Path, err)
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

// execApart executes a program with fds inherited, from a thread with a descriptor table of
// its own. When that fails it returns after the table is gone.
func execApart(fds []int, p Program) error {
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
	go onThread(func() { failed <- execWith(fds, p) })
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

// execWith executes a program with fds inherited. The thread must not be used for anything
// afterwards: its descriptors are no longer the process's.
//
// No descriptor is moved or closed here: between these calls the runtime may do work on
// this thread that needs its own.
//
// It is not syscall.Exec, because that one forgets, also when it fails, which limit of open
// files this program was started with, and everything started later gets Go's. What it
// guards against, that no thread can be made while another one is in execve, is the
// kernel's way with threads that share a working directory (CLONE_FS), as this one
// then does not.
func execWith(fds []int, p Program) error {
	path, err := syscall.BytePtrFromString(p.Path)
	if err != nil {
		return err
	}
	args, err := syscall.SlicePtrFromStrings(p.Args)
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(p.Env)
	if err != nil {
		return err
	}
	limit, err := openFiles(nil)
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_FILES | unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	if p.OpenFiles != 0 {
		if _, err := openFiles(&unix.Rlimit{Cur: min(p.OpenFiles, limit.Max), Max: limit.Max}); err != nil {
			return err
		}
	}
	_, _, errno := unix.Syscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(path)),
		uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&env[0])))
	_, err = openFiles(&limit)
	return errors.Join(os.NewSyscallError("execve", errno), err)
}

// StartLimit returns the soft limit of open files that this program was started with, and
// programs started by it get: Go raises its own at once. Nothing may be started
// afterwards: the limit is given back and forgotten.
func StartLimit() (uint64, error) {
	// There is no other way to learn it than to let package syscall restore it.
	if err := syscall.Exec("", []string{""}, nil); !errors.Is(err, syscall.ENOENT) {
		return 0, os.NewSyscallError("execve", err)
	}
	limit, err := openFiles(nil)
	return limit.Cur, err
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
