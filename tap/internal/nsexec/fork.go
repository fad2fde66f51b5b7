package nsexec

import (
	"math"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// A step is what the child was doing when it failed.
type step uint32

const (
	stepNone step = iota
	stepFork
	stepUser
	stepNet
	stepCaps
	stepUnshare
	stepFiles
	stepExec
	stepSocket
	stepBind
	stepCount
)

var stepNames = [stepCount]string{
	stepNone:    "nothing",
	stepFork:    "fork",
	stepUser:    "setns(user)",
	stepNet:     "setns(net)",
	stepCaps:    "capset",
	stepUnshare: "unshare(files)",
	stepFiles:   "dup3",
	stepExec:    "execveat",

	stepSocket: "socket",
	stepBind:   "bind",
}

func (s step) String() string {
	if s < stepCount {
		return stepNames[s]
	}
	return "an unknown step"
}

// A failure is what the child writes to the pipe.
type failure struct {
	Step  step
	Errno uint32
}

const failureSize = int(unsafe.Sizeof(failure{}))

// childPlan is everything that the child needs, made before the fork.
type childPlan struct {
	user, net      int // namespaces; user < 0: stay in this one
	dir            int // the working directory; < 0: this one
	*keptFiles         // of which the child goes on with copies
	argv, envv     **byte
	empty, exeName *byte // "" and "/proc/self/exe"
	capHeader      unix.CapUserHeader
	capData        [2]unix.CapUserData
	failed         failure
}

// fork makes the child and returns its id, when the child has become the new
// program or has ended (where cloneFlags say so; readFailure waits anyway).
//
//go:noinline
//go:norace
func fork(p *childPlan) (pid uintptr, errno syscall.Errno) {
	pid, e := forkChild(p)
	afterFork()
	return pid, syscall.Errno(e)
}

// forkChild returns in the parent only. It must be a function of its own, and do
// nothing in the parent but return: the child works in this very stack frame.
//
// Only nosplit functions may be called from beforeFork on, until the outer frame
// calls afterFork: the runtime has set the stack guard so that growing the stack
// is fatal.
//
//go:noinline
//go:norace
//go:nocheckptr
func forkChild(p *childPlan) (pid, errno uintptr) {
	beforeFork()
	pid, errno = rawClone(cloneFlags | shareFiles | uintptr(syscall.SIGCHLD))
	if errno != 0 || pid != 0 {
		return pid, errno
	}

	// The child, from here on. Until it has a table of descriptors of its own it must change none.
	var e syscall.Errno
	afterForkInChild()

	// Before it is anybody in there. Where it cannot be, the new program sees that.
	if p.dir >= 0 {
		syscall.RawSyscall(unix.SYS_FCHDIR, uintptr(p.dir), 0, 0)
	}
	if p.user >= 0 {
		p.failed.Step = stepUser
		if _, _, e = syscall.RawSyscall(unix.SYS_SETNS, uintptr(p.user), unix.CLONE_NEWUSER, 0); e != 0 {
			goto fail
		}
	}
	p.failed.Step = stepNet
	if _, _, e = syscall.RawSyscall(unix.SYS_SETNS, uintptr(p.net), unix.CLONE_NEWNET, 0); e != 0 {
		goto fail
	}

	// A user id that is not 0 in the namespace loses its capabilities at exec,
	// except ambient ones; and nothing but CAP_NET_ADMIN is needed further on.
	// An older kernel without ambient capabilities is fine for id 0.
	p.failed.Step = stepCaps
	if _, _, e = syscall.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&p.capHeader)), uintptr(unsafe.Pointer(&p.capData[0])), 0); e != 0 {
		goto fail
	}
	syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_NET_ADMIN, 0, 0, 0)

	// A table of its own with the few that it needs. Kernels before 5.9 copy all.
	p.failed.Step = stepUnshare
	if _, _, e = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(p.above), math.MaxUint32, unix.CLOSE_RANGE_UNSHARE); e != 0 {
		if _, _, e = syscall.RawSyscall(unix.SYS_UNSHARE, unix.CLONE_FILES, 0, 0); e != 0 {
			goto fail
		}
	}

	p.failed.Step = stepFiles
	if _, _, e = syscall.RawSyscall(unix.SYS_DUP3, uintptr(p.socket), 3, 0); e != 0 {
		goto fail
	}
	if _, _, e = syscall.RawSyscall(unix.SYS_DUP3, uintptr(p.null), 0, 0); e != 0 {
		goto fail
	}
	if _, _, e = syscall.RawSyscall(unix.SYS_DUP3, uintptr(p.null), 1, 0); e != 0 {
		goto fail
	}
	if _, _, e = syscall.RawSyscall(unix.SYS_DUP3, uintptr(p.stderr), 2, 0); e != 0 {
		goto fail
	}
	// All of the daemon's descriptors are close-on-exec already; this is for
	// those that some library forgot. Kernels before 5.11 cannot: no matter.
	syscall.RawSyscall(unix.SYS_CLOSE_RANGE, 4, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)

	p.failed.Step = stepExec
	_, _, e = syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(p.exe), uintptr(unsafe.Pointer(p.empty)),
		uintptr(unsafe.Pointer(p.argv)), uintptr(unsafe.Pointer(p.envv)), unix.AT_EMPTY_PATH, 0)
	if e == unix.ENOSYS || e == unix.EPERM {
		// Filters that know execve but not execveat.
		_, _, e = syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(p.exeName)),
			uintptr(unsafe.Pointer(p.argv)), uintptr(unsafe.Pointer(p.envv)))
	}

fail:
	p.failed.Errno = uint32(e)
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(p.failures), uintptr(unsafe.Pointer(&p.failed)), unsafe.Sizeof(p.failed))
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 253, 0, 0)
	}
}
