package tap

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

func init() { nstest.Register("nested", runNested) }

func TestLookTellsWhatIsThere(t *testing.T) {
	w, ns := newWorld(t, 0)
	empty, err := Look(testContext(t), ns)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(empty.Interfaces, []string{"lo"}) || len(empty.Default4)+len(empty.Default6) > 0 {
		t.Errorf("an empty namespace has %+v", empty)
	}
	if (empty.Cookie != 0) != kernelAtLeast(t, 5, 14) {
		t.Errorf("cookie %d; it is in Linux 5.14", empty.Cookie)
	}
	w.Run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
	w.Run("ip", "addr", "add", "10.1.0.1/24", "dev", "veth0")
	w.Run("ip", "addr", "add", "fd00:1::1/64", "dev", "veth0", "nodad")
	w.Run("ip", "link", "set", "veth0", "up")
	w.Run("ip", "route", "add", "default", "via", "10.1.0.2")
	w.Run("ip", "-6", "route", "add", "default", "via", "fd00:1::2", "dev", "veth0", "metric", "7")
	w.Run("ip", "route", "add", "unreachable", "default", "metric", "9")
	full, err := Look(testContext(t), ns)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(full.Interfaces)
	want := View{Cookie: empty.Cookie, Interfaces: []string{"lo", "veth0", "veth1"}, Default4: []string{"veth0"}, Default6: []string{"veth0"}}
	if fmt.Sprint(full) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", full, want)
	}
	_, other := newWorld(t, 0)
	v, err := Look(testContext(t), other)
	if err != nil || v.Cookie == full.Cookie && v.Cookie != 0 {
		t.Errorf("another namespace: %+v, %v", v, err)
	}
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
	v, err := Look(testContext(t), ns)
	if err != nil || !slices.Contains(v.Interfaces, "eth0") {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestAViewIsBounded(t *testing.T) {
	for text, want := range map[string]string{
		`{"View":{"Interfaces":["a\u0007b"]}}`:                    "a b",
		`{"View":{"Interfaces":["0123456789abcdefg"]}}`:           "",
		`{"View":{"Default4":["0123456789abcdefg"]}}`:             "",
		`{"View":{"Interfaces":[` + many(maxInterfaces+1) + `]}}`: "",
		`{"View":{"Interfaces":[` + many(maxInterfaces) + `]}}`:   "a",
	} {
		r, err := decodeReply([]byte(text), request{Op: opLook}, 0)
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
