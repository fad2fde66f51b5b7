package world

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// personality is argv[0] of this package's helpers; argv[1] is the role.
const personality = "footbridge-world"

// The roles in which the binary is started again.
const (
	roleInit     = "init"     // pid 1
	roleAgent    = "agent"    // starts commands, holding capabilities or not
	roleDrop     = "drop"     // gives up the capabilities and becomes roleAgent
	roleServices = "services" // servers of one machine
)

// Dispatch returns at once unless this process was started as a helper of a world; else it never returns. A
// program that uses this package calls it before anything else.
func Dispatch() {
	if len(os.Args) < 2 || os.Args[0] != personality {
		return
	}
	var err error
	switch role := os.Args[1]; role {
	case roleInit:
		err = runInit()
	case roleAgent:
		err = runAgent()
	case roleDrop:
		err = becomeOrdinary()
	case roleServices:
		err = runServices(Place(os.Args[2]))
	default:
		err = fmt.Errorf("there is no role %q", role)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "world, %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// becomeOrdinary empties the ambient and inheritable sets and executes the agent: a uid other than 0 then keeps
// nothing. It runs in one locked thread, because capabilities belong to threads.
func becomeOrdinary() error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clearing the ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("reading the capabilities: %w", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("clearing the inheritable capabilities: %w", err)
	}
	err := syscall.Exec("/proc/self/exe", []string{personality, roleAgent}, os.Environ())
	return fmt.Errorf("executing the agent: %w", err)
}
