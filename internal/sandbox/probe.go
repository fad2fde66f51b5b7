package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Support is what a machine has of the sandbox's parts.
type Support struct {
	NoNewPrivs error // nil: it has it
	Seccomp    error // nil: filters that kill can be set on all threads
	// Landlock is the ABI version that Enter would put in force. It is 0 with
	// NoLandlock, which wraps ErrNoLandlock.
	Landlock   int
	NoLandlock error
	// Notes say what that version does not have.
	Notes []string
}

// Probe finds it out by trying, on a thread that ends with the attempt.
func Probe() Support {
	var s Support
	if s.Landlock, s.NoLandlock = landlockABI(); s.NoLandlock == nil {
		s.Notes = lacking(s.Landlock)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked: the thread is not used again.
		runtime.LockOSThread()
		s.NoNewPrivs = tryNoNewPrivs()
		s.Seccomp = trySeccomp()
	}()
	<-done
	return s
}

func tryNoNewPrivs() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || set != 1 {
		return errors.Join(errors.New("it was set and is not"), err)
	}
	return nil
}

func trySeccomp() error {
	action := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action))); e != 0 {
		return fmt.Errorf("filters that kill: %w", os.NewSyscallError("seccomp", e))
	}
	// A flag that the kernel knows gets as far as the missing program.
	const flags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, 0); e != unix.EFAULT {
		return fmt.Errorf("filters on all threads: %w", os.NewSyscallError("seccomp", e))
	}
	raw, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}})
	if err != nil {
		return err
	}
	return setFilter(raw, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW)
}
