package nsexec

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// startNative forks, enters and execs by system calls alone. On success the
// child runs the new program already.
func startNative(spec *Spec, stderr *os.File) (*os.Process, error) {
	files, err := kept()
	if err != nil {
		return nil, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("nsexec: pipe: %w", err)
	}
	defer unix.Close(pipe[0])
	failures := pipe[1]

	plan := &childPlan{
		user: -1, dir: -1, net: int(spec.Net.Fd()), keptFiles: files,
		capHeader: unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3},
	}
	if spec.User != nil {
		plan.user = int(spec.User.Fd())
	}
	if spec.Dir != nil {
		plan.dir = int(spec.Dir.Fd())
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
	giveBack, err := files.lend(spec.Socket, stderr, failures)
	if err != nil {
		syscall.ForkLock.Unlock()
		unix.Close(failures)
		return nil, err
	}
	show := hideMemory()
	pid, errno := fork(plan)
	show()
	giveBack()
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
