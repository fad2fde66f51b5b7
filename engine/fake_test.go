package engine

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/worker"
)

var errInjected = errors.New("injected")

// world is what an engine under test stands on: processes that outlive it, data
// planes and host ports, all in memory.
type world struct {
	t          *testing.T
	dir        string
	routes     []HostRoute
	interfaces []HostInterface
	resolv     string
	mu         sync.Mutex
	procs      map[string]*fakeProcess // by runtime directory
	planes     map[*fakePlane]bool
	bound      map[string]string // "tcp 0.0.0.0:80" -> owner
	fail       map[string]error  // step -> error
	watch      func(step string) // nil, or called at each step; set while nothing goes on
	hangs      map[string]bool   // runtime directories whose processes do not answer
	nextPort   uint16
	quiet      bool // no log
	places     *fakePlaces
	unplugged  []string // interfaces, from namespaces of others
	// planeUnplugged are interfaces that a network's data plane removed.
	planeUnplugged []string
	config         Config
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), procs: map[string]*fakeProcess{}, planes: map[*fakePlane]bool{},
		bound: map[string]string{}, fail: map[string]error{}, nextPort: 32768,
	}
	w.places = &fakePlaces{w: w}
	w.resolv = filepath.Join(w.dir, "resolv.conf")
	if err := os.WriteFile(w.resolv, []byte("nameserver 192.0.2.53\nsearch corp.example\noptions edns0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// engine starts an engine in the world; it is closed with the test.
func (w *world) engine() *Engine {
	w.t.Helper()
	for _, d := range []string{"run", "state"} {
		if err := os.MkdirAll(filepath.Join(w.dir, d), 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	e, err := New(Options{
		RuntimeDir: filepath.Join(w.dir, "run"), StateDir: filepath.Join(w.dir, "state"), ResolvConf: w.resolv,
		Logger:     w.logger(),
		HostRoutes: func() ([]HostRoute, error) { return w.routes, nil }, Config: w.config,
		HostInterfaces: func() ([]HostInterface, error) { return w.interfaces, nil },
		Runtime:        fakeRuntime{w}, DataPlane: fakeDataPlane{w}, Places: w.places,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := e.Close(); err != nil {
			w.t.Errorf("close the engine: %v", err)
		}
	})
	return e
}

// failAt makes a step fail from now on; nil lets it succeed again.
func (w *world) failAt(step string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail[step] = err
}

func (w *world) step(step string) error {
	w.mu.Lock()
	watch, err := w.watch, w.fail[step]
	w.mu.Unlock()
	if watch != nil {
		watch(step)
	}
	return err
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) { w.t.Logf("%s", b); return len(b), nil }

func (w *world) logger() *slog.Logger {
	if w.quiet {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(testWriter{w.t}, nil))
}

// links returns the endpoints on all data planes, by network and container.
func (w *world) links() map[string]worker.Link {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]worker.Link{}
	for p := range w.planes {
		for key, l := range p.ports {
			out[p.spec.Name+": "+key] = l
		}
	}
	return out
}

// plane returns a network's data plane.
func (w *world) plane(network string) *fakePlane {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := range w.planes {
		if p.spec.Name == network {
			return p
		}
	}
	w.t.Fatalf("network %s has no data plane", network)
	return nil
}

// process returns the processes of a container that runs.
func (w *world) process(e *Engine, name string) *fakeProcess {
	w.t.Helper()
	c, err := e.container(name)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.procs[e.runtimeDir(c.def.ID)]
	if p == nil {
		w.t.Fatalf("container %s has no processes", name)
	}
	return p
}

// checkClean fails unless nothing of any container is left.
func (w *world) checkClean(e *Engine) {
	w.t.Helper()
	if l := w.links(); len(l) > 0 {
		w.t.Errorf("endpoints left: %v", slices.Collect(maps.Keys(l)))
	}
	w.mu.Lock()
	if len(w.planes) > 0 || len(w.procs) > 0 || len(w.bound) > 0 {
		w.t.Errorf("left: %d data planes, %d processes, ports %v", len(w.planes), len(w.procs), w.bound)
	}
	w.mu.Unlock()
	if entries, err := os.ReadDir(filepath.Join(w.dir, "run", "c")); err != nil || len(entries) > 0 {
		w.t.Errorf("runtime directories left: %v, %v", entries, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.networks {
		if len(n.members) > 0 || len(n.macs) > 0 || n.users != 0 {
			w.t.Errorf("network %s: members %v, MACs %v, users %d", n.def.Name, n.members, n.macs, n.users)
		}
		if n.v4 != nil && n.v4.InUse() > 3 {
			w.t.Errorf("network %s: %d addresses in use", n.def.Name, n.v4.InUse())
		}
	}
	for _, c := range e.containers {
		if c.run != nil {
			w.t.Errorf("container %s runs", c.def.Name)
		}
	}
}

// spec is a container to be made, with what tests care about.
type spec struct {
	name  string
	mode  string // network mode
	rm    bool
	ports map[string]string // "80/tcp" -> "8000"
	nets  map[string]*network.EndpointSettings
	host  func(*container.HostConfig)
	cfg   func(*container.Config)
}

func (e *Engine) testCreate(s spec) (string, error) {
	req := container.CreateRequest{
		Config: &container.Config{Cmd: []string{"sleep", "1000"}},
		HostConfig: &container.HostConfig{
			NetworkMode: container.NetworkMode(s.mode), AutoRemove: s.rm, PortBindings: network.PortMap{},
		},
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: s.nets},
	}
	for port, hostPort := range s.ports {
		p := network.MustParsePort(port)
		req.HostConfig.PortBindings[p] = []network.PortBinding{{HostPort: hostPort}}
	}
	if s.host != nil {
		s.host(req.HostConfig)
	}
	if s.cfg != nil {
		s.cfg(req.Config)
	}
	r, err := e.ContainerCreate(context.Background(), s.name, req)
	return r.ID, err
}

// run makes and starts a container.
func (e *Engine) testRun(t *testing.T, s spec) string {
	t.Helper()
	id, err := e.testCreate(s)
	if err != nil {
		t.Fatalf("create %s: %v", s.name, err)
	}
	if err := e.ContainerStart(context.Background(), id); err != nil {
		t.Fatalf("start %s: %v", s.name, err)
	}
	return id
}

func (e *Engine) testNetwork(t *testing.T, req network.CreateRequest) string {
	t.Helper()
	r, err := e.NetworkCreate(context.Background(), req)
	if err != nil {
		t.Fatalf("create network %s: %v", req.Name, err)
	}
	return r.ID
}

func (e *Engine) testInspect(t *testing.T, name string) container.InspectResponse {
	t.Helper()
	r, err := e.ContainerInspect(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// stop ends a container at once.
func (e *Engine) testStop(t *testing.T, name string) {
	t.Helper()
	if err := e.ContainerStop(context.Background(), name, api.StopOptions{}); err != nil {
		t.Fatalf("stop %s: %v", name, err)
	}
}

func subnet(s string) *network.IPAM {
	return &network.IPAM{Config: []network.IPAMConfig{{Subnet: netip.MustParsePrefix(s)}}}
}

func ptr[T any](v T) *T { return &v }
