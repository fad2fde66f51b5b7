package engine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/engine/store"
)

// ways in which a state file is lost while containers live.
var losses = map[string]func(path string) error{
	"damaged": func(path string) error {
		return errors.Join(os.WriteFile(path, bytes.Repeat([]byte("junk"), 9000), 0o600), os.Remove(path+".bak"))
	},
	"emptied": func(path string) error { return errors.Join(os.Truncate(path, 0), os.Truncate(path+".bak", 0)) },
	"removed": os.Remove,
}

// With the state file lost, what lives goes on as it was, under its name and with
// its addresses and ports, and no log is lost.
func TestContainersOutliveTheirStateFile(t *testing.T) {
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			e := w.engine()
			e.testNetwork(t, network.CreateRequest{Name: "net", EnableIPv6: ptr(true)})
			e.testRun(t, spec{name: "first", mode: "net"})
			id := e.testRun(t, spec{name: "c", mode: "net", ports: map[string]string{"80/tcp": ""}, nets: map[string]*network.EndpointSettings{"bridge": nil}})
			e.testRun(t, spec{name: "ended", mode: "net"})
			e.testStop(t, "first")
			logs := map[string]string{}
			for _, c := range []string{"first", "c", "ended"} {
				logs[c] = e.logPath(e.testInspect(t, c).ID)
				if err := os.WriteFile(logs[c], []byte("{}\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := e.testInspect(t, "c")
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			w.vanish(e, "ended")
			path := filepath.Join(w.dir, "state", "state.db")
			if err := lose(path); err != nil {
				t.Fatal(err)
			}
			was, _ := os.ReadFile(path)
			e = w.restart(e)

			after := e.testInspect(t, "c")
			if a, b := asJSON(t, after.NetworkSettings), asJSON(t, before.NetworkSettings); !after.State.Running || a != b {
				t.Errorf("running %v; before\n%s\nafter\n%s", after.State.Running, b, a)
			}
			if list, err := e.NetworkList(context.Background(), nil); err != nil || len(list) != 4 {
				t.Errorf("networks %v, %v", list, err)
			}
			for c, log := range logs {
				if _, err := os.Stat(log); err != nil {
					t.Errorf("log of %s: %v", c, err)
				}
			}
			told := strings.Join(e.Notices(), "\n")
			if !strings.Contains(told, "container c ("+short(id)+")") {
				t.Errorf("the user is told %q", told)
			}
			status, err := e.Status(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if d := e.Damage(); name == "removed" {
				if d != nil || len(status.Warnings) != 0 {
					t.Errorf("damage %v, warnings %v", d, status.Warnings)
				}
			} else {
				if d == nil {
					t.Fatal("no damage is told")
				}
				if kept, err := os.ReadFile(d.Path); err != nil || !bytes.Equal(kept, was) {
					t.Errorf("the damaged file is not kept: %v", err)
				}
				if len(status.Warnings) != 1 || !strings.Contains(status.Warnings[0].Text, d.Path) || !strings.Contains(told, d.Path) {
					t.Errorf("warnings %v, notices %q do not name %s", status.Warnings, told, d.Path)
				}
			}
			e = w.restart(e) // and it is a container as any other
			if n := e.Notices(); len(n) != 0 {
				t.Errorf("told again: %q", n)
			}
			e.testStop(t, "c")
			w.checkClean(e)
		})
	}
}

// With a copy of the state file nothing is forgotten. What was changed after it was
// made holds for containers that run: they have copies of their own.
func TestStateFileIsReplacedByItsCopy(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	e.testNetwork(t, network.CreateRequest{Name: "other"})
	e.testRun(t, spec{name: "moved", mode: "net"})
	e.testRun(t, spec{name: "stopped", mode: "net"})
	e.testStop(t, "stopped")
	path := filepath.Join(w.dir, "state", stateFile)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(path + ".bak")
	if err != nil {
		t.Fatal(err)
	}
	e = w.restart(e)
	if err := connectTo(e, "other", "moved", nil); err != nil {
		t.Fatal(err)
	}
	before := e.testInspect(t, "moved")
	if err := errors.Join(e.Close(), os.WriteFile(path+".bak", old, 0o600), os.WriteFile(path, []byte("junk"), 0o600)); err != nil {
		t.Fatal(err)
	}
	e = w.restart(e)
	after := e.testInspect(t, "moved")
	if a, b := asJSON(t, before.NetworkSettings), asJSON(t, after.NetworkSettings); a != b || !after.State.Running {
		t.Errorf("before\n%s\nafter\n%s", a, b)
	}
	if s := e.testInspect(t, "stopped").State; s.ExitCode != 143 {
		t.Errorf("state %+v", s)
	}
	d := e.Damage()
	if d == nil || d.Restored.IsZero() {
		t.Fatalf("damage %+v", d)
	}
	if n := e.Notices(); len(n) != 1 || !strings.Contains(n[0], d.Path) || !strings.Contains(n[0], "its copy of ") {
		t.Errorf("told %q", n)
	}
	e.testStop(t, "moved")
	w.checkClean(e)
}

// What lives and cannot be known again is neither ended nor touched, and told of.
func TestUnknownContainersAreLeftAlone(t *testing.T) {
	for name, spoil := range map[string]func(w *world, dir string) error{
		"no copy": func(_ *world, dir string) error { return os.Remove(filepath.Join(dir, copyName)) },
		"a broken copy": func(_ *world, dir string) error {
			return os.WriteFile(filepath.Join(dir, copyName), []byte(`{"Container":{`), 0o600)
		},
		"another's copy": func(_ *world, dir string) error {
			b, err := os.ReadFile(filepath.Join(dir, copyName))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, copyName), bytes.Replace(b, []byte(`"ID":"`+filepath.Base(dir)), []byte(`"ID":"000000000000`), 1), 0o600)
		},
		"no copy and no answer": func(w *world, dir string) error {
			w.failAt("connect", errInjected)
			return os.Remove(filepath.Join(dir, copyName))
		},
		"no copy and no state": func(w *world, dir string) error {
			w.failAt("state", errInjected)
			return os.Remove(filepath.Join(dir, copyName))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			e := w.engine()
			id := e.testRun(t, spec{name: "c"})
			p := w.process(e, id)
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Remove(filepath.Join(w.dir, "state", "state.db")), spoil(w, p.spec.Dir)); err != nil {
				t.Fatal(err)
			}
			e = w.restart(e)
			if _, err := os.Stat(p.spec.Dir); err != nil || p.state.Status != shim.Running {
				t.Errorf("the container is %s, its directory %v", p.state.Status, err)
			}
			status, err := e.Status(context.Background())
			if err != nil || len(status.Warnings) != 1 || !strings.Contains(status.Warnings[0].Text, short(id)) || !strings.Contains(status.Warnings[0].Remedy, short(id)) {
				t.Errorf("warnings %v, %v", status.Warnings, err)
			}
			if n := e.Notices(); len(n) != 1 || !strings.Contains(n[0], short(id)) {
				t.Errorf("told %q", n)
			}
			// Ended by the user, it is cleaned up after and not told of any more.
			w.failAt("connect", nil)
			w.failAt("state", nil)
			w.mu.Lock()
			delete(w.procs, p.spec.Dir)
			w.mu.Unlock()
			if status, err := e.Status(context.Background()); err != nil || len(status.Warnings) != 0 {
				t.Errorf("warnings %v, %v", status.Warnings, err)
			}
			w.checkClean(w.restart(e))
		})
	}
}

// Another state file knows other networks: a container comes to the one that is
// the same, and is left alone where there is another one.
func TestAdoptionIntoAnotherState(t *testing.T) {
	for _, test := range []struct {
		name    string
		net     network.CreateRequest
		running bool
	}{
		{"the same", network.CreateRequest{Name: "net", IPAM: subnet("10.9.0.0/24")}, true},
		{"another subnet", network.CreateRequest{Name: "net", IPAM: subnet("10.8.0.0/24")}, false},
		{"another name", network.CreateRequest{Name: "other", IPAM: subnet("10.9.0.0/16")}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			state := filepath.Join(w.dir, "state", "state.db")
			e := w.engine()
			e.testNetwork(t, test.net)
			e.testRun(t, spec{name: "c", mode: "none"})
			e.testStop(t, "c")
			if err := errors.Join(e.Close(), os.Rename(state, state+".other")); err != nil {
				t.Fatal(err)
			}
			e = w.engine()
			e.testNetwork(t, network.CreateRequest{Name: "net", IPAM: subnet("10.9.0.0/24")})
			id := e.testRun(t, spec{name: "c", mode: "net"})
			p := w.process(e, id)
			if err := errors.Join(e.Close(), os.Rename(state+".other", state)); err != nil {
				t.Fatal(err)
			}
			e = w.restart(e)
			if p.state.Status != shim.Running {
				t.Fatalf("the container is %s", p.state.Status)
			}
			if !test.running {
				if len(e.Notices()) != 1 || len(e.strays) != 1 {
					t.Errorf("told %q", e.Notices())
				}
				return
			}
			in := e.testInspect(t, id)
			if in.Name != "/c_"+short(id) || len(w.links()) != 1 || in.NetworkSettings.Networks["net"].IPAddress.String() != "10.9.0.2" {
				t.Errorf("%s, links %v, %v", in.Name, w.links(), in.NetworkSettings.Networks)
			}
			e.testStop(t, id)
			w.checkClean(e)
		})
	}
}

// A removal that was cut off is ended by the next start; before the record was
// gone, it has not happened.
func TestRemovalThatWasCutOff(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	logs := map[string]string{}
	for _, name := range []string{"gone", "kept", "refused"} {
		id := e.testRun(t, spec{name: name})
		e.testStop(t, name)
		logs[name] = filepath.Dir(e.logPath(id))
		if name == "gone" {
			if err := e.store.Save(store.Delete(store.Containers, id)); err != nil {
				t.Fatal(err)
			}
		}
		if name != "refused" {
			if err := os.Rename(logs[name], logs[name]+removedSuffix); err != nil {
				t.Fatal(err)
			}
		}
	}
	e = w.restart(e)
	check := func(name string, there bool) {
		t.Helper()
		if _, err := os.Stat(logs[name]); (err == nil) != there {
			t.Errorf("logs of %s: %v", name, err)
		}
		if _, err := os.Stat(logs[name] + removedSuffix); err == nil {
			t.Errorf("logs of %s are still marked", name)
		}
	}
	check("gone", false)
	check("kept", true)
	if err := e.store.Close(); err != nil { // the disk says no from here on
		t.Fatal(err)
	}
	if err := e.ContainerRemove(ctx, "refused", api.RemoveOptions{}); err == nil {
		t.Error("removed without a record of it")
	}
	check("refused", true)
}
