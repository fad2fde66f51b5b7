//go:build !amd64 && !arm64

package nsexec

import (
	"runtime"
	"syscall"
)

// cloneFlags: the child gets a copy of the memory. Borrowing it takes a few lines
// of assembly, which this processor does not have.
const cloneFlags = 0

// shareFiles: the child could be elsewhere when its parent closes one.
const shareFiles = 0

//go:nosplit
//go:norace
func rawClone(flags uintptr) (pid, errno uintptr) {
	var e syscall.Errno
	if runtime.GOARCH == "s390x" { // the stack comes first there
		pid, _, e = syscall.RawSyscall6(syscall.SYS_CLONE, 0, flags, 0, 0, 0, 0)
	} else {
		pid, _, e = syscall.RawSyscall6(syscall.SYS_CLONE, flags, 0, 0, 0, 0, 0)
	}
	return pid, uintptr(e)
}
