package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Joining a user namespace is forbidden to a process with more than one thread, and a Go program
// always has more. So the runtime's own fork hooks are borrowed, as package syscall uses them, and
// what happens between fork and exec is system calls only:
//
//	shim --clone--> courier: setns(user), setns(net)
//	                   |
//	                   +--clone(CLONE_PARENT | new namespaces)--> pid 1: execve(self), a child of the shim
//	                   +--writes pid 1's pid to a pipe, exits
//
// The courier is needed because a pid namespace begins with a process's children.

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// courierReport is what comes out of the pipe: a step, and the errno at which it failed; or stepDone and a pid.
type courierReport struct{ step, value uintptr }

const (
	stepDone = iota
	stepUser
	stepNet
	stepClone
	stepSetup
	stepExec
)

var stepNames = map[uintptr]string{
	stepUser: "join the user namespace", stepNet: "join the network namespace", stepClone: "make namespaces",
	stepSetup: "set up pid 1", stepExec: "execute " + selfExe,
}

// courierArgs is everything the children touch, made before the fork: afterwards nothing may be allocated.
type courierArgs struct {
	userns, netns, null, sock, pipe uintptr
	path                            *byte
	argv, envv                      **byte
	capHeader                       unix.CapUserHeader
	capData                         [2]unix.CapUserData
	lastCap                         uintptr
	report                          courierReport
}

// cloneInto makes pid 1 with new mount, pid, UTS and IPC namespaces inside existing user and network namespaces.
func cloneInto(ns *namespaces, null, sock *os.File) (pid int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrNamespaces, err)
		}
	}()
	path := append([]byte(selfExe), 0)
	argv, err := syscall.SlicePtrFromStrings([]string{initName, roleRun})
	if err != nil {
		return 0, err
	}
	envv, err := syscall.SlicePtrFromStrings(runtimeEnv)
	if err != nil {
		return 0, err
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	reader := os.NewFile(uintptr(pipe[0]), "courier")
	defer reader.Close()

	// The children put descriptors at 0 to 3; the report pipe must lie above.
	high, err := unix.FcntlInt(uintptr(pipe[1]), unix.F_DUPFD_CLOEXEC, 10)
	unix.Close(pipe[1])
	if err != nil {
		return 0, err
	}
	pipe[1] = high

	a := &courierArgs{userns: ns.user.Fd(), netns: ns.net.Fd(), null: null.Fd(), sock: sock.Fd(), pipe: uintptr(pipe[1])}
	a.path, a.argv, a.envv = &path[0], &argv[0], &envv[0]
	a.capHeader.Version = unix.LINUX_CAPABILITY_VERSION_3
	a.lastCap = unix.CAP_LAST_CAP

	syscall.ForkLock.Lock()
	child, errno := courier(a)
	syscall.ForkLock.Unlock()
	unix.Close(pipe[1])
	runtime.KeepAlive(path)
	runtime.KeepAlive(argv)
	runtime.KeepAlive(envv)
	if errno != 0 {
		return 0, fmt.Errorf("fork: %w", errno)
	}

	var report courierReport
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&report)), unsafe.Sizeof(report))
	var failed error
	for {
		if _, err := io.ReadFull(reader, buf); err != nil {
			break // the last writer executed itself or exited
		}
		if report.step == stepDone {
			pid = int(report.value)
		} else {
			failed = fmt.Errorf("%s: %w", stepNames[report.step], syscall.Errno(report.value))
		}
	}
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(int(child), &ws, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if failed == nil && pid == 0 {
		failed = errors.New("the joining process was killed")
	}
	if failed != nil {
		if pid != 0 {
			(&initProcess{pid: pid}).kill()
		}
		return 0, failed
	}
	return pid, nil
}

// courier forks; the parent returns, the children never do.
//
//go:norace
//go:noinline
//go:nocheckptr
func courier(a *courierArgs) (pid uintptr, errno syscall.Errno) {
	var (
		e syscall.Errno
		n uintptr
		i uintptr
	)
	beforeFork()
	pid, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return pid, errno
	}
	afterForkInChild()

	a.report.step = stepUser
	if _, _, e = syscall.RawSyscall(unix.SYS_SETNS, a.userns, unix.CLONE_NEWUSER, 0); e != 0 {
		goto fail
	}
	a.report.step = stepNet
	if _, _, e = syscall.RawSyscall(unix.SYS_SETNS, a.netns, unix.CLONE_NEWNET, 0); e != 0 {
		goto fail
	}
	// Where the namespace maps us to another uid than 0, execve would take the capabilities away
	// that joining gave. Ambient ones stay. pid 1 keeps them, what it launches loses them.
	if _, _, e = syscall.RawSyscall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&a.capHeader)), uintptr(unsafe.Pointer(&a.capData[0])), 0); e == 0 {
		a.capData[0].Inheritable = a.capData[0].Permitted
		a.capData[1].Inheritable = a.capData[1].Permitted
		syscall.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&a.capHeader)), uintptr(unsafe.Pointer(&a.capData[0])), 0)
		for i = 0; i <= a.lastCap; i++ {
			syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, i, 0, 0, 0)
		}
	}
	a.report.step = stepClone
	n, _, e = syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD)|unix.CLONE_PARENT|newNamespaces, 0, 0, 0, 0, 0)
	if e != 0 {
		goto fail
	}
	if n != 0 {
		a.report.step, a.report.value = stepDone, n
		syscall.RawSyscall(unix.SYS_WRITE, a.pipe, uintptr(unsafe.Pointer(&a.report)), unsafe.Sizeof(a.report))
		for {
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}

	a.report.step = stepSetup
	if _, _, e = syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0); e != 0 {
		goto fail
	}
	for i = 0; i < 3; i++ {
		if _, _, e = syscall.RawSyscall(unix.SYS_DUP3, a.null, i, 0); e != 0 {
			goto fail
		}
	}
	if a.sock == 3 { // dup3 refuses equal numbers
		_, _, e = syscall.RawSyscall(unix.SYS_FCNTL, 3, unix.F_SETFD, 0)
	} else {
		_, _, e = syscall.RawSyscall(unix.SYS_DUP3, a.sock, 3, 0)
	}
	if e != 0 {
		goto fail
	}
	a.report.step = stepExec
	_, _, e = syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(a.path)), uintptr(unsafe.Pointer(a.argv)), uintptr(unsafe.Pointer(a.envv)))
fail:
	a.report.value = uintptr(e)
	syscall.RawSyscall(unix.SYS_WRITE, a.pipe, uintptr(unsafe.Pointer(&a.report)), unsafe.Sizeof(a.report))
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 253, 0, 0)
	}
}
