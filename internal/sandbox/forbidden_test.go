package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attempt is something that nobody may do in the sandbox. Outside it does no harm, so
// that it can be shown to be possible there, or to be refused by others.
type attempt struct {
	name string
	try  func() error
}

// syscallAttempt calls the kernel. Where arguments are addresses, 0 makes a
// call that got through fail.
func syscallAttempt(name string, nr uintptr, args ...uintptr) attempt {
	return attempt{name, func() error {
		var a [6]uintptr
		copy(a[:], args)
		if _, _, e := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); e != 0 {
			return e
		}
		return nil
	}}
}

// minusOne is no descriptor, no process and no key.
const minusOne = ^uintptr(0)

func socketAttempt(name string, family, kind, protocol int) attempt {
	return attempt{name, func() error {
		fd, err := unix.Socket(family, kind, protocol)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}}
}

// optionAttempt sets an option of a socket to nothing.
func optionAttempt(name string, level, option int) attempt {
	return attempt{name, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if _, _, e := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), 0, 0, 0); e != 0 {
			return e
		}
		return nil
	}}
}

var forbidden = []attempt{
	{"read a file", func() error { _, err := os.ReadFile("/proc/self/status"); return err }},
	{"look at a file", func() error { _, err := os.Stat("/"); return err }},
	{"read a link", func() error { _, err := os.Readlink("/proc/self/exe"); return err }},
	{"make a folder", func() error { return os.Mkdir("/proc/footbridge", 0o700) }},
	{"run a program", func() error {
		cmd := exec.Command("/proc/self/exe", "-test.run=^$")
		cmd.Env = []string{} // no role
		return cmd.Run()
	}},
	{"fork", func() error {
		var attr syscall.ProcAttr
		_, err := syscall.ForkExec("/", []string{"/"}, &attr) // a folder: the child ends
		return err
	}},
	{"listen on TCP", func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			l.Close()
		}
		return err
	}},
	{"resolve a user's name", func() error { _, err := net.LookupHost("localhost"); return err }},
	syscallAttempt("openat", unix.SYS_OPENAT, minusOne, 0, 0),
	syscallAttempt("openat2", unix.SYS_OPENAT2, minusOne, 0, 0, 0),
	syscallAttempt("open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, minusOne, 0, 0),
	syscallAttempt("execve", unix.SYS_EXECVE, 0, 0, 0),
	syscallAttempt("execveat", unix.SYS_EXECVEAT, minusOne, 0, 0, 0, 0),
	// The kernel refuses each of these three by itself.
	syscallAttempt("clone of a process", unix.SYS_CLONE, uintptr(unix.CLONE_SIGHAND)|uintptr(unix.SIGCHLD)),
	syscallAttempt("clone of half a thread", unix.SYS_CLONE, unix.CLONE_THREAD),
	syscallAttempt("clone into a namespace", unix.SYS_CLONE, threadFlags|unix.CLONE_NEWUSER),
	syscallAttempt("memory that can be executed", unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, minusOne, 0),
	syscallAttempt("a mapped file", unix.SYS_MMAP, 0, 4096, unix.PROT_READ, unix.MAP_SHARED, 0, 0),
	{"memory that becomes executable", func() error {
		b := make([]byte, 3*4096)
		page := (uintptr(unsafe.Pointer(&b[0])) + 4095) &^ 4095
		_, _, e := unix.RawSyscall(unix.SYS_MPROTECT, page, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC)
		if e != 0 {
			return e
		}
		unix.RawSyscall(unix.SYS_MPROTECT, page, 4096, unix.PROT_READ|unix.PROT_WRITE)
		runtime.KeepAlive(b)
		return nil
	}},
	syscallAttempt("pkey_mprotect", unix.SYS_PKEY_MPROTECT, 0, 0, unix.PROT_EXEC, minusOne),
	syscallAttempt("mremap", unix.SYS_MREMAP, 0, 0, 0, 0),
	syscallAttempt("memfd_create", unix.SYS_MEMFD_CREATE, 0, 0),
	syscallAttempt("userfaultfd", unix.SYS_USERFAULTFD, minusOne),
	socketAttempt("a unix socket", unix.AF_UNIX, unix.SOCK_STREAM, 0),
	socketAttempt("a packet socket", unix.AF_PACKET, unix.SOCK_RAW, 0),
	socketAttempt("a raw socket", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP),
	socketAttempt("a raw socket of IPv6", unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6),
	socketAttempt("a vsock", unix.AF_VSOCK, unix.SOCK_STREAM, 0),
	socketAttempt("SCTP", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP),
	socketAttempt("UDP-Lite", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE),
	syscallAttempt("socketpair", unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_STREAM, 0, 0),
	syscallAttempt("listen", unix.SYS_LISTEN, minusOne, 1),
	optionAttempt("a filter on a socket", unix.SOL_SOCKET, unix.SO_ATTACH_FILTER),
	optionAttempt("a mark for the host's firewall", unix.SOL_SOCKET, unix.SO_MARK),
	optionAttempt("an address that is not the host's", unix.IPPROTO_IP, unix.IP_TRANSPARENT),
	optionAttempt("the same by another name", unix.IPPROTO_IP, unix.IP_FREEBIND),
	optionAttempt("options of IP", unix.IPPROTO_IP, unix.IP_OPTIONS),
	optionAttempt("a protocol above TCP", unix.IPPROTO_TCP, unix.TCP_ULP),
	optionAttempt("a group", unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP),
	optionAttempt("iptables", unix.IPPROTO_IP, 64), // IPT_SO_SET_REPLACE
	optionAttempt("a number that is two options", unix.SOL_SOCKET, unix.SO_LINGER|1<<32),
	syscallAttempt("signals by a descriptor", unix.SYS_FCNTL, minusOne, unix.F_SETOWN, 1),
	syscallAttempt("O_ASYNC", unix.SYS_FCNTL, minusOne, unix.F_SETFL, unix.O_ASYNC),
	syscallAttempt("a file that blocks", unix.SYS_FCNTL, minusOne, unix.F_SETFL, unix.O_RDWR),
	syscallAttempt("the end of a listener", unix.SYS_SHUTDOWN, minusOne, unix.SHUT_RD),
	syscallAttempt("a byte typed into a terminal", unix.SYS_IOCTL, minusOne, unix.TIOCSTI, 0),
	syscallAttempt("another TAP", unix.SYS_IOCTL, minusOne, unix.TUNSETIFF, 0),
	{"kill", func() error { return unix.Kill(os.Getppid(), 0) }},
	{"tgkill of another", func() error { return unix.Tgkill(os.Getppid(), os.Getppid(), 0) }},
	syscallAttempt("tkill", unix.SYS_TKILL, minusOne, 0),
	syscallAttempt("rt_sigqueueinfo", unix.SYS_RT_SIGQUEUEINFO, minusOne, 0, 0),
	syscallAttempt("ptrace", unix.SYS_PTRACE, unix.PTRACE_PEEKDATA, minusOne, 0, 0),
	syscallAttempt("process_vm_readv", unix.SYS_PROCESS_VM_READV, minusOne, 0, 0, 0, 0, 0),
	syscallAttempt("process_vm_writev", unix.SYS_PROCESS_VM_WRITEV, minusOne, 0, 0, 0, 0, 0),
	syscallAttempt("pidfd_open", unix.SYS_PIDFD_OPEN, minusOne, 0),
	syscallAttempt("pidfd_getfd", unix.SYS_PIDFD_GETFD, minusOne, 0, 0),
	syscallAttempt("pidfd_send_signal", unix.SYS_PIDFD_SEND_SIGNAL, minusOne, 0, 0, 0),
	syscallAttempt("setns", unix.SYS_SETNS, minusOne, 0),
	syscallAttempt("unshare", unix.SYS_UNSHARE, 0),
	syscallAttempt("mount", unix.SYS_MOUNT, 0, 0, 0, 0, 0),
	syscallAttempt("umount2", unix.SYS_UMOUNT2, 0, minusOne),
	syscallAttempt("fsopen", unix.SYS_FSOPEN, 0, 0),
	syscallAttempt("open_tree", unix.SYS_OPEN_TREE, minusOne, 0, 0),
	syscallAttempt("pivot_root", unix.SYS_PIVOT_ROOT, 0, 0),
	syscallAttempt("chroot", unix.SYS_CHROOT, 0),
	syscallAttempt("bpf", unix.SYS_BPF, minusOne, 0, 0),
	syscallAttempt("perf_event_open", unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, minusOne, 0),
	syscallAttempt("keyctl", unix.SYS_KEYCTL, minusOne),
	syscallAttempt("add_key", unix.SYS_ADD_KEY, 0, 0, 0, 0, 0),
	syscallAttempt("io_uring_setup", unix.SYS_IO_URING_SETUP, 0, 0),
	syscallAttempt("io_uring_enter", unix.SYS_IO_URING_ENTER, minusOne, 0, 0, 0, 0, 0),
	syscallAttempt("init_module", unix.SYS_INIT_MODULE, 0, 0, 0),
	syscallAttempt("setresuid", unix.SYS_SETRESUID, minusOne, minusOne, minusOne),
	syscallAttempt("capset", unix.SYS_CAPSET, 0, 0),
	syscallAttempt("being dumpable", unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, minusOne),
	syscallAttempt("the name of a thread", unix.SYS_PRCTL, unix.PR_SET_NAME, 0),
	syscallAttempt("personality", unix.SYS_PERSONALITY, 0xffffffff),
	syscallAttempt("another limit", unix.SYS_PRLIMIT64, 0, minusOne, 8, 0),
	syscallAttempt("the limit of another", unix.SYS_PRLIMIT64, minusOne, 0, 0, 0),
	syscallAttempt("another filter", unix.SYS_SECCOMP, minusOne, 0, 0),
	syscallAttempt("landlock_create_ruleset", unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION),
	syscallAttempt("shmget", unix.SYS_SHMGET, 0, 0, 0),
	syscallAttempt("a pipe that blocks", unix.SYS_PIPE2, 0, unix.O_CLOEXEC),
	syscallAttempt("a splice that waits", unix.SYS_SPLICE, minusOne, 0, minusOne, 0, 0, unix.SPLICE_F_MOVE),
	syscallAttempt("the size of somebody's file", unix.SYS_FCNTL, minusOne, unix.F_ADD_SEALS, 0),
	syscallAttempt("a number that is no call", 0x3fff),
	syscallAttempt("the other numbers of this machine", unix.SYS_READ|0x40000000, minusOne, 0, 0),
}

// forbiddenRole does what is forbidden, by its name, on the thread that entered the
// sandbox or on one that was there before.
func forbiddenRole(args []string) error {
	where, name := args[0], args[1]
	var thread chan<- func()
	if where == "another thread" {
		thread = elsewhere()
	}
	if _, err := Enter(Options{}); err != nil {
		return err
	}
	fmt.Println("entered")
	for _, f := range forbidden {
		if f.name == name {
			on(thread, func() { fmt.Println("not killed:", f.try()) })
			return nil
		}
	}
	return fmt.Errorf("no attempt %q", name)
}

// freelyRole does all of it without a sandbox.
func freelyRole([]string) error {
	for _, f := range forbidden {
		fmt.Fprintln(os.Stderr, f.name) // the last one is at fault
		if err := f.try(); errors.Is(err, unix.ENOSYS) {
			fmt.Println(f.name, "is not known to this kernel")
		}
	}
	return nil
}

func TestWhatIsForbiddenKills(t *testing.T) {
	for _, f := range forbidden {
		for _, where := range []string{"the thread that entered", "another thread"} {
			t.Run(f.name+"/"+where, func(t *testing.T) {
				t.Parallel()
				cmd := child(t, true, "forbidden", where, f.name)
				out, ws := run(t, cmd)
				if out != "entered\n" || !Killed(ws) {
					t.Errorf("it ended with %v and said %q", cmd.ProcessState, out)
				}
				if ws.CoreDump() {
					t.Error("and left a core")
				}
			})
		}
	}
}

// Without the sandbox nothing of it kills: it is the sandbox that does.
func TestWhatIsForbiddenDoesNotKillOutside(t *testing.T) {
	cmd := child(t, true, "freely")
	if out, ws := run(t, cmd); ws.ExitStatus() != 0 {
		t.Errorf("it ended with %v and said %q", cmd.ProcessState, out)
	}
}

func TestAKillIsExplained(t *testing.T) {
	cmd := child(t, true, "forbidden", "the thread that entered", "io_uring_setup")
	_, ws := run(t, cmd)
	pid := cmd.Process.Pid
	text := Explain(pid, ws)
	if !strings.HasPrefix(text, "killed by the sandbox: ") {
		t.Fatalf("explained as %q", text)
	}
	if Explain(pid, 9) != "" || Explain(pid, 0) != "" {
		t.Error("other ends are explained too")
	}
	// The kernel may not have written its line yet, or suppress it among so many.
	if !strings.Contains(text, "io_uring_setup (425)") && !strings.Contains(text, fmt.Sprintf("dmesg | grep 'type=1326 .* pid=%d '", pid)) {
		t.Errorf("explained as %q", text)
	}
}
