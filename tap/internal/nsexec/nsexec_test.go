package nsexec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

// The programs that this test binary can be.
const (
	tellName     = "nsexec-tell"     // tells about itself on fd 3
	hangName     = "nsexec-hang"     // never ends
	panicName    = "nsexec-panic"    // ends badly
	filteredName = "nsexec-filtered" // starts tellName under a seccomp filter
)

// testEnv is the processes' environment. With the race detector a process sleeps a
// second before it ends, unless told not to.
var testEnv = []string{"GORACE=atexit_sleep_ms=0"}

func TestMain(m *testing.M) { nstest.Main(m, dispatch) }

func dispatch() {
	switch {
	case IsHelper(os.Args, tellName):
		tell()
	case IsHelper(os.Args, hangName):
		_, _ = unix.Write(3, []byte("{}"))
		for {
			_ = unix.Pause()
		}
	case IsHelper(os.Args, panicName):
		panic("on purpose")
	case len(os.Args) > 1 && os.Args[1] == filteredName:
		filtered(os.Args[2:])
	default:
		return
	}
	os.Exit(0)
}

// A report is what a started process says about itself.
type report struct {
	User, Net string // identities of its namespaces
	Env       []string
	Open      []string // its descriptors except 0-3 and the runtime's own
	NetAdmin  bool
}

func tell() {
	var r report
	r.User, _ = os.Readlink("/proc/self/ns/user")
	r.Net, _ = os.Readlink("/proc/self/ns/net")
	r.Env = os.Environ()
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		own := strings.Contains(target, "eventpoll") || strings.Contains(target, "eventfd") ||
			strings.HasPrefix(target, "/sys/fs/cgroup/") || strings.HasSuffix(target, "/fd")
		if err != nil || own || slices.Contains([]string{"0", "1", "2", "3"}, e.Name()) {
			continue
		}
		r.Open = append(r.Open, e.Name()+" "+target)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	_ = unix.Capget(&header, &data[0])
	r.NetAdmin = data[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0
	b, _ := json.Marshal(r)
	_, _ = unix.Write(3, b)
}

func namespaces(t testing.TB, pid int) (user, net *os.File) {
	t.Helper()
	for _, ns := range []struct {
		name string
		to   **os.File
	}{{"user", &user}, {"net", &net}} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, ns.name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		*ns.to = f
	}
	return user, net
}

// socketPair returns our end and the one for the process.
func socketPair(t testing.TB) (ours, theirs *os.File) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs = os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

func start(t testing.TB, ctx context.Context, w *nstest.World, arg0 string, methods ...Method) (*Process, *os.File) {
	t.Helper()
	user, net := namespaces(t, w.Pid)
	ours, theirs := socketPair(t)
	p, err := Start(ctx, Spec{User: user, Net: net, Arg0: arg0, Env: testEnv, Socket: theirs, Methods: methods})
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	return p, ours
}

func TestTheCallerStaysAsTraceableAsItWas(t *testing.T) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	w := nstest.New(t, 0)
	for _, arg0 := range []string{tellName, "\x00"} { // one that starts, one that cannot
		user, net := namespaces(t, w.Pid)
		_, theirs := socketPair(t)
		p, err := Start(t.Context(), Spec{User: user, Net: net, Arg0: arg0, Env: testEnv, Socket: theirs, Methods: []Method{Native}})
		if (err == nil) != (arg0 == tellName) {
			t.Errorf("Start of %q: %v", arg0, err)
		}
		if err == nil {
			_ = p.Wait()
		}
		if got, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || got != 1 {
			t.Errorf("dumpable is %d after Start (%v), want 1", got, err)
		}
	}
}

// noZombie fails when a child has ended that nobody reaped.
func noZombie(t testing.TB) {
	t.Helper()
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err == nil && info.Signo != 0 {
		t.Error("a child has ended and is a zombie")
	} else if err != nil && !errors.Is(err, unix.ECHILD) {
		t.Error("waitid:", err)
	}
}

func TestStartsInTheNamespaces(t *testing.T) {
	for _, method := range []Method{Native, Nsenter} {
		t.Run(string(method), func(t *testing.T) {
			// A descriptor that somebody forgot to mark close-on-exec.
			leak, err := unix.Open("/dev/zero", unix.O_RDONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(leak)

			w := nstest.New(t, 0)
			p, ours := start(t, t.Context(), w, tellName, method)
			said, err := io.ReadAll(ours)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Wait(); err != nil {
				t.Fatal(err)
			}
			if p.Method != method {
				t.Errorf("came in by %s, asked for %s", p.Method, method)
			}
			var r report
			if err := json.Unmarshal(said, &r); err != nil {
				t.Fatalf("%v: %q", err, said)
			}
			for _, ns := range []struct{ name, got string }{{"user", r.User}, {"net", r.Net}} {
				want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", w.Pid, ns.name))
				if err != nil || ns.got != want {
					t.Errorf("it is in %s, not in %s (%v)", ns.got, want, err)
				}
			}
			if !slices.Equal(r.Env, testEnv) {
				t.Errorf("its environment is %q", r.Env)
			}
			if !r.NetAdmin {
				t.Error("it has no CAP_NET_ADMIN")
			}
			if method == Native && len(r.Open) != 0 {
				t.Errorf("it inherited %q", r.Open)
			}
			noZombie(t)
		})
	}
}

func TestNativeKeepsNetAdminForAnOrdinaryUIDOfTheNamespace(t *testing.T) {
	p, ours := start(t, t.Context(), nstest.New(t, 1000), tellName, Native)
	said, _ := io.ReadAll(ours)
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(said, &r); err != nil || !r.NetAdmin {
		t.Errorf("no CAP_NET_ADMIN as uid 1000 of the namespace (%v, %q)", err, said)
	}
}

func TestAFailingStepIsNamed(t *testing.T) {
	w := nstest.New(t, 0)
	user, net := namespaces(t, w.Pid)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, test := range []struct {
		what string
		spec Spec
		step string
		err  error
	}{
		{"a file that is no user namespace", Spec{User: null, Net: net}, "setns(user)", unix.EINVAL},
		{"a file that is no network namespace", Spec{User: user, Net: null}, "setns(net)", unix.EINVAL},
		{"a user namespace in place of a network namespace", Spec{User: user, Net: user}, "setns(net)", unix.EINVAL},
	} {
		_, theirs := socketPair(t)
		test.spec.Socket, test.spec.Arg0, test.spec.Env = theirs, tellName, testEnv
		_, err := Start(t.Context(), test.spec)
		var enter *EnterError
		if !errors.As(err, &enter) || enter.Step != test.step || !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %v at %s", test.what, err, test.err, test.step)
		}
	}
	noZombie(t)
}

func TestWithoutTheUserNamespaceTheNetworkIsClosed(t *testing.T) {
	_, net := namespaces(t, nstest.New(t, 0).Pid)
	_, theirs := socketPair(t)
	p, err := Start(t.Context(), Spec{Net: net, Arg0: tellName, Env: testEnv, Socket: theirs, Methods: []Method{Native}})
	if os.Geteuid() == 0 { // a user namespace's root, which has the power
		if err == nil {
			err = p.Wait()
		}
		if err != nil {
			t.Error(err)
		}
		return
	}
	var enter *EnterError
	if !errors.As(err, &enter) || enter.Step != "setns(net)" || !errors.Is(err, unix.EPERM) {
		t.Errorf("Start: %v, want EPERM at setns(net)", err)
	}
	noZombie(t)
}

func TestTheContextEndsTheProcess(t *testing.T) {
	for _, method := range []Method{Native, Nsenter} {
		ctx, cancel := context.WithCancel(t.Context())
		p, ours := start(t, ctx, nstest.New(t, 0), hangName, method)
		if _, err := io.ReadFull(ours, make([]byte, 2)); err != nil { // it runs
			t.Fatal(err)
		}
		cancel()
		var exit *ExitError
		if err := p.Wait(); !errors.As(err, &exit) || !strings.Contains(err.Error(), "killed") {
			t.Errorf("%s: Wait after the context's end: %v, want killed", method, err)
		}
		if err := unix.Kill(p.Pid, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("%s: process %d is still there: %v", method, p.Pid, err)
		}
	}
	noZombie(t)
}

func TestADeadContextStartsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Spec{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start: %v, want context.Canceled", err)
	}
}

func TestABadEndTellsWhatItSaid(t *testing.T) {
	p, _ := start(t, t.Context(), nstest.New(t, 0), panicName, Native)
	var exit *ExitError
	if err := p.Wait(); !errors.As(err, &exit) || !strings.Contains(exit.Stderr, "on purpose") {
		t.Errorf("Wait: %v, want the panic's text", err)
	}
}

func TestManyStartsAtOnce(t *testing.T) {
	w := nstest.New(t, 0)
	user, net := namespaces(t, w.Pid)
	done := make(chan error)
	const starts = 16
	for range starts {
		go func() {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				done <- err
				return
			}
			ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
			defer ours.Close()
			p, err := Start(t.Context(), Spec{User: user, Net: net, Arg0: tellName, Env: testEnv, Socket: theirs})
			theirs.Close()
			if err == nil {
				// End of file comes only if no other child holds a copy of the socket.
				_, err = io.ReadAll(ours)
			}
			if err == nil {
				err = p.Wait()
			}
			done <- err
		}()
	}
	for range starts {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	noZombie(t)
}

func TestNsenterIsUsedWhereForkIsForbidden(t *testing.T) {
	got := runFiltered(t, "fork")
	if got.Method != Nsenter || !strings.Contains(got.Skipped, "native: fork: operation not permitted") {
		t.Errorf("came in by %q, native said %q; want nsenter, because fork is not permitted", got.Method, got.Skipped)
	}
}

func TestExecveIsUsedWhereExecveatIsForbidden(t *testing.T) {
	if got := runFiltered(t, "execveat"); got.Method != Native || got.Skipped != "" {
		t.Errorf("came in by %q (%s), want native", got.Method, got.Skipped)
	}
}

func TestAllDescriptorsAreCopiedWithoutCloseRange(t *testing.T) {
	if got := runFiltered(t, "close_range"); got.Method != Native || got.Skipped != "" {
		t.Errorf("came in by %q (%s), want native", got.Method, got.Skipped)
	}
}

type outcome struct {
	Method  Method
	Skipped string
	Report  report
}

// runFiltered has a process that may not do one thing start tellName.
func runFiltered(t *testing.T, forbid string) outcome {
	t.Helper()
	w := nstest.New(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", filteredName, forbid, fmt.Sprint(w.Pid))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("under the filter: %v\n%s", err, stderr.Bytes())
	}
	var o outcome
	if err := json.Unmarshal(out, &o); err != nil {
		t.Fatal(err)
	}
	if want, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", w.Pid)); o.Report.Net != want || !o.Report.NetAdmin {
		t.Errorf("it came to %+v, not to %s with CAP_NET_ADMIN", o.Report, want)
	}
	return o
}

// filtered is the process under the filter.
func filtered(args []string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	fail(Prepare())
	fail(forbid(args[0]))
	var files []*os.File
	for _, name := range []string{"user", "net"} {
		f, err := os.Open("/proc/" + args[1] + "/ns/" + name)
		fail(err)
		files = append(files, f)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	fail(err)
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	p, err := Start(context.Background(), Spec{User: files[0], Net: files[1], Arg0: tellName, Env: testEnv, Socket: theirs})
	fail(err)
	theirs.Close()
	o := outcome{Method: p.Method}
	if p.Skipped != nil {
		o.Skipped = p.Skipped.Error()
	}
	fail(json.NewDecoder(ours).Decode(&o.Report))
	fail(p.Wait())
	fail(json.NewEncoder(os.Stdout).Encode(o))
}

// forbid makes a system call give EPERM in all threads: "fork" is clone with just
// the flags of this package. os/exec has one more, for a pidfd.
func forbid(what string) error {
	const (
		nr   = 0  // seccomp_data.nr
		arg0 = 16 // low half of args[0], little endian
	)
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	give := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	var filter []unix.SockFilter
	switch what {
	case "fork":
		filter = []unix.SockFilter{
			load(nr), jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 2),
			load(arg0), jump(unix.BPF_JEQ, cloneFlags|shareFiles|uint32(unix.SIGCHLD), 1, 0),
			give(unix.SECCOMP_RET_ALLOW),
			give(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)),
		}
	case "execveat":
		filter = []unix.SockFilter{
			load(nr), jump(unix.BPF_JEQ, unix.SYS_EXECVEAT, 1, 0),
			give(unix.SECCOMP_RET_ALLOW),
			give(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)),
		}
	case "close_range": // as before Linux 5.9
		filter = []unix.SockFilter{
			load(nr), jump(unix.BPF_JEQ, unix.SYS_CLOSE_RANGE, 1, 0),
			give(unix.SECCOMP_RET_ALLOW),
			give(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)),
		}
	default:
		return fmt.Errorf("cannot forbid %q", what)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, e := syscall.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return e
	}
	return nil
}

func TestIsHelper(t *testing.T) {
	for _, test := range []struct {
		args []string
		want bool
	}{
		{[]string{"x"}, true},
		{[]string{"/proc/self/fd/6", "x"}, true},
		{[]string{"y"}, false},
		{[]string{"/usr/bin/footbridge", "x"}, false},
		{[]string{"x", "x"}, false},
		{nil, false},
	} {
		if got := IsHelper(test.args, "x"); got != test.want {
			t.Errorf("IsHelper(%q) = %v", test.args, got)
		}
	}
}

// openMany makes this process hold n descriptors more.
func openMany(t testing.TB, n int) {
	t.Helper()
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	if l.Cur < l.Max {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: l.Max, Max: l.Max}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatalf("descriptor %d of %d: %v", i+1, n, err)
		}
		t.Cleanup(func() { unix.Close(fd) })
	}
}

// What a child is to copy is settled before the daemon has many descriptors, and stays so.
func TestTheChildTakesFewOfManyDescriptors(t *testing.T) {
	if err := Prepare(); err != nil {
		t.Fatal(err)
	}
	openMany(t, 500)
	w := nstest.New(t, 0)
	p, ours := start(t, t.Context(), w, tellName, Native)
	var r report
	if err := json.NewDecoder(ours).Decode(&r); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	if len(r.Open) > 0 {
		t.Errorf("the child has %q open", r.Open)
	}
	k, err := kept()
	if err != nil || k.above > 200 {
		t.Errorf("the child copies descriptors below %d (%v)", k.above, err)
	}
	for _, fd := range []int{k.null, k.socket, k.stderr, k.failures} {
		if target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil || target != os.DevNull {
			t.Errorf("descriptor %d, lent for a child, is %s afterwards (%v)", fd, target, err)
		}
	}
}

// BenchmarkStart measures entering, exec, the Go runtime's start and the end; with the descriptors of a daemon of 1,000
// containers, too.
func BenchmarkStart(b *testing.B) {
	w := nstest.New(b, 0)
	user, net := namespaces(b, w.Pid)
	for _, c := range []struct {
		method Method
		more   int
	}{{Native, 0}, {Native, 7000}, {Nsenter, 0}} {
		b.Run(fmt.Sprintf("%s/%d", c.method, c.more), func(b *testing.B) {
			openMany(b, c.more)
			b.ResetTimer()
			for range b.N {
				ours, theirs := socketPair(b)
				p, err := Start(b.Context(), Spec{User: user, Net: net, Arg0: tellName, Env: testEnv, Socket: theirs, Methods: []Method{c.method}})
				if err != nil {
					b.Fatal(err)
				}
				if err := p.Wait(); err != nil {
					b.Fatal(err)
				}
				ours.Close()
				theirs.Close()
			}
		})
	}
}
