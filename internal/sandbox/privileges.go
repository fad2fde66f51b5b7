package sandbox

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// noCore keeps memory, which may hold what containers sent each other, out of files.
func noCore() error {
	return os.NewSyscallError("setrlimit", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}))
}

// noNewPrivs makes set-user-id bits and file capabilities mean nothing. Without it an
// ordinary user may set no seccomp filter.
func noNewPrivs() error {
	if _, _, e := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		return os.NewSyscallError("prctl", e)
	}
	return nil
}

// dropCapabilities empties all sets on all threads. The ambient set goes with the
// others: the kernel keeps it within the permitted and inheritable ones.
func dropCapabilities() error {
	if err := dropBounding(); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, _, e := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0)
	if e != 0 {
		return os.NewSyscallError("capset", e)
	}
	return nil
}

// dropBounding empties the bounding set where that is allowed: for root. Others have
// nothing in it that no_new_privs does not keep from them.
func dropBounding() error {
	held, err := capabilities()
	if err != nil {
		return err
	}
	if held[0].Effective&(1<<unix.CAP_SETPCAP) == 0 {
		return nil
	}
	for c := uintptr(0); ; c++ {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			return nil // beyond the last that the kernel knows
		}
		if err != nil {
			return os.NewSyscallError("prctl", err)
		}
		if in == 0 {
			continue
		}
		if _, _, e := psx.Syscall3(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); e != 0 {
			return os.NewSyscallError("prctl", e)
		}
	}
}

// capabilities are this thread's.
func capabilities() (held [2]unix.CapUserData, err error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	err = os.NewSyscallError("capget", unix.Capget(&header, &held[0]))
	return held, err
}

// ownState is the part of this thread's State that can be asked without /proc.
func ownState() (State, error) {
	held, err := capabilities()
	if err != nil {
		return State{}, err
	}
	var s State
	for i, d := range held {
		s.Capabilities |= uint64(d.Effective|d.Permitted|d.Inheritable) << (32 * i)
	}
	nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	s.NoNewPrivs = nnp == 1
	return s, os.NewSyscallError("prctl", err)
}
