package tap

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

func init() {
	nstest.Register("nested", runNested)
	nstest.Register("mount", mountNamespace)
}

// mountNamespace mounts the caller's network namespace on a file, in a mount namespace
// that its thread gets for that, and returns the thread's number.
func mountNamespace(args []string) (string, error) {
	if err := os.WriteFile(args[0], nil, 0o600); err != nil {
		return "", err
	}
	runtime.LockOSThread()
	return strconv.Itoa(unix.Gettid()), errors.Join(unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS), unix.Mount("/proc/self/ns/net", args[0], "", unix.MS_BIND, ""))
}

func TestLookTellsWhatIsThere(t *testing.T) {
	w, ns := newWorld(t, 0)
	empty := mustLook(t, ns)
	if !slices.Equal(empty.Interfaces, []string{"lo"}) || len(empty.Default4)+len(empty.Default6) > 0 {
		t.Errorf("an empty namespace has %+v", empty)
	}
	if (empty.Cookie != 0) != kernelAtLeast(t, 5, 14) {
		t.Errorf("cookie %d; it is in Linux 5.14", empty.Cookie)
	}
	if empty.Loopback {
		t.Error("lo is up in new namespaces")
	}
	if err := Loopback(testContext(t), ns); err != nil {
		t.Fatal(err)
	}
	w.Run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
	w.Run("ip", "addr", "add", "10.1.0.1/24", "dev", "veth0")
	w.Run("ip", "addr", "add", "fd00:1::1/64", "dev", "veth0", "nodad")
	w.Run("ip", "link", "set", "veth0", "up")
	w.Run("ip", "route", "add", "default", "via", "10.1.0.2")
	w.Run("ip", "-6", "route", "add", "default", "via", "fd00:1::2", "dev", "veth0", "metric", "7")
	w.Run("ip", "route", "add", "unreachable", "default", "metric", "9")
	full := mustLook(t, ns)
	slices.Sort(full.Interfaces)
	want := View{Cookie: empty.Cookie, Interfaces: []string{"lo", "veth0", "veth1"}, Loopback: true, Default4: []string{"veth0"}, Default6: []string{"veth0"}}
	if fmt.Sprint(full) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", full, want)
	}
	_, other := newWorld(t, 0)
	if err := LoopbackDown(testContext(t), ns); err != nil || mustLook(t, ns).Loopback {
		t.Errorf("lo is not down: %v", err)
	}
	if v := mustLook(t, other); v.Cookie == full.Cookie && v.Cookie != 0 {
		t.Errorf("another namespace: %+v", v)
	}
}

func mustLook(t *testing.T, ns Namespaces) View {
	t.Helper()
	v, f, err := Look(testContext(t), ns)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if same, err := sameFile(int(f.Fd()), fmt.Sprintf("/proc/self/fd/%d", ns.Net.Fd())); err != nil || !same {
		t.Errorf("the handle is another namespace's (%v)", err)
	}
	return v
}

// The handle that was opened by the path of a mount keeps the mount; the one that Look
// gives does not.
func TestLookGivesAHandleThatKeepsNoMount(t *testing.T) {
	w := nstest.New(t, 0)
	mount := filepath.Join(os.TempDir(), "ns")
	path := fmt.Sprintf("/proc/%d/task/%s/root%s", w.Pid, w.MustCall("mount", mount), mount)
	ns, err := OpenNamespacePath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if out, err := w.Call("exec", "umount", mount); err == nil {
		t.Fatalf("the mount is not busy: %s", out)
	}
	_, f, err := Look(testContext(t), ns)
	if err != nil {
		t.Fatal(err)
	}
	ns.Net.Close()
	ns.Net = f
	w.Run("umount", mount)
	mustAttach(t, ns, testLink())
}

// In a namespace of others nothing of theirs is taken or changed.
func TestAGuestTakesNothing(t *testing.T) {
	w, ns := newWorld(t, 0)
	w.Run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
	o := testLink()
	o.Guest, o.Existing = true, Refuse
	o.Name = "veth0"
	if _, err := Attach(testContext(t), ns, o); !errors.Is(err, ErrExists) {
		t.Errorf("a name that is theirs: %v, want ErrExists", err)
	}
	const all = "net/ipv4/conf/all/accept_redirects"
	before := w.MustCall("sysctl", all)
	o.Name = "eth0"
	d := mustAttach(t, ns, o)
	if after := w.MustCall("sysctl", all); after != before || before != "1" {
		t.Errorf("%s was %s, and is %s", all, before, after)
	}
	if got := w.MustCall("sysctl", "net/ipv4/conf/eth0/accept_redirects"); got != "0" {
		t.Errorf("the interface's own accept_redirects is %s", got)
	}
	if lo := viewLink(t, w, "lo"); slices.Contains(lo.Flags, "UP") {
		t.Errorf("lo has flags %q", lo.Flags)
	}
	d.Close()
	// A TAP of ours that is left there is theirs, too.
	if _, err := Attach(testContext(t), ns, o); !errors.Is(err, ErrExists) {
		t.Errorf("again: %v, want ErrExists", err)
	}
	if err := Detach(testContext(t), ns, "eth0"); err != nil {
		t.Fatal(err)
	}
	mustAttach(t, ns, o)
}

// Power over a user namespace is power over those below.
func TestANamespaceBelowOneOfOursIsOurs(t *testing.T) {
	w, _ := newWorld(t, 0)
	pid, err := strconv.Atoi(w.MustCall("nested"))
	if err != nil {
		t.Fatal(err)
	}
	ns, err := OpenNamespaces(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	mustAttach(t, ns, testLink())
	if v := mustLook(t, ns); !slices.Contains(v.Interfaces, "eth0") {
		t.Errorf("%+v", v)
	}
}

func TestAViewIsBounded(t *testing.T) {
	for text, want := range map[string]string{
		`{"Queues":1,"View":{"Interfaces":["a\u0007b"]}}`:                  "a b",
		`{"View":{"Interfaces":["0123456789abcdefg"]}}`:                    "",
		`{"View":{"Default4":["0123456789abcdefg"]}}`:                      "",
		`{"View":{"Interfaces":[` + many(maxInterfaces+1) + `]}}`:          "",
		`{"Queues":1,"View":{"Interfaces":[` + many(maxInterfaces) + `]}}`: "a",
	} {
		r, err := decodeReply([]byte(text), request{Op: opLook}, 1)
		switch {
		case want == "" && !errors.Is(err, ErrReply):
			t.Errorf("%.60s: %v, want ErrReply", text, err)
		case want != "" && (err != nil || r.View.Interfaces[0] != want):
			t.Errorf("%.60s: %+v, %v", text, r.View, err)
		}
	}
}

func many(n int) string { return strings.TrimSuffix(strings.Repeat(`"a",`, n), ",") }

// runNested keeps a process running in namespaces below those of the caller, for as long
// as the caller lives.
func runNested([]string) (string, error) {
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 5, HostID: 0, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 5, HostID: 0, Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	runtime.LockOSThread() // whose end would be the parent's death
	err := cmd.Start()
	if err != nil {
		return "", err
	}
	return strconv.Itoa(cmd.Process.Pid), nil
}
