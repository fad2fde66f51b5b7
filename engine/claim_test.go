package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/engine/store"
)

// open starts an engine with the named folders of the world.
func (w *world) open(run, state string) (*Engine, error) {
	w.t.Helper()
	run, state = filepath.Join(w.dir, run, "footbridge"), filepath.Join(w.dir, state, "footbridge")
	for _, dir := range []string{run, state} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	e, err := New(Options{
		RuntimeDir: run, StateDir: state, Socket: filepath.Join(run, "sock"), ResolvConf: w.resolv, Runtime: fakeRuntime{w}, DataPlane: fakeDataPlane{w},
		HostRoutes: func() ([]HostRoute, error) { return w.routes, nil },
	})
	if err == nil {
		w.t.Cleanup(func() { _ = e.Close() })
	}
	return e, err
}

// Folders whose containers live are used together or not at all, whatever the
// environment says meanwhile.
func TestFoldersStayTogether(t *testing.T) {
	for _, test := range []struct {
		run, state string   // of the second engine; the first has r and s
		says       []string // after the directory of the world, what the refusal names
	}{
		{"r2", "s", []string{"/r/footbridge", "/r2/footbridge", "/s/footbridge", "XDG_RUNTIME_DIR=", "/r footbridge"}},
		{"r", "s2", []string{"/r/footbridge", "/s/footbridge", "/s2/footbridge", "XDG_STATE_HOME=", "/s footbridge"}},
	} {
		for _, mute := range []bool{false, true} {
			w := newWorld(t)
			e, err := w.open("r", "s")
			if err != nil {
				t.Fatal(err)
			}
			id := e.testRun(t, spec{name: "c"})
			p := w.process(e, id)
			before := e.testInspect(t, "c")
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			if mute {
				w.failAt("connect", errInjected)
			}
			_, err = w.open(test.run, test.state)
			if !errors.Is(err, ErrElsewhere) {
				t.Errorf("%s with %s, mute %v: %v", test.run, test.state, mute, err)
			} else {
				for _, part := range append(test.says, short(id)) {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q does not name %s", err, part)
					}
				}
			}
			w.failAt("connect", nil)
			if p.state.Status != shim.Running {
				t.Fatalf("the container is %s", p.state.Status)
			}
			if e, err = w.open("r", "s"); err != nil {
				t.Fatal(err)
			}
			after := e.testInspect(t, "c")
			if !after.State.Running || asJSON(t, before.NetworkSettings) != asJSON(t, after.NetworkSettings) {
				t.Errorf("before %+v, after %+v", before.NetworkSettings, after.NetworkSettings)
			}
			// With nothing alive the folders are free for others.
			e.testStop(t, "c")
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			if e, err = w.open(test.run, test.state); err != nil {
				t.Fatalf("nothing lives: %v", err)
			}
			e.testRun(t, spec{name: "next"})
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := w.open("r", "s"); !errors.Is(err, ErrElsewhere) {
				t.Errorf("the first ones: %v", err)
			}
		}
	}
}

// A runtime folder that was given to another state, or that is nobody's, keeps no
// state from being used.
func TestFoldersAreNotLocked(t *testing.T) {
	w := newWorld(t)
	for _, dirs := range [][2]string{{"r", "s"}, {"r", "s2"}} {
		e, err := w.open(dirs[0], dirs[1])
		if err != nil {
			t.Fatal(err)
		}
		if dirs[1] == "s2" {
			e.testRun(t, spec{name: "c"})
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.open("r3", "s"); err != nil {
		t.Errorf("the recorded runtime folder is another state's now: %v", err)
	}
	if err := os.Rename(filepath.Join(w.dir, "r"), filepath.Join(w.dir, "away")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.open("r4", "s2"); err != nil {
		t.Errorf("the recorded runtime folder is gone: %v", err)
	}
}

// waitForEver makes a wait for a lock that should not be one a test that hangs.
func waitForEver(t *testing.T) {
	t.Helper()
	before := claimPatience
	claimPatience = time.Hour
	t.Cleanup(func() { claimPatience = before })
}

// The state of a daemon that runs says which and where that daemon is, or was; nobody waits for it.
func TestFoldersOfAnotherDaemon(t *testing.T) {
	waitForEver(t)
	w := newWorld(t)
	if _, err := w.open("r", "s"); err != nil {
		t.Fatal(err)
	}
	folder := w.dir + "/r/footbridge"
	lock(t, folder+"/daemon.lock")
	if err := os.Remove(folder + "/daemon.lock"); err != nil {
		t.Fatal(err)
	}
	for _, run := range []string{"r", "r2"} {
		if _, err := w.open(run, "s"); !errors.Is(err, store.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprintf("(pid %d) has lost its socket in runtime folder %s", os.Getpid(), folder)) {
			t.Errorf("without a socket: %v", err)
		}
	}
	answer(t, folder+"/sock")
	if _, err := w.open("r2", "s"); !errors.Is(err, store.ErrBusy) || !strings.Contains(err.Error(), "XDG_RUNTIME_DIR="+w.dir+"/r footbridge daemon stop") {
		t.Errorf("beside a daemon: %v", err)
	}
}

// One that does not answer any more is about to end: its socket is open until it has let go of the state.
func TestADaemonThatEndsIsWaitedFor(t *testing.T) {
	waitForEver(t)
	w := newWorld(t)
	first, err := w.open("r", "s")
	if err != nil {
		t.Fatal(err)
	}
	lock(t, w.dir+"/r/footbridge/daemon.lock")
	l := listen(t, w.dir+"/r/footbridge/sock")
	closed := make(chan error, 1)
	go func() {
		// The second question shows that the first one, without an answer, has changed nothing.
		for range 2 {
			c, err := l.Accept()
			if err != nil {
				closed <- err
				return
			}
			defer c.Close()
		}
		closed <- first.Close()
	}()
	if _, err := w.open("r2", "s"); err != nil {
		t.Error(err)
	}
	l.Close()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// One that starts has no socket yet: it is not called lost, however long it takes.
func TestADaemonThatStartsIsNotLost(t *testing.T) {
	w := newWorld(t)
	if _, err := w.open("r", "s"); err != nil {
		t.Fatal(err)
	}
	lock(t, w.dir+"/r/footbridge/daemon.lock")
	waitForEver(t) // restores it
	claimPatience = 0
	if _, err := w.open("r2", "s"); !errors.Is(err, store.ErrBusy) || !strings.Contains(err.Error(), "use that one with `XDG_RUNTIME_DIR=") {
		t.Error(err)
	}
}

func TestInRuntimeDir(t *testing.T) {
	for dir, want := range map[string]string{
		"/run/user/7/footbridge": "XDG_RUNTIME_DIR=/run/user/7 footbridge ps",
		"/tmp/footbridge-7":      "env -u XDG_RUNTIME_DIR footbridge ps",
	} {
		if got := InRuntimeDir(dir, "footbridge ps"); got != want {
			t.Errorf("%s: %s, want %s", dir, got, want)
		}
	}
}

func TestReadPath(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	for content, want := range map[string]string{
		"/a\n": "/a", "/a\nleft over\n": "/a", "": "", "/cut": "", "relative\n": "", "/" + strings.Repeat("x", 5000) + "\n": "",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readPath(name); got != want {
			t.Errorf("%.20q: %q, want %q", content, got, want)
		}
	}
	if err := errors.Join(os.Remove(name), os.Symlink("/etc/hostname", name)); err != nil {
		t.Fatal(err)
	}
	if got := readPath(name); got != "" {
		t.Errorf("through a link: %q", got)
	}
}
