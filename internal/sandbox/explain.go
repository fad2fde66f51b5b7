package sandbox

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Killed reports whether a process was ended by its filter.
func Killed(ws syscall.WaitStatus) bool { return ws.Signaled() && ws.Signal() == unix.SIGSYS }

// Explain says in words that the process was killed by the sandbox, and by which
// system call when the kernel's log tells: it does so where kernel.dmesg_restrict is 0
// or this process may read it anyway, and the kernel has not suppressed the line among
// many. It writes it a moment after the death. The text is empty when the process ended
// in another way.
func Explain(pid int, ws syscall.WaitStatus) string {
	if !Killed(ws) {
		return ""
	}
	const said = "killed by the sandbox: "
	if nr, ok := seccompRecord(kernelLog(), pid, time.Now().Add(-recordAge)); ok {
		return said + "system call " + nameOf(nr)
	}
	return said + "a system call that is not on the list (as root: dmesg | grep 'type=1326 .* pid=" + strconv.Itoa(pid) + " ')"
}

// recordAge is how old a record may be: an older one is of another process that had the
// same number.
const recordAge = 5 * time.Second

// kernelLog is what the kernel has kept of its log; empty when it may not be read.
func kernelLog() string {
	size, err := unix.Klogctl(unix.SYSLOG_ACTION_SIZE_BUFFER, nil)
	if err != nil {
		return ""
	}
	b := make([]byte, size)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, b)
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// record is what a kill leaves in the log: AUDIT_SECCOMP of linux/audit.h.
var record = regexp.MustCompile(`\btype=1326 audit\((\d+)\..* pid=(\d+) .*\bsig=31 .*\bsyscall=(\d+)\b`)

// seccompRecord finds a process's last system call in the log, made since then.
func seccompRecord(log string, pid int, since time.Time) (nr uintptr, ok bool) {
	for line := range strings.Lines(log) {
		m := record.FindStringSubmatch(line)
		if m == nil || m[2] != strconv.Itoa(pid) {
			continue
		}
		when, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil || when < since.Unix() {
			continue
		}
		if n, err := strconv.ParseUint(m[3], 10, 32); err == nil {
			nr, ok = uintptr(n), true
		}
	}
	return nr, ok
}

// nameOf names a system call, as far as it is one that this package knows.
func nameOf(nr uintptr) string {
	for _, c := range list(0, 0) {
		if c.nr == nr {
			return fmt.Sprintf("%s (%d), with other arguments than are allowed", c.name, nr)
		}
	}
	if name, ok := others[nr]; ok {
		return fmt.Sprintf("%s (%d)", name, nr)
	}
	return fmt.Sprintf("%d", nr)
}

// others are calls that a mistake of ours or an intruder is likely to make.
var others = map[uintptr]string{
	unix.SYS_BPF:               "bpf",
	unix.SYS_CLONE3:            "clone3",
	unix.SYS_DUP:               "dup",
	unix.SYS_DUP3:              "dup3",
	unix.SYS_EXECVE:            "execve",
	unix.SYS_EXECVEAT:          "execveat",
	unix.SYS_FACCESSAT:         "faccessat",
	unix.SYS_FSTAT:             "fstat",
	unix.SYS_FTRUNCATE:         "ftruncate",
	unix.SYS_GETRUSAGE:         "getrusage",
	unix.SYS_IO_URING_SETUP:    "io_uring_setup",
	unix.SYS_KEYCTL:            "keyctl",
	unix.SYS_KILL:              "kill",
	unix.SYS_LISTEN:            "listen",
	unix.SYS_MEMFD_CREATE:      "memfd_create",
	unix.SYS_MOUNT:             "mount",
	unix.SYS_MPROTECT:          "mprotect",
	unix.SYS_MREMAP:            "mremap",
	unix.SYS_NEWFSTATAT:        "newfstatat",
	unix.SYS_OPENAT:            "openat",
	unix.SYS_OPENAT2:           "openat2",
	unix.SYS_PIDFD_GETFD:       "pidfd_getfd",
	unix.SYS_PIDFD_OPEN:        "pidfd_open",
	unix.SYS_PIDFD_SEND_SIGNAL: "pidfd_send_signal",
	unix.SYS_PIPE2:             "pipe2",
	unix.SYS_PTRACE:            "ptrace",
	unix.SYS_READLINKAT:        "readlinkat",
	unix.SYS_SETITIMER:         "setitimer",
	unix.SYS_SETNS:             "setns",
	unix.SYS_SOCKETPAIR:        "socketpair",
	unix.SYS_SPLICE:            "splice",
	unix.SYS_TIMER_CREATE:      "timer_create",
	unix.SYS_UNSHARE:           "unshare",
}
