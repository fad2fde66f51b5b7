package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
)

// asOwnRoot runs the test once more, as root of a user and mount namespace of its
// own; it returns true in there, and false in the first run, when that is over.
func asOwnRoot(t *testing.T) bool {
	t.Helper()
	const variable = "FOOTBRIDGE_TEST_OWN_ROOT"
	if os.Getenv(variable) != "" {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v="+fmt.Sprint(testing.Verbose()))
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// smallDisk makes a file system of that many bytes the world's state folder.
func (w *world) smallDisk(bytes int) (dir string) {
	w.t.Helper()
	dir = filepath.Join(w.dir, "state")
	if err := errors.Join(os.Mkdir(dir, 0o700), unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes))); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			w.t.Error(err)
		}
	})
	return dir
}

// everything is what clients can see of networks and containers.
func everything(t *testing.T, e *Engine) string {
	t.Helper()
	ctx := context.Background()
	networks, err := e.NetworkList(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	list, err := e.ContainerList(ctx, api.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	out := asJSON(t, networks)
	for _, c := range list {
		in := e.testInspect(t, c.ID)
		code := in.State.ExitCode
		if in.State.Status == container.StateCreated {
			code = 0 // else that of a start that failed, which is told of there
		}
		out += "\n" + strings.Join([]string{in.Name, string(in.State.Status), fmt.Sprint(code), asJSON(t, in.NetworkSettings), asJSON(t, in.HostConfig)}, " ")
	}
	return out
}

// difference is the surroundings of the first one.
func difference(a, b string) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	around := func(s string) string { return s[max(0, i-60):min(len(s), i+60)] }
	return fmt.Sprintf("...%s...\n...%s...", around(a), around(b))
}

// With the disk full a request succeeds or changes nothing and says why; what
// runs goes on and can end; and with space again memory and disk agree, without
// anybody's doing.
func TestFullDisk(t *testing.T) {
	if !asOwnRoot(t) {
		return
	}
	w := newWorld(t)
	filler := filepath.Join(w.smallDisk(1<<20), "filler")
	testRefusals(t, w, 1, func() { fillDisk(t, filler) }, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	})
}

// The same where every write is refused, which stands for a quota and for a disk
// that has not a single page left.
func TestDiskThatTakesNothing(t *testing.T) {
	if !asOwnRoot(t) {
		return
	}
	signal.Ignore(unix.SIGXFSZ)
	var usual unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &usual); err != nil {
		t.Fatal(err)
	}
	limit := func(cur uint64) {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: cur, Max: usual.Max}); err != nil {
			t.Fatal(err)
		}
	}
	testRefusals(t, newWorld(t), 10, func() { limit(0) }, func() { limit(usual.Cur) })
}

// testRefusals asks for everything while the disk says no.
func testRefusals(t *testing.T, w *world, least int, deny, allow func()) {
	e := w.engine()
	ctx := context.Background()
	// Definitions that need pages of their own.
	big := func(c *container.Config) { c.Labels = map[string]string{"text": strings.Repeat("x", 9000)} }
	for _, n := range []string{"a", "b", "unused"} {
		e.testNetwork(t, network.CreateRequest{Name: n, Labels: map[string]string{"text": strings.Repeat("y", 9000)}})
	}
	for _, n := range []string{"joins", "leaves", "ends", "stops"} {
		e.testRun(t, spec{name: n, mode: "a", cfg: big, ports: map[string]string{"80/tcp": ""}})
	}
	e.testRun(t, spec{name: "gone", mode: "a", cfg: big, rm: true})
	for _, n := range []string{"named", "to-join", "to-leave", "to-start", "to-go"} {
		if _, err := e.testCreate(spec{name: n, mode: "a", cfg: big}); err != nil {
			t.Fatal(err)
		}
	}
	deny()
	disconnect := func(c string) error {
		return e.NetworkDisconnect(ctx, "a", network.DisconnectRequest{Container: c})
	}
	refused := 0
	wishes := []struct {
		what string
		ask  func() error
	}{
		{"create a container", func() error { _, err := e.testCreate(spec{name: "new", mode: "a", cfg: big}); return err }},
		{"create a network", func() error { _, err := e.NetworkCreate(ctx, network.CreateRequest{Name: "new"}); return err }},
		{"remove a network", func() error { return e.NetworkRemove(ctx, "unused") }},
		{"rename", func() error { return e.ContainerRename(ctx, "named", "renamed") }},
		{"connect one that is created", func() error { return connectTo(e, "b", "to-join", nil) }},
		{"disconnect one that is created", func() error { return disconnect("to-leave") }},
		{"connect one that runs", func() error { return connectTo(e, "b", "joins", nil) }},
		{"disconnect one that runs", func() error { return disconnect("leaves") }},
		{"start", func() error { return e.ContainerStart(ctx, "to-start") }},
		{"remove a container", func() error { return e.ContainerRemove(ctx, "to-go", api.RemoveOptions{}) }},
	}
	for _, wish := range wishes {
		before, links := everything(t, e), len(w.links())
		err := wish.ask()
		deny() // also of what a success has freed
		after := everything(t, e)
		if err == nil {
			continue
		}
		refused++
		if !strings.Contains(err.Error(), "no space left on device") && !strings.Contains(err.Error(), "file too large") {
			t.Errorf("%s: %v", wish.what, err)
		}
		if errdefs.IsInvalidArgument(err) || errdefs.IsNotFound(err) {
			t.Errorf("%s: the client is blamed: %v", wish.what, err)
		}
		if before != after || links != len(w.links()) {
			t.Errorf("%s: half done: %s", wish.what, difference(before, after))
		}
		w.checkConsistent(e, wish.what)
	}
	// The state file may have had room inside: it is used up then.
	for i := 0; refused < least && i < 200; i++ {
		if _, err := e.testCreate(spec{name: "more" + itoa(i), mode: "a", cfg: big}); err != nil {
			if !strings.Contains(err.Error(), "no space left on device") && !strings.Contains(err.Error(), "file too large") {
				t.Fatalf("create one more: %v", err)
			}
			refused++
		}
		deny()
	}
	if refused < least {
		t.Errorf("%d of %d requests were refused: the disk was not full", refused, len(wishes))
	}
	w.process(e, "ends").end(7)
	w.process(e, "gone").end(0)
	e.testStop(t, "stops")
	if code := e.testInspect(t, "stops").State.ExitCode; code != 143 {
		t.Errorf("stopped with %d", code)
	}
	allow()
	eventually(t, "what was refused is made good", func() bool {
		for _, c := range e.allContainers() {
			e.mu.Lock()
			waiting := c.refused != nil
			e.mu.Unlock()
			if waiting {
				return false
			}
		}
		_, err := e.ContainerInspect(ctx, "gone")
		return errdefs.IsNotFound(err) && !e.testInspect(t, "ends").State.Running
	})
	for _, wish := range wishes {
		if err := wish.ask(); err != nil && (strings.Contains(err.Error(), "no space") || strings.Contains(err.Error(), "too large")) {
			t.Errorf("%s, with space: %v", wish.what, err)
		}
	}
	before := everything(t, e)
	e = w.restart(e)
	if after := everything(t, e); before != after {
		t.Errorf("memory and disk: %s", difference(before, after))
	}
}

// fillDisk takes what is left on the disk.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
