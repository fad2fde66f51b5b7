//go:build amd64 || arm64

package nsexec

import "golang.org/x/sys/unix"

// cloneFlags: the child borrows the memory and the thread until it execs, as
// with vfork(2).
const cloneFlags = unix.CLONE_VM | unix.CLONE_VFORK

// shareFiles: and the descriptors, until it takes those that it needs.
const shareFiles = unix.CLONE_FILES

//go:noescape
func rawClone(flags uintptr) (pid, errno uintptr)
