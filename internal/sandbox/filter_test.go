package sandbox

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// machine runs a program on struct seccomp_data as the kernel lays it out. bpf.VM reads
// big-endian words, as the kernel does native ones.
type machine struct{ vm *bpf.VM }

func newMachine(t *testing.T, calls []call) machine {
	t.Helper()
	program, err := compile(calls)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bpf.Assemble(program); err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	return machine{vm}
}

func (m machine) decide(t *testing.T, arch uint32, nr uintptr, args ...uint64) uint32 {
	t.Helper()
	data := make([]byte, offsetArgs+6*8)
	binary.BigEndian.PutUint32(data[offsetNr:], uint32(nr))
	binary.BigEndian.PutUint32(data[offsetArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offsetArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offsetArgs+8*i+4:], uint32(a>>32))
	}
	action, err := m.vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(action)
}

const (
	allowed = uint32(unix.SECCOMP_RET_ALLOW)
	killed  = uint32(unix.SECCOMP_RET_KILL_PROCESS)
)

func TestAProgramDecidesAsItsListSays(t *testing.T) {
	m := newMachine(t, []call{
		allow(1, "always", ""),
		allow(2, "values", "", is(1, 5, 6, 7)),
		allow(3, "both", "", is(0, 1, 2), masked(5, 0xf0, 0x10, 0x20)),
		allow(3, "or else", "", is(0, 9)),
		refuse(4, "refused", unix.ENOSYS, ""),
		allow(5, "some", "", without(2, 4)),
		refuse(5, "others", unix.EACCES, ""),
		allow(5, "too late", ""),
	})
	for _, c := range []struct {
		nr   uintptr
		args []uint64
		want uint32
	}{
		{0, nil, killed},
		{6, nil, killed},
		{1, nil, allowed},
		{1, []uint64{1 << 40, 2, 3}, allowed},
		{2, []uint64{5, 0}, killed},
		{2, []uint64{0, 5}, allowed},
		{2, []uint64{0, 6}, allowed},
		{2, []uint64{0, 7}, allowed},
		{2, []uint64{0, 8}, killed},
		{2, []uint64{0, 1<<32 | 5}, killed},
		{3, []uint64{1, 0, 0, 0, 0, 0x1f}, allowed},
		{3, []uint64{2, 0, 0, 0, 0, 0xf2f}, allowed},
		{3, []uint64{2, 0, 0, 0, 0, 0x30}, killed},
		{3, []uint64{2, 0, 0, 0, 0, 1<<32 | 0x10}, killed},
		{3, []uint64{3, 0, 0, 0, 0, 0x10}, killed},
		{3, []uint64{9, 0, 0, 0, 0, 0}, allowed},
		{4, []uint64{1}, unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{5, []uint64{0, 0, 3}, allowed},
		{5, []uint64{0, 0, 4}, unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)},
	} {
		if got := m.decide(t, auditArch, c.nr, c.args...); got != c.want {
			t.Errorf("call %d%d: %#x, want %#x", c.nr, c.args, got, c.want)
		}
		if got := m.decide(t, auditArch^1, c.nr, c.args...); got != killed {
			t.Errorf("call %d of another architecture: %#x", c.nr, got)
		}
	}
}

func TestARowThatCannotBeIsRefused(t *testing.T) {
	for name, c := range map[string]call{
		"no values":        allow(1, "x", "", is(0)),
		"a 7th argument":   allow(1, "x", "", is(6, 1)),
		"256 values":       allow(1, "x", "", is(0, make([]uint32, 256)...)),
		"too far together": allow(1, "x", "", is(0, make([]uint32, 128)...), is(1, make([]uint32, 128)...)),
	} {
		if _, err := compile([]call{c}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTheListIsInOrder(t *testing.T) {
	calls := list(1, 0)
	always := make(map[uintptr]bool)
	names := make(map[uintptr]string)
	for _, c := range calls {
		if c.name == "" || c.why == "" {
			t.Errorf("call %d %q has no name or no reason", c.nr, c.name)
		}
		if always[c.nr] {
			t.Errorf("a row of %s comes behind one that allows it always", c.name)
		}
		always[c.nr] = len(c.args) == 0
		if n, ok := names[c.nr]; ok && n != c.name {
			t.Errorf("call %d is %s and %s", c.nr, n, c.name)
		}
		names[c.nr] = c.name
		if name, ok := others[c.nr]; ok && always[c.nr] && c.errno == 0 {
			t.Errorf("%s is allowed", name)
		}
	}
	program, err := compile(calls)
	if err != nil {
		t.Fatal(err)
	}
	if len(program) > 4096 { // BPF_MAXINSNS
		t.Errorf("%d instructions", len(program))
	}
	t.Logf("%d rows, %d calls, %d instructions", len(calls), len(names), len(program))
}

// What a program may do with its sockets and memory is said by arguments.
func TestTheListLooksAtArguments(t *testing.T) {
	m := newMachine(t, list(1234, 7))
	refused := func(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }
	for _, c := range []struct {
		nr   uintptr
		args []uint64
		want uint32
	}{
		{unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK, 0}, allowed},
		{unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6}, allowed},
		{unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6}, killed},
		{unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_UDP}, killed},
		{unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_RAW, 0}, killed},
		{unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_SEQPACKET, 0}, killed},
		{unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, killed},
		{unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, 0}, refused(unix.EACCES)},
		{unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, refused(unix.EPROTONOSUPPORT)},
		{unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_MPTCP}, killed},
		{unix.SYS_MMAP, []uint64{0, 1 << 40, unix.PROT_NONE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS}, allowed},
		{unix.SYS_MMAP, []uint64{0, 1, unix.PROT_READ | unix.PROT_WRITE, 0x8 | unix.MAP_ANONYMOUS}, allowed}, // vgetrandom's
		{unix.SYS_MMAP, []uint64{0, 1, unix.PROT_EXEC, unix.MAP_ANONYMOUS}, killed},
		{unix.SYS_MMAP, []uint64{0, 1, unix.PROT_READ, unix.MAP_SHARED}, killed},
		{unix.SYS_CLONE, []uint64{threadFlags}, allowed},
		{unix.SYS_CLONE, []uint64{threadFlags | threadExtras}, allowed},
		{unix.SYS_CLONE, []uint64{threadFlags &^ unix.CLONE_THREAD}, killed},
		{unix.SYS_CLONE, []uint64{threadFlags | unix.CLONE_NEWNET}, killed},
		{unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, killed},
		{unix.SYS_CLONE3, nil, refused(unix.ENOSYS)},
		{unix.SYS_TGKILL, []uint64{1234, 1, 6}, allowed},
		{unix.SYS_TGKILL, []uint64{1235, 1, 6}, killed},
		{unix.SYS_PRLIMIT64, []uint64{0, 7, 0, 1 << 40}, allowed},
		{unix.SYS_PRLIMIT64, []uint64{0, 7, 1 << 40, 0}, killed},
		{unix.SYS_PRLIMIT64, []uint64{1, 7, 0, 0}, killed},
		{unix.SYS_FCNTL, []uint64{3, unix.F_SETFL, unix.O_RDWR | unix.O_NONBLOCK | 0x8000}, allowed},
		{unix.SYS_FCNTL, []uint64{3, unix.F_SETFL, unix.O_ASYNC}, killed},
		{unix.SYS_FCNTL, []uint64{3, unix.F_SETLEASE, 0}, killed},
		{unix.SYS_FCNTL, []uint64{3, unix.F_SETFL, unix.O_RDWR | 0x8000}, killed}, // it would block
		{unix.SYS_FCNTL, []uint64{6, unix.F_DUPFD_CLOEXEC, 0}, allowed},
		{unix.SYS_FCNTL, []uint64{7, unix.F_DUPFD_CLOEXEC, 0}, killed},
		{unix.SYS_FCNTL, []uint64{7 | 1<<32, unix.F_DUPFD_CLOEXEC, 0}, killed}, // the kernel takes the lower half
		{unix.SYS_FCNTL, []uint64{7, unix.F_GETFL, 0}, allowed},
		{unix.SYS_BIND, []uint64{8, 0, 16}, allowed},
		{unix.SYS_BIND, []uint64{7, 0, 16}, killed},
		{unix.SYS_BIND, []uint64{7 | 1<<32, 0, 16}, killed},
		{unix.SYS_CONNECT, []uint64{0, 0, 16}, allowed},
		{unix.SYS_CONNECT, []uint64{7, 0, 16}, killed},
		{unix.SYS_SHUTDOWN, []uint64{3, unix.SHUT_WR}, allowed},
		{unix.SYS_SHUTDOWN, []uint64{3, unix.SHUT_RD}, killed},
		{unix.SYS_SHUTDOWN, []uint64{3, unix.SHUT_RDWR}, killed},
		{unix.SYS_PRCTL, []uint64{unix.PR_SET_VMA, 0}, allowed},
		{unix.SYS_PRCTL, []uint64{unix.PR_SET_SECCOMP, 0}, killed},
		{unix.SYS_READ | 0x40000000, nil, killed},
	} {
		if got := m.decide(t, auditArch, c.nr, c.args...); got != c.want {
			t.Errorf("call %d%d: %#x, want %#x", c.nr, c.args, got, c.want)
		}
	}
}

func TestNamesOfCalls(t *testing.T) {
	for nr, want := range map[uintptr]string{
		unix.SYS_OPENAT: fmt.Sprintf("openat (%d)", unix.SYS_OPENAT),
		unix.SYS_SOCKET: "with other arguments",
		4000:            "4000",
	} {
		if got := nameOf(nr); !strings.Contains(got, want) {
			t.Errorf("%d is called %q", nr, got)
		}
	}
}
