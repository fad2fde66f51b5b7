package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

// restart closes the engine and starts the next one.
func (w *world) restart(e *Engine) *Engine {
	w.t.Helper()
	if err := e.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	clear(w.bound) // the kernel has closed what the daemon held
	clear(w.planes)
	w.mu.Unlock()
	return w.engine()
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// vanish ends a container's processes as a reboot does: without a word.
func (w *world) vanish(e *Engine, name string) {
	w.t.Helper()
	p := w.process(e, name)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.procs, p.spec.Dir)
}

func TestRestartFindsContainersAgain(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testNetwork(t, network.CreateRequest{Name: "net", EnableIPv6: ptr(true), Options: map[string]string{optMTU: "9000"}, Labels: map[string]string{"a": "b"}})
	e.testRun(t, spec{name: "first", mode: "net"})
	e.testRun(t, spec{name: "lives", mode: "net", ports: map[string]string{"80/tcp": "", "81/udp": "5000-5010"}, nets: map[string]*network.EndpointSettings{"bridge": nil}})
	e.testRun(t, spec{name: "lost", mode: "net"})
	e.testRun(t, spec{name: "told", mode: "net"})
	e.testRun(t, spec{name: "removed", mode: "net", rm: true})
	if _, err := e.testCreate(spec{name: "created"}); err != nil {
		t.Fatal(err)
	}
	e.testStop(t, "first") // its address is free: the others' are not the lowest
	before := e.testInspect(t, "lives")
	netBefore, err := e.NetworkInspect(ctx, "net", api.NetworkInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.process(e, "told").spec.Dir, "exit.json"), []byte(`{"code":5,"finishedAt":"2026-01-02T03:04:05Z"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lost", "told", "removed"} {
		w.vanish(e, name)
	}
	e = w.restart(e)

	after := e.testInspect(t, "lives")
	if a, b := asJSON(t, after.NetworkSettings), asJSON(t, before.NetworkSettings); a != b {
		t.Errorf("before\n%s\nafter\n%s", b, a)
	}
	if a, b := asJSON(t, after.HostConfig)+asJSON(t, after.Config), asJSON(t, before.HostConfig)+asJSON(t, before.Config); a != b {
		t.Errorf("before\n%s\nafter\n%s", b, a)
	}
	if !after.State.Running || len(w.links()) != 2 {
		t.Errorf("state %+v, links %v", after.State, w.links())
	}
	netAfter, err := e.NetworkInspect(ctx, "net", api.NetworkInspectOptions{})
	if err != nil || asJSON(t, netAfter.Network) != asJSON(t, netBefore.Network) {
		t.Errorf("network before\n%v\nafter\n%v, %v", netBefore.Network, netAfter.Network, err)
	}
	for name, want := range map[string]StateDef{
		"lost":    {Status: container.StateExited, ExitCode: 255},
		"told":    {Status: container.StateExited, ExitCode: 5},
		"created": {Status: container.StateCreated},
		"first":   {Status: container.StateExited, ExitCode: 143},
	} {
		if s := e.testInspect(t, name).State; s.Status != want.Status || s.ExitCode != want.ExitCode {
			t.Errorf("%s: %+v, want %+v", name, s, want)
		}
	}
	if _, err := e.ContainerInspect(ctx, "removed"); !errdefs.IsNotFound(err) {
		t.Errorf("the --rm container: %v", err)
	}
	list, err := e.ContainerList(ctx, api.ListOptions{})
	if err != nil || len(list) != 1 || list[0].Names[0] != "/lives" {
		t.Errorf("ps: %v, %v", list, err)
	}
	// Freed addresses are given again, taken ones are not.
	e.testRun(t, spec{name: "next", mode: "net"})
	got := e.testInspect(t, "next").NetworkSettings.Networks["net"].IPAddress
	if got != netip.MustParseAddr("172.18.0.2") {
		t.Errorf("the next one got %v", got)
	}
	e.testStop(t, "next")
	// A container that was taken over ends as any other.
	w.process(e, "lives").end(4)
	done, err := e.ContainerWait(ctx, "lives", "")
	if err != nil {
		t.Fatal(err)
	}
	if r := <-done; r.StatusCode != 4 {
		t.Errorf("end after a restart: %+v", r)
	}
	w.checkClean(e)
}

func TestRestartWithATakenPort(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testRun(t, spec{name: "c", ports: map[string]string{"80/tcp": "8000"}})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	w.failAt("publish", errInjected)
	e = w.restart(e)
	in := e.testInspect(t, "c")
	if !in.State.Running || len(w.links()) != 1 || len(in.NetworkSettings.Ports[network.MustParsePort("80/tcp")]) != 0 {
		t.Errorf("state %+v, ports %v", in.State, in.NetworkSettings.Ports)
	}
	e.testStop(t, "c")
	w.failAt("publish", nil)
	w.checkClean(e)
}

// A container that could not be connected again after a restart still runs, and
// can be disconnected, connected and stopped.
func TestRestartWithoutItsNetworks(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testNetwork(t, network.CreateRequest{Name: "a"})
	e.testNetwork(t, network.CreateRequest{Name: "b"})
	for _, step := range []string{"attach", "namespaces", "plane"} {
		name := strings.ReplaceAll(step, " ", "")
		e.testRun(t, spec{name: name, mode: "a", ports: map[string]string{"80/tcp": ""}})
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		w.failAt(step, errInjected)
		e = w.restart(e)
		w.failAt(step, nil)
		if !e.testInspect(t, name).State.Running {
			t.Fatalf("%s: not running", step)
		}
		if err := connectTo(e, "b", name, nil); err != nil {
			t.Errorf("%s: connect: %v", step, err)
		}
		if err := e.NetworkDisconnect(ctx, "a", network.DisconnectRequest{Container: name}); err != nil {
			t.Errorf("%s: disconnect: %v", step, err)
		}
		if err := connectTo(e, "a", name, nil); err != nil {
			t.Errorf("%s: connect again: %v", step, err)
		}
		if len(w.links()) != 2 || len(e.testInspect(t, name).NetworkSettings.Ports) != 1 {
			t.Errorf("%s: links %v", step, w.links())
		}
		e.testStop(t, name)
		w.checkClean(e)
	}
}

func TestTwoDaemonsOfOneState(t *testing.T) {
	w := newWorld(t)
	w.engine()
	_, err := New(Options{RuntimeDir: filepath.Join(w.dir, "run"), StateDir: filepath.Join(w.dir, "state"), ResolvConf: w.resolv})
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second engine: %v", err)
	}
}

// Whatever happens in whatever order, with restarts and failures in between, the
// endpoints that exist are those of the containers that run, every address is one
// container's, and the pools agree.
func TestRandomHistory(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t)
			e := w.engine()
			ctx := context.Background()
			e.testNetwork(t, network.CreateRequest{Name: "a", IPAM: subnet("10.7.0.0/29")}) // five containers fit
			e.testNetwork(t, network.CreateRequest{Name: "b", EnableIPv6: ptr(true)})
			names := []string{"c0", "c1", "c2", "c3", "c4", "c5", "c6"}
			steps := []string{"create", "attach", "publish", "start", "unplug"}
			for step := range 150 {
				name, other := names[r.IntN(len(names))], []string{"a", "b"}[r.IntN(2)]
				// Errors are part of it: full networks, names in use.
				switch r.IntN(9) {
				case 0, 1, 2:
					_, _ = e.testCreate(spec{name: name, mode: other, rm: r.IntN(3) == 0, ports: map[string]string{"80/tcp": []string{"", "7000-7002"}[r.IntN(2)]}})
					_ = e.ContainerStart(ctx, name)
				case 3:
					_ = e.ContainerStop(ctx, name, api.StopOptions{})
				case 4:
					_ = e.ContainerRemove(ctx, name, api.RemoveOptions{Force: true})
				case 5:
					_ = e.NetworkConnect(ctx, other, network.ConnectRequest{Container: name, EndpointConfig: &network.EndpointSettings{GwPriority: r.IntN(3)}})
				case 6:
					_ = e.NetworkDisconnect(ctx, other, network.DisconnectRequest{Container: name})
				case 7:
					w.failAt(steps[r.IntN(len(steps))], []error{nil, errInjected}[r.IntN(2)])
				case 8:
					if r.IntN(4) == 0 {
						w.mu.Lock()
						clear(w.fail)
						w.mu.Unlock()
						e = w.restart(e)
					}
				}
				w.checkConsistent(e, fmt.Sprint("step ", step))
				if t.Failed() {
					return
				}
			}
			w.mu.Lock()
			clear(w.fail)
			w.mu.Unlock()
			for _, name := range names {
				_ = e.ContainerRemove(ctx, name, api.RemoveOptions{Force: true})
			}
			w.checkClean(e)
		})
	}
}

// checkConsistent compares what the engine says with what is.
func (w *world) checkConsistent(e *Engine, when string) {
	w.t.Helper()
	for _, c := range e.allContainers() { // let ends under way come to an end
		c.op.Lock()
		c.op.Unlock() //nolint:staticcheck // the wait is the point
	}
	links := w.links()
	e.mu.Lock()
	defer e.mu.Unlock()
	var want, have []string
	for _, c := range e.containers {
		if (c.run != nil) != c.def.running() {
			w.t.Errorf("%s: %s has a run: %v, and is %s", when, c.def.Name, c.run != nil, c.def.State.Status)
		}
		for _, a := range c.def.Attachments {
			n := e.networks[a.NetworkID]
			if (a.Endpoint != nil) != (c.run != nil) {
				w.t.Errorf("%s: %s: endpoint %v, run %v", when, c.def.Name, a.Endpoint, c.run)
			}
			if a.Endpoint != nil {
				want = append(want, n.def.Name+": "+c.def.Name+" "+a.Endpoint.Interface)
				if n.members[c.def.ID] == nil || n.members[c.def.ID].IPv4 != a.Endpoint.IPv4 {
					w.t.Errorf("%s: %s is not a member of %s", when, c.def.Name, n.def.Name)
				}
			}
		}
	}
	defaults := map[string]int{}
	for key, l := range links {
		have = append(have, key)
		if l.Default4 {
			defaults[l.Container]++
		}
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		w.t.Errorf("%s: endpoints %v, want %v", when, have, want)
	}
	for name, n := range defaults {
		if n > 1 {
			w.t.Errorf("%s: %s has %d default routes", when, name, n)
		}
	}
	for _, n := range e.networks {
		used := uint64(0)
		seen := map[netip.Addr]bool{}
		for _, ep := range n.members {
			used++
			if seen[ep.IPv4] {
				w.t.Errorf("%s: %v is there twice", when, ep.IPv4)
			}
			seen[ep.IPv4] = true
		}
		if n.v4 != nil && n.v4.InUse() != used+3 {
			w.t.Errorf("%s: network %s: %d addresses in use, %d members", when, n.def.Name, n.v4.InUse(), used)
		}
		if len(n.macs) != len(n.members) {
			w.t.Errorf("%s: network %s: %d MACs, %d members", when, n.def.Name, len(n.macs), len(n.members))
		}
	}
}
