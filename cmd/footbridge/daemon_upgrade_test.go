package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/store"
)

// brokenVariable makes the program that is executed by an upgrade fail at its start.
const brokenVariable = "FOOTBRIDGE_TEST_BROKEN"

// breakStart spoils the environment of a daemon that was just upgraded to, and not of
// the one that is gone back to.
func breakStart() {
	var h history
	if json.Unmarshal([]byte(os.Getenv(historyVariable)), &h) != nil {
		return
	}
	good := os.Getenv(brokenVariable)
	if h.Error == "" {
		os.Setenv(brokenVariable, os.Getenv("XDG_RUNTIME_DIR"))
		good = "/" + strings.Repeat("long", 50)
	}
	os.Setenv("XDG_RUNTIME_DIR", good)
}

// testBinary is this test's program, in a file that an upgrade accepts.
func testBinary(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "footbridge")
	if err := os.Link(exe, path); err != nil {
		b, err := os.ReadFile(exe)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func (w *world) status(t *testing.T) api.Status {
	t.Helper()
	client, err := w.runningDaemon(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The daemon becomes another program in the same process, and every request that comes
// meanwhile is served by the one or the other.
func TestUpgrade(t *testing.T) {
	w := newWorld(t)
	w.stopAtEnd(t)
	w.expect(t, 0, "network", "create", "kept")
	before := w.status(t)
	binary := testBinary(t)

	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 3 {
		clients.Go(func() {
			client, err := w.daemon(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer client.Close()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("n%d-%d", i, n)
				if err := networkOnce(t, client, name); err != nil {
					t.Errorf("client %d, request %d: %v", i, n, err)
					return
				}
			}
		})
	}
	for range 3 {
		w.expect(t, 0, "daemon", "upgrade", "--binary", binary)
		want := fmt.Sprintf("footbridge daemon (pid %d): %s -> %s\n", before.PID, before.Version, before.Version)
		if w.out.String() != want {
			t.Errorf("said %q, want %q", w.out.String(), want)
		}
	}
	close(stop)
	clients.Wait()

	after := w.status(t)
	if after.PID != before.PID || !after.StartedAt.After(before.StartedAt) {
		t.Errorf("process %d since %v, was %d since %v", after.PID, after.StartedAt, before.PID, before.StartedAt)
	}
	if u := after.Upgrade; u == nil || u.Error != "" || u.From != before.Version {
		t.Errorf("status tells of the upgrade %+v", u)
	}
	if exe, err := os.Readlink("/proc/" + strconv.Itoa(after.PID) + "/exe"); err != nil || exe != binary {
		t.Errorf("the daemon's program is %s (%v), want %s", exe, err, binary)
	}
	w.expect(t, 0, "network", "inspect", "kept")
	d, err := w.dirs()
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := findDaemon(d); err != nil || pid != before.PID {
		t.Errorf("the lock is held by %d (%v), want %d", pid, err, before.PID)
	}
	w.expect(t, 0, "daemon", "stop")
	if entries, err := filepath.Glob(filepath.Join(d.runtime, "*.sock")); err != nil || len(entries) > 0 {
		t.Errorf("sockets %v are left (%v)", entries, err)
	}
}

// networkOnce makes a network and removes it: requests that must not be done twice.
func networkOnce(t *testing.T, client *api.Client, name string) error {
	if _, err := client.NetworkCreate(t.Context(), network.CreateRequest{Name: name}); err != nil {
		return err
	}
	return client.NetworkRemove(t.Context(), name)
}

// The default is the program that the user calls.
func TestUpgradeToThisProgram(t *testing.T) {
	w := newWorld(t)
	w.stopAtEnd(t)
	w.expect(t, 1, "daemon", "upgrade")
	if !strings.Contains(w.err.String(), "none is running") {
		t.Errorf("said %q", w.err.String())
	}
	w.expect(t, 0, "ps", "-q")
	pid := w.status(t).PID
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(exe); err != nil || st.Mode()&0o022 != 0 {
		if err := os.Chmod(exe, 0o755); err != nil { // as the umask made it
			t.Fatal(err)
		}
	}
	w.expect(t, 0, "daemon", "upgrade")
	if got := w.status(t).PID; got != pid {
		t.Errorf("process %d, was %d", got, pid)
	}
}

// What cannot take over is not executed, and the error says what to do.
func TestUpgradeToWhatCannot(t *testing.T) {
	w := newWorld(t)
	w.stopAtEnd(t)
	w.expect(t, 0, "ps", "-q")
	before := w.status(t)
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.Symlink(testBinary(t), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ path, says string }{
		{filepath.Join(dir, "nothing"), "no such file"},
		{dir, "not a file"},
		{file("data", "x", 0o644), "chmod +x"},
		{file("open", "x", 0o777), "chmod go-w"},
		{file("text", "x", 0o755), "cannot take over"},
		{"/bin/false", "cannot take over"},
		{"/bin/true", "cannot take over"},
	} {
		w.expect(t, 1, "daemon", "upgrade", "--binary", row.path)
		if said := w.err.String(); !strings.Contains(said, errUpgrade.Error()) || !strings.Contains(said, row.says) {
			t.Errorf("%s: said %q, want %q", row.path, said, row.says)
		}
	}
	// The API takes nothing but what it can open itself.
	client, err := w.runningDaemon(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{"footbridge": "absolute", filepath.Join(dir, "link"): "symbolic link"} {
		if _, err := client.Upgrade(t.Context(), api.UpgradeRequest{Binary: path}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", path, err, says)
		}
	}
	if after := w.status(t); after.PID != before.PID || !after.StartedAt.Equal(before.StartedAt) || after.Upgrade != nil {
		t.Errorf("the daemon is %+v, was %+v", after, before)
	}
}

func TestAbilityCheck(t *testing.T) {
	own := ownAbility()
	for _, row := range []struct {
		other ability
		says  string
	}{
		{ability{Version: "9", HandOver: own.HandOver, State: own.State}, ""},
		{ability{Version: "9", HandOver: own.HandOver, State: own.State + 1}, ""},
		{ability{Version: "9", HandOver: own.HandOver + 1, State: own.State}, "daemon stop"},
		{ability{Version: "9", HandOver: own.HandOver - 1, State: own.State}, "daemon stop"},
		{ability{Version: "9", HandOver: own.HandOver, State: store.Version - 1}, "newer program"},
	} {
		err := row.other.check("/x")
		if (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%+v: %v", row.other, err)
		}
	}
}

// A program that fails when it is the daemon gives way to the one before.
func TestUpgradeToWhatDoesNotStart(t *testing.T) {
	w := newWorld(t)
	w.stopAtEnd(t)
	w.environ = append(w.environ, brokenVariable+"=1")
	w.expect(t, 0, "ps", "-q")
	before := w.status(t)
	w.expect(t, 1, "daemon", "upgrade", "--binary", testBinary(t))
	said := w.err.String()
	for _, want := range []string{errUpgrade.Error(), "could not start", before.Version + " goes on", "too long"} {
		if !strings.Contains(said, want) {
			t.Errorf("said %q, which lacks %q", said, want)
		}
	}
	after := w.status(t)
	if after.PID != before.PID {
		t.Errorf("process %d, was %d", after.PID, before.PID)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if path, err := os.Readlink("/proc/" + strconv.Itoa(after.PID) + "/exe"); err != nil || path != exe {
		t.Errorf("the daemon's program is %s (%v), want %s", path, err, exe)
	}
	w.expect(t, 0, "daemon", "status")
	if !strings.Contains(w.out.String(), "failed") {
		t.Errorf("status: %s", w.out.String())
	}
}

// Children of the program before are reaped, so that they do not stay zombies.
func TestInheritedChildrenAreReaped(t *testing.T) {
	var pids []int
	for range 3 {
		p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, p.Pid)
	}
	children, err := childrenOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		found := false
		for _, child := range children {
			found = found || child == pid
		}
		if !found {
			t.Errorf("%d is not among the children %v", pid, children)
		}
	}
	reap(t.Context(), pids)
	for _, pid := range pids {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("%d is there still: %v", pid, err)
		}
	}
}
