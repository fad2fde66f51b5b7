package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/shim"
)

// eventually waits for what happens in the background.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

func warningsOf(t *testing.T, e *Engine) []api.Warning {
	t.Helper()
	s, err := e.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s.Warnings
}

// Ways in which a container that lives cannot be asked, each of which passes.
var muteness = map[string]struct {
	step  string
	cause error
}{
	"no answer":          {"connect", context.DeadlineExceeded},
	"no files":           {"connect", unix.EMFILE},
	"no backlog":         {"connect", unix.EAGAIN},
	"no state":           {"state", context.DeadlineExceeded},
	"no memory":          {"state", unix.ENOMEM},
	"no socket":          {"connect", shim.ErrGone},
	"a socket that dies": {"state", shim.ErrGone},
}

// A container that cannot be asked is not ended by that: it is shown as running,
// with a warning, and is connected again as soon as it answers, known or not.
func TestMuteContainersLiveOn(t *testing.T) {
	for name, mute := range muteness {
		for _, known := range []bool{true, false} {
			t.Run(name+map[bool]string{true: "", false: ", without a record"}[known], func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				e := w.engine()
				ctx := context.Background()
				e.testNetwork(t, network.CreateRequest{Name: "net"})
				id := e.testRun(t, spec{name: "mute", mode: "net", rm: true, ports: map[string]string{"80/tcp": ""}})
				before := e.testInspect(t, "mute")
				p := w.process(e, id)
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				if !known {
					if err := os.Remove(filepath.Join(w.dir, "state", stateFile)); err != nil {
						t.Fatal(err)
					}
				}
				w.failAt(mute.step, mute.cause)
				e = w.restart(e)

				if p.state.Status != shim.Running {
					t.Fatalf("the container is %s", p.state.Status)
				}
				in := e.testInspect(t, "mute")
				if !in.State.Running || !strings.Contains(in.State.Error, "does not answer") || in.NetworkSettings.Networks["net"].IPAddress != before.NetworkSettings.Networks["net"].IPAddress {
					t.Errorf("inspect: %+v, %+v", in.State, in.NetworkSettings.Networks["net"])
				}
				if ws := warningsOf(t, e); len(ws) != 1 || !strings.Contains(ws[0].Text, "mute") || !strings.Contains(ws[0].Remedy, "footbridge rm -f mute") {
					t.Errorf("warnings %v", ws)
				}
				if err := e.ContainerStart(ctx, "mute"); !errdefs.IsNotModified(err) {
					t.Errorf("start: %v", err)
				}
				if err := e.NetworkConnect(ctx, "bridge", network.ConnectRequest{Container: "mute"}); !errdefs.IsUnavailable(err) {
					t.Errorf("connect: %v", err)
				}
				// Its address is nobody else's meanwhile.
				e.testRunAnyway(t, spec{name: "other", mode: "net"}, mute.step)
				w.failAt(mute.step, nil)
				eventually(t, "it answers", func() bool { return len(warningsOf(t, e)) == 0 })
				after := e.testInspect(t, "mute")
				if a, b := asJSON(t, before.NetworkSettings), asJSON(t, after.NetworkSettings); a != b || after.State.Error != "" {
					t.Errorf("before\n%s\nafter\n%s (%s)", a, b, after.State.Error)
				}
				p.end(3)
				eventually(t, "it is removed", func() bool { _, err := e.ContainerInspect(ctx, "mute"); return errdefs.IsNotFound(err) })
				_ = e.ContainerRemove(ctx, "other", api.RemoveOptions{Force: true})
				w.checkClean(e)
			})
		}
	}
}

// testRunAnyway runs a container while a step fails that its own start needs too.
func (e *Engine) testRunAnyway(t *testing.T, s spec, step string) {
	t.Helper()
	if step == "state" { // a start asks for the state too, and is refused
		return
	}
	e.testRun(t, s)
}

// What does not answer can be ended all the same, in every way in which others are.
func TestMuteContainersCanBeEnded(t *testing.T) {
	ctx := context.Background()
	for name, end := range map[string]func(e *Engine) error{
		"stop":   func(e *Engine) error { return e.ContainerStop(ctx, "mute", api.StopOptions{Timeout: ptr(0)}) },
		"kill":   func(e *Engine) error { return e.ContainerKill(ctx, "mute", "") },
		"remove": func(e *Engine) error { return e.ContainerRemove(ctx, "mute", api.RemoveOptions{Force: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			e := w.engine()
			e.testRun(t, spec{name: "mute"})
			w.failAt("connect", unix.EAGAIN)
			e = w.restart(e)
			w.failAt("end", errInjected)
			if err := end(e); !errors.Is(err, errInjected) {
				t.Errorf("an end that fails: %v", err)
			}
			if !e.testInspect(t, "mute").State.Running {
				t.Error("taken for ended")
			}
			w.failAt("end", nil)
			done := make(chan error, 1)
			go func() { done <- end(e) }()
			eventually(t, "its processes are ended", func() bool {
				w.mu.Lock()
				defer w.mu.Unlock()
				return len(w.procs) == 0
			})
			w.failAt("connect", nil) // there is nobody to connect to now
			if err := <-done; err != nil {
				t.Error(err)
			}
			if in, err := e.ContainerInspect(ctx, "mute"); name != "remove" && (err != nil || in.State.Running || in.State.ExitCode != exitLost || in.State.Error == "") {
				t.Errorf("%+v, %v", in.State, err)
			}
			w.checkClean(e)
		})
	}
}

// A container that does not answer for as long as it likes delays nobody.
func TestAMuteContainerDelaysNobody(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	const others = 40
	for i := range others {
		e.testRun(t, spec{name: "c" + itoa(i)})
	}
	id := e.testRun(t, spec{name: "mute"})
	dir := w.process(e, id).spec.Dir
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.hangs = map[string]bool{dir: true}
	w.mu.Unlock()
	start := time.Now()
	e = w.restart(e)
	if took := time.Since(start); took > firstLook+500*time.Millisecond {
		t.Errorf("the start took %v", took)
	}
	if n := len(w.links()); n != others {
		t.Errorf("%d of %d containers are connected again", n, others)
	}
	if ws := warningsOf(t, e); len(ws) != 1 {
		t.Errorf("warnings %v", ws)
	}
	w.mu.Lock()
	w.hangs = nil
	w.mu.Unlock()
	eventually(t, "the last one is connected", func() bool { return len(w.links()) == others+1 })
}

// An interface that cannot be made again is tried again, as are published ports:
// the same ones, after any number of further restarts.
func TestFlawsAreMended(t *testing.T) {
	for _, step := range []string{"attach", "attach eth1", "namespaces", "plane", "publish"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			e := w.engine()
			for _, n := range []string{"a", "b"} {
				e.testNetwork(t, network.CreateRequest{Name: n})
			}
			e.testRun(t, spec{name: "c", mode: "a", ports: map[string]string{"80/tcp": "", "81/udp": "5000-5010"}, nets: map[string]*network.EndpointSettings{"b": nil}})
			before := e.testInspect(t, "c").NetworkSettings
			w.failAt(step, errInjected)
			for range 2 {
				e = w.restart(e)
				ws := warningsOf(t, e)
				if len(ws) == 0 || !strings.Contains(ws[0].Text, "container c") || !strings.Contains(ws[0].Text, errInjected.Error()) {
					t.Errorf("warnings %v", ws)
				}
				if s := e.testInspect(t, "c").State; !s.Running || !strings.Contains(s.Error, errInjected.Error()) {
					t.Errorf("state %+v", s)
				}
			}
			w.failAt(step, nil)
			eventually(t, "it is whole again", func() bool { return len(warningsOf(t, e)) == 0 })
			in := e.testInspect(t, "c")
			if a, b := asJSON(t, before), asJSON(t, in.NetworkSettings); a != b || in.State.Error != "" {
				t.Errorf("before\n%s\nafter\n%s (%s)", a, b, in.State.Error)
			}
			if len(w.links()) != 2 {
				t.Errorf("links %v", w.links())
			}
			e.testStop(t, "c")
			w.checkClean(e)
		})
	}
}

// Mending stops with the container, and what is changed meanwhile holds.
func TestFlawsAndChangesMeet(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testNetwork(t, network.CreateRequest{Name: "a"})
	e.testNetwork(t, network.CreateRequest{Name: "b"})
	var all sync.WaitGroup
	for i := range 8 {
		e.testRun(t, spec{name: "c" + itoa(i), mode: "a", ports: map[string]string{"80/tcp": ""}})
	}
	w.failAt("attach", errInjected)
	e = w.restart(e)
	for i := range 8 {
		all.Go(func() {
			name := "c" + itoa(i)
			_ = e.NetworkConnect(ctx, "b", network.ConnectRequest{Container: name})
			if i%2 == 0 {
				_ = e.NetworkDisconnect(ctx, "a", network.DisconnectRequest{Container: name})
			}
			if i%3 == 0 {
				_ = e.ContainerStop(ctx, name, api.StopOptions{})
			}
		})
	}
	w.failAt("attach", nil)
	all.Wait()
	eventually(t, "all are whole", func() bool { return len(warningsOf(t, e)) == 0 })
	w.checkConsistent(e, "at the end")
	for i := range 8 {
		_ = e.ContainerRemove(ctx, "c"+itoa(i), api.RemoveOptions{Force: true})
	}
	w.checkClean(e)
}

// What a cut-off start has left, and cannot be asked, is no container that runs: it
// is cleared away when it can be asked.
func TestAStartThatWasCutOffIsNotTakenForAlive(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	id, err := e.testCreate(spec{name: "c"})
	if err != nil {
		t.Fatal(err)
	}
	dir := e.runtimeDir(id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.hangs = map[string]bool{dir: true}
	w.mu.Unlock()
	e = w.restart(e)
	if s := e.testInspect(t, "c").State; s.Running || s.Status != "created" {
		t.Errorf("it is %s", s.Status)
	}
	if ws := warningsOf(t, e); len(ws) != 0 {
		t.Errorf("warnings %v", ws)
	}
	w.mu.Lock()
	w.hangs = nil
	w.mu.Unlock()
	eventually(t, "its folder is cleared away", func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, os.ErrNotExist)
	})
	if s := e.testInspect(t, "c").State; s.Status != "created" {
		t.Errorf("afterwards it is %s", s.Status)
	}
}
