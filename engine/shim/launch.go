package shim

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"github.com/moby/sys/capability"
	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"
)

// launchMain turns this process, a child of pid 1 with its standard streams in place, into the
// command it reads from the socket. If it cannot, it says why and exits.
func launchMain() int {
	// Capabilities, bounding set and keyrings are the thread's, and execve takes the calling thread's.
	runtime.LockOSThread()
	conn, err := fileConn(os.NewFile(helperFD, "pid 1"))
	if err != nil {
		return 125
	}
	var req launchRequest
	if err := readMessage(conn, maxRequest, &req); err != nil {
		return 125
	}
	err = launch(&req) // returns only with an error
	wire := toWire(err)
	wire.Message = printable(wire.Message)
	_ = writeMessage(conn, maxAnswer, wire)
	return 1
}

func launch(req *launchRequest) error {
	raiseOOMScore()
	// The keys of the session that started the daemon are not the container's.
	_, _ = unix.KeyctlJoinSessionKeyring("")

	caps := make([]capability.Cap, len(req.Caps))
	for i, c := range req.Caps {
		caps[i] = capability.Cap(c)
	}
	env := req.Env
	if req.User != "" {
		u, err := lookupUser(req.User)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "HOME=") }) {
			env = append(env, "HOME="+u.Home)
		}
		if err := limitCaps(caps); err != nil {
			return err
		}
		if err := becomeUser(u); err != nil {
			return err
		}
	} else if err := limitCaps(caps); err != nil {
		return err
	}

	cwd := req.Cwd
	if cwd == "" {
		cwd = "/"
	}
	if err := os.Chdir(cwd); err != nil {
		return startError(err, "chdir to cwd (%q) set by the working directory option failed: %v", cwd, plain(err))
	}
	path, err := lookPath(req.Args[0], env)
	if err != nil {
		return err
	}
	resetSignals()
	err = syscall.Exec(path, req.Args, env)
	return startError(err, "exec: %q: %v", req.Args[0], plain(err))
}

// startError makes a StartError with Docker's exit code for err.
func startError(err error, format string, args ...any) error {
	code := 128
	switch {
	case errors.Is(err, unix.ENOENT):
		code = 127
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOTDIR),
		errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENOEXEC):
		code = 126
	}
	return &StartError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// plain takes the operation and path off an error whose message names them already.
func plain(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// raiseOOMScore makes the container no safer from the out-of-memory killer than Docker's are: a daemon
// that a service manager protects does not protect what it runs.
func raiseOOMScore() {
	const file = "/proc/self/oom_score_adj"
	if b, err := os.ReadFile(file); err == nil && strings.HasPrefix(string(b), "-") {
		_ = os.WriteFile(file, []byte("0"), 0)
	}
}

// lookupUser finds the ids of a User setting in the container's files and sees that they are mapped.
func lookupUser(spec string) (*user.ExecUser, error) {
	u, err := user.GetExecUserPath(spec, &user.ExecUser{Home: "/"}, "/etc/passwd", "/etc/group")
	if err != nil {
		return nil, invalid("unable to find user %s: %v", spec, strings.TrimPrefix(err.Error(), "unable to find user "+spec+": "))
	}
	for _, id := range []struct {
		what, file string
		id         int
	}{{"uid", "/proc/self/uid_map", u.Uid}, {"gid", "/proc/self/gid_map", u.Gid}} {
		maps, err := user.ParseIDMapFile(id.file)
		if err != nil {
			return nil, err
		}
		if !mapped(maps, id.id) {
			return nil, invalid("user %q: %s %d is not mapped in the container's user namespace; use --userns=auto, or uid 0, which is you", spec, id.what, id.id)
		}
	}
	return u, nil
}

func mapped(maps []user.IDMap, id int) bool {
	return id >= 0 && id <= math.MaxInt32 && slices.ContainsFunc(maps, func(m user.IDMap) bool {
		return int64(id) >= m.ID && int64(id) < m.ID+m.Count
	})
}

// becomeUser gives the standard streams to the user, so that it can open /dev/stdout, and changes ids.
func becomeUser(u *user.ExecUser) error {
	for fd := range 3 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err == nil && (st.Mode&unix.S_IFMT == unix.S_IFIFO || isTerminal(fd)) {
			_ = unix.Fchown(fd, u.Uid, -1)
		}
	}
	// With a single mapping the kernel denies setgroups, and no group but one could be named.
	if b, err := os.ReadFile("/proc/self/setgroups"); err != nil || strings.TrimSpace(string(b)) != "deny" {
		maps, err := user.ParseIDMapFile("/proc/self/gid_map")
		if err != nil {
			return err
		}
		groups := slices.DeleteFunc(slices.Clone(u.Sgids), func(g int) bool { return !mapped(maps, g) })
		if err := syscall.Setgroups(groups); err != nil {
			return fmt.Errorf("set groups: %w", err)
		}
	}
	if err := syscall.Setresgid(u.Gid, u.Gid, u.Gid); err != nil {
		return fmt.Errorf("become gid %d: %w", u.Gid, err)
	}
	if err := syscall.Setresuid(u.Uid, u.Uid, u.Uid); err != nil {
		return fmt.Errorf("become uid %d: %w", u.Uid, err)
	}
	return nil
}

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// lastSignal is the highest signal number of Linux (_NSIG of asm/signal.h).
const lastSignal = 64

// kernelSigaction is struct sigaction of asm/signal.h. All zero is SIG_DFL without flags.
type kernelSigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

func sigaction(s uintptr, new, old *kernelSigaction) syscall.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, s, uintptr(unsafe.Pointer(new)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(new.mask), 0, 0)
	return errno
}

// resetSignals gives the command an empty signal mask and no ignored signal, whatever the daemon was
// started with. What is caught execve sets to its default. os/signal does not do: 32 and 33, the C
// library's own, which its posix_spawn leaves ignored in every child, are none that Go programs can ask for.
func resetSignals() {
	const ignored = 1 // SIG_IGN
	for s := uintptr(1); s <= lastSignal; s++ {
		var old, def kernelSigaction
		if sigaction(s, nil, &old) == 0 && old.handler == ignored {
			_ = sigaction(s, &def, nil)
		}
	}
	var none unix.Sigset_t
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &none, nil)
}
