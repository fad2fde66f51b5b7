package nsexec

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// firstHighFD is above everything that the child arranges (0 to 3), so that
// no dup3 of it can overwrite a descriptor that a later step needs.
const firstHighFD = 10

// selfExe is a descriptor of the program that is running, which stays right
// when its file is replaced or removed. It is kept for the life of the process.
var selfExe = sync.OnceValues(func() (int, error) {
	fd, err := unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("nsexec: open /proc/self/exe: %w", err)
	}
	defer unix.Close(fd)
	return duplicate(fd)
})

// nullFile is /dev/null, kept for the life of the process.
var nullFile = sync.OnceValues(func() (*os.File, error) {
	return os.OpenFile(os.DevNull, os.O_RDWR, 0)
})

// duplicate returns a close-on-exec copy of fd that is at least firstHighFD.
func duplicate(fd int) (int, error) {
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstHighFD)
	if err != nil {
		return -1, fmt.Errorf("nsexec: duplicate a descriptor: %w", err)
	}
	return high, nil
}

// highFDs duplicates files upwards; release closes the copies.
func highFDs(files ...*os.File) (fds []int, release func(), err error) {
	release = func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	for _, f := range files {
		fd, err := duplicate(int(f.Fd()))
		if err != nil {
			release()
			return nil, nil, err
		}
		fds = append(fds, fd)
	}
	runtime.KeepAlive(files)
	return fds, release, nil
}

// startNative forks, enters and execs by system calls alone. On success the
// child runs the new program already.
func startNative(spec *Spec, null, stderr *os.File) (*os.Process, error) {
	exe, err := selfExe()
	if err != nil {
		return nil, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("nsexec: pipe: %w", err)
	}
	defer unix.Close(pipe[0])
	failures, err := duplicate(pipe[1])
	unix.Close(pipe[1])
	if err != nil {
		return nil, err
	}
	fds, release, err := highFDs(spec.Net, spec.Socket, null, stderr)
	if err != nil {
		unix.Close(failures)
		return nil, err
	}
	defer release()

	plan := &childPlan{
		user: -1, net: fds[0], socket: fds[1], null: fds[2], stderr: fds[3],
		failures: failures, exe: exe,
		capHeader: unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3},
	}
	if spec.User != nil {
		plan.user = int(spec.User.Fd())
	}
	const netAdmin = 1 << unix.CAP_NET_ADMIN
	plan.capData[0] = unix.CapUserData{Effective: netAdmin, Permitted: netAdmin, Inheritable: netAdmin}
	exeName := []byte("/proc/self/exe\x00")
	plan.exeName, plan.empty = &exeName[0], &exeName[len(exeName)-1]
	argv, err := syscall.SlicePtrFromStrings([]string{spec.Arg0})
	if err != nil {
		unix.Close(failures)
		return nil, fmt.Errorf("nsexec: argument: %w", err)
	}
	envv, err := syscall.SlicePtrFromStrings(spec.Env)
	if err != nil {
		unix.Close(failures)
		return nil, fmt.Errorf("nsexec: environment: %w", err)
	}
	plan.argv, plan.envv = &argv[0], &envv[0]

	syscall.ForkLock.Lock()
	show := hideMemory()
	pid, errno := fork(plan)
	show()
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(argv)
	runtime.KeepAlive(envv)
	runtime.KeepAlive(spec)
	unix.Close(failures)
	if errno != 0 {
		return nil, &EnterError{Method: Native, Step: stepFork.String(), Err: errno}
	}

	// The child is not reaped before proc.Wait, so the id cannot be another's.
	proc, err := os.FindProcess(int(pid))
	if err != nil {
		_ = unix.Kill(int(pid), unix.SIGKILL)
		var status unix.WaitStatus
		_, _ = unix.Wait4(int(pid), &status, 0, nil)
		return nil, fmt.Errorf("nsexec: process %d: %w", pid, err)
	}
	if err := readFailure(pipe[0]); err != nil {
		_, _ = proc.Wait()
		return nil, err
	}
	return proc, nil
}

// hideMemory makes this process's memory untraceable until the returned function is
// called. Between setns and exec the child is in reach of the container's root, who may
// trace whatever is in that user namespace and whose number can be seen; but it
// still has the daemon's memory and descriptors.
func hideMemory() (show func()) {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || dumpable != 1 {
		return func() {} // hidden already
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return func() {}
	}
	return func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }
}

// readFailure waits until the child has become the new program (nil) or has
// told what failed.
func readFailure(fd int) error {
	var buf [failureSize]byte
	for {
		n, err := unix.Read(fd, buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("nsexec: read from the child: %w", err)
		case n == 0:
			return nil
		case n != failureSize:
			return &EnterError{Method: Native, Step: "report", Err: unix.EPROTO}
		}
		f := (*failure)(unsafe.Pointer(&buf))
		return &EnterError{Method: Native, Step: f.Step.String(), Err: syscall.Errno(f.Errno)}
	}
}
