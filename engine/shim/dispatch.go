package shim

import (
	"os"
	"syscall"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// Dispatch returns at once, unless this process was started as a shim or as a container's pid 1 or
// one of its children; then it never returns. Programs that use this package, test binaries too,
// call it before anything else.
func Dispatch() {
	switch os.Args[0] {
	case shimName:
		nameProcess(shimName)
		syscall.CloseOnExec(helperFD)
		fdpass.CloseInherited(helperFD)
		os.Exit(shimMain())
	case initName:
		if len(os.Args) < 2 {
			os.Exit(2)
		}
		switch os.Args[1] {
		case roleMapped:
			os.Exit(mappedMain())
		case roleRun:
			nameProcess(initName)
			syscall.CloseOnExec(helperFD)
			fdpass.CloseInherited(helperFD)
			os.Exit(initMain())
		case roleLaunch:
			syscall.CloseOnExec(helperFD)
			os.Exit(launchMain())
		case roleProbe:
			syscall.CloseOnExec(helperFD)
			os.Exit(probeMain())
		}
		os.Exit(2)
	}
}

// nameProcess gives lists of processes the name: started through /proc/self/exe, it would be "exe" there.
// Only a name: a failure is no harm.
func nameProcess(name string) { _ = os.WriteFile("/proc/self/comm", []byte(name), 0) }

// helperFD is the one descriptor besides the standard three that helpers are started with: the
// socket to whoever started them.
const helperFD = 3
