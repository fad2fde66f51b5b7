package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/engine/worker"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/tap"
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
	hangs      map[string]bool   // runtime directories whose processes do not answer
	nextPort   uint16
	quiet      bool // no log
	places     *fakePlaces
	unplugged  []string // interfaces, from namespaces of others
	config     Config
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
	defer w.mu.Unlock()
	return w.fail[step]
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) { w.t.Logf("%s", b); return len(b), nil }

func (w *world) logger() *slog.Logger {
	if w.quiet {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(testWriter{w.t}, nil))
}

// fakeRuntime keeps processes in the world.
type fakeRuntime struct{ w *world }

func (r fakeRuntime) Create(_ context.Context, spec shim.Spec) (Process, error) {
	if err := r.w.step("create"); err != nil {
		return nil, err
	}
	if st, err := os.Stat(spec.Dir); err != nil || !st.IsDir() {
		return nil, fmt.Errorf("runtime directory: %w", err)
	}
	for _, f := range []string{spec.Hosts, spec.HostnameFile} {
		if _, err := os.Stat(f); err != nil && f != "" {
			return nil, err
		}
	}
	p := &fakeProcess{w: r.w, spec: spec, state: shim.State{ID: spec.ID, Status: shim.Created, PID: 4242}, ended: make(chan struct{})}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.procs[spec.Dir] = p
	return p, nil
}

func (r fakeRuntime) Connect(ctx context.Context, dir string) (Process, error) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.w.hangs[dir] {
		r.w.mu.Unlock()
		<-ctx.Done()
		r.w.mu.Lock()
		return nil, ctx.Err()
	}
	if p := r.w.procs[dir]; p != nil {
		return p, r.w.fail["connect"]
	}
	return nil, shim.ErrGone
}

func (r fakeRuntime) Lives(t shim.Trace) bool {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	p := r.w.procs[t.Dir]
	return p != nil && p.spec.ID == t.ID
}

func (r fakeRuntime) End(_ context.Context, t shim.Trace) error {
	if err := r.w.step("end"); err != nil {
		return err
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	delete(r.w.procs, t.Dir)
	return nil
}

func (r fakeRuntime) LastExit(dir string) (shim.Exit, error) { return shim.ReadExit(dir) }

// fakeProcess is a container's processes. SIGTERM ends them with 143, SIGKILL
// with 137; output is written by the test.
type fakeProcess struct {
	w    *world
	spec shim.Spec

	mu      sync.Mutex
	state   shim.State
	ended   chan struct{}
	outputs []*io.PipeWriter
	input   []byte
	sizes   []string
	ignores bool // SIGTERM
}

func (p *fakeProcess) State(context.Context) (shim.State, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state, p.w.step("state")
}

func (p *fakeProcess) Namespaces(context.Context) (tap.Namespaces, error) {
	return tap.Namespaces{}, p.w.step("namespaces")
}

func (p *fakeProcess) Start(context.Context) error {
	if err := p.w.step("start"); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Status, p.state.StartedAt = shim.Running, time.Now()
	return nil
}

func (p *fakeProcess) end(code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Status == shim.Exited {
		return
	}
	p.state.Status, p.state.Exit = shim.Exited, &shim.Exit{Code: code, FinishedAt: time.Now()}
	for _, o := range p.outputs {
		o.Close()
	}
	close(p.ended)
}

func (p *fakeProcess) Wait(ctx context.Context) (shim.Exit, error) {
	select {
	case <-p.ended:
		return *p.state.Exit, nil
	case <-ctx.Done():
		return shim.Exit{}, ctx.Err()
	}
}

func (p *fakeProcess) Signal(_ context.Context, s syscall.Signal) error {
	p.mu.Lock()
	running, ignores := p.state.Status == shim.Running, p.ignores
	p.mu.Unlock()
	switch {
	case !running:
		return shim.ErrNotRunning
	case s == syscall.SIGKILL:
		p.end(137)
	case s == syscall.SIGTERM && !ignores:
		p.end(143)
	}
	return nil
}

func (p *fakeProcess) Resize(_ context.Context, w, h uint16) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sizes = append(p.sizes, fmt.Sprint(w, "x", h))
	return nil
}

// write is output of the command; it waits until every client has read it.
func (p *fakeProcess) write(text string) {
	p.mu.Lock()
	outputs := slices.Clone(p.outputs)
	p.mu.Unlock()
	for _, o := range outputs {
		_, _ = io.WriteString(o, text)
	}
}

type fakeInput struct{ p *fakeProcess }

func (i fakeInput) Write(b []byte) (int, error) {
	i.p.mu.Lock()
	defer i.p.mu.Unlock()
	i.p.input = append(i.p.input, b...)
	return len(b), nil
}
func (fakeInput) Close() error { return nil }

func (p *fakeProcess) Attach(_ context.Context, o shim.AttachOptions) (*Streams, error) {
	if err := p.w.step("attach streams"); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &Streams{Close: func() error { return nil }}
	if o.Stdin {
		s.Stdin = fakeInput{p}
	}
	if o.Stdout {
		r, w := io.Pipe()
		s.Stdout, p.outputs = r, append(p.outputs, w)
		s.Close = r.Close
	}
	return s, nil
}

func (p *fakeProcess) Exec(_ context.Context, spec shim.ExecSpec) (Exec, error) {
	inner := &fakeProcess{w: p.w, spec: shim.Spec{Args: spec.Args, Env: spec.Env, Cwd: spec.Cwd}, ended: make(chan struct{})}
	return fakeExec{inner}, p.w.step("exec")
}

type fakeExec struct{ *fakeProcess }

// Start runs "exit": it prints its environment and ends with 7.
func (x fakeExec) Start(ctx context.Context) error {
	if err := x.w.step("exec start"); err != nil {
		return err
	}
	go func() {
		x.write(fmt.Sprintln(x.spec.Args, x.spec.Cwd))
		x.end(7)
	}()
	return nil
}

func (p *fakeProcess) Remove(context.Context) error {
	p.end(137)
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.w.procs[p.spec.Dir] == p {
		delete(p.w.procs, p.spec.Dir)
	}
	return nil
}

func (p *fakeProcess) Close() error { return nil }

// fakePlane is one network's data plane.
type fakePlane struct {
	w     *world
	spec  PlaneSpec
	ports map[string]worker.Link // by container and interface
	names *dns.Names
	views map[netip.Addr]worker.View
	// exceptions are those of endpoints by their ids.
	exceptions map[string][]plane.Exception
}

// fakeDataPlane is all networks' data planes.
type fakeDataPlane struct{ w *world }

func (fakeDataPlane) SetServers(dns.Config)     {}
func (fakeDataPlane) SetBlocked([]netip.Prefix) {}
func (fakeDataPlane) Release() error            { return nil }
func (fakeDataPlane) Status() worker.Status     { return worker.Status{PID: 7} }
func (fakeDataPlane) HandOver() error           { return nil }
func (fakeDataPlane) TakeBack() error           { return nil }
func (fakeDataPlane) Close() error              { return nil }

func (d fakeDataPlane) NewPlane(spec PlaneSpec) (Plane, error) {
	w := d.w
	if err := w.step("plane"); err != nil {
		return nil, err
	}
	p := &fakePlane{w: w, spec: spec, ports: map[string]worker.Link{}, names: dns.NewNames(spec.Name), views: map[netip.Addr]worker.View{}}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.planes[p] = true
	return p, nil
}

func (p *fakePlane) Attach(_ context.Context, _ tap.Namespaces, l worker.Link) (Port, error) {
	if err := p.w.step("attach " + l.Interface); err != nil {
		return nil, err
	}
	if err := p.w.step("attach"); err != nil {
		return nil, err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	for _, other := range p.ports {
		if other.MAC == l.MAC || slices.ContainsFunc(l.Addresses, func(a netip.Prefix) bool { return slices.Contains(other.Addresses, a) }) {
			return nil, fmt.Errorf("duplicate endpoint: %v and %v", other, l)
		}
	}
	key := l.Container + " " + l.Interface
	p.ports[key] = l
	return closer(func() {
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		delete(p.ports, key)
	}), nil
}

type closer func()

func (c closer) Close() error { c(); return nil }

func (p *fakePlane) SetNames(endpoint string, names []string, addrs []netip.Addr) error {
	p.names.Add(endpoint, names, addrs)
	return nil
}

func (p *fakePlane) RemoveNames(endpoint string) error {
	p.names.Remove(endpoint)
	return nil
}

func (p *fakePlane) SetView(a netip.Addr, v worker.View) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.views[a] = v
	return nil
}

func (p *fakePlane) Reroute(_ context.Context, _ tap.Namespaces, l worker.Link) error {
	if err := p.w.step("reroute " + l.Interface); err != nil {
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	key := l.Container + " " + l.Interface
	if _, ok := p.ports[key]; !ok {
		return fmt.Errorf("%s has no interface %s", l.Container, l.Interface)
	}
	p.ports[key] = l
	return nil
}

func (p *fakePlane) Unplug(context.Context, tap.Namespaces, string) error { return p.w.step("unplug") }

type fakeListener struct {
	w    *world
	key  string
	host netip.AddrPort
}

func (l *fakeListener) Addr() netip.AddrPort { return l.host }
func (l *fakeListener) Close() error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	delete(l.w.bound, l.key)
	return nil
}

func (d fakeDataPlane) Publish(ms []PublishedPort, first, last uint16) ([]Listener, error) {
	if err := d.w.step("publish"); err != nil {
		return nil, err
	}
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	if first == 0 {
		first = ms[0].Host.Port()
		if first == 0 {
			first = d.w.nextPort
			d.w.nextPort++
		}
		last = first
	}
	err := errors.New("no port")
next:
	for port := first; port <= last; port++ {
		var out []Listener
		for _, m := range ms {
			host := netip.AddrPortFrom(m.Host.Addr(), port)
			key := m.Proto + " " + host.String()
			if owner, ok := d.w.bound[key]; ok {
				err = fmt.Errorf("Bind for %v failed: port is already allocated: container %q", host, owner)
				continue next
			}
			out = append(out, &fakeListener{d.w, key, host})
		}
		for i, l := range out {
			d.w.bound[l.(*fakeListener).key] = ms[i].Owner
		}
		return out, nil
	}
	return nil, err
}

func (p *fakePlane) SetExceptions(endpoint string, list []plane.Exception) error {
	if err := p.w.step("exceptions"); err != nil {
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.exceptions == nil {
		p.exceptions = map[string][]plane.Exception{}
	}
	if p.exceptions[endpoint] = list; len(list) == 0 {
		delete(p.exceptions, endpoint)
	}
	return nil
}

func (p *fakePlane) Join(h *fdpass.Handle, owner string, to []netip.AddrPort) error {
	_, err := unix.Write(h.FD(), fmt.Appendf(nil, "0\n%s %v", owner, to))
	return errors.Join(err, h.Close())
}

func (p *fakePlane) Stats() plane.Stats {
	return plane.Stats{Network: map[string]uint64{"rx_frames": 1}, Ports: map[string]map[string]uint64{}}
}

func (p *fakePlane) Close() error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	delete(p.w.planes, p)
	for key, owner := range p.w.bound {
		for port := range p.ports {
			if owner+" eth0" == port {
				delete(p.w.bound, key)
			}
		}
	}
	return nil
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
