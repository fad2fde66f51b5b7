package api

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/system"
)

// fake is a Backend in memory. Containers are processes of its own kind: "cat"
// copies its input to its output, line by line also to its errors when the
// command has a further argument; "wait" writes nothing and lives until killed.
type fake struct {
	mu         sync.Mutex
	networks   map[string]*network.Inspect
	containers map[string]*fakeContainer
	execs      map[string]*fakeProcess
	subs       []chan events.Message
	serial     int

	// err, when set, is what every method answers; panics makes them panic.
	err    error
	panics bool
	// onAttach, when set, is called by ContainerAttach with its context.
	onAttach func(context.Context)

	shutdowns int
	lastLogs  LogsOptions
	lastStop  StopOptions
	lastList  ListOptions
	lastEvent EventsOptions
	logs      []LogEntry
	logsErr   error
	detached  chan struct{} // one value each time a stream is detached

	runtime    NamespaceID // user namespace that was last asked about
	livesThere string      // container that lives in it
	livesErr   error
	lastAttach NamespaceRequest
}

type fakeContainer struct {
	id, name string
	req      container.CreateRequest
	proc     *fakeProcess
	running  bool
	exit     int64
	signals  []string
	waiters  []chan container.WaitResponse
	size     TTYSize
}

// fakeProcess is what a Stream is attached to.
type fakeProcess struct {
	tty        bool
	cmd        []string
	inR        *io.PipeReader
	inW        *io.PipeWriter
	outR, errR *io.PipeReader
	outW, errW *io.PipeWriter
	stdinEOF   chan struct{} // closed when the process has read the end of its input
	stdinEnded atomic.Bool   // set when it was told that there is no more
	keys       []byte
	size       TTYSize
}

func newFake() *fake {
	return &fake{
		networks:   map[string]*network.Inspect{},
		containers: map[string]*fakeContainer{},
		execs:      map[string]*fakeProcess{},
		detached:   make(chan struct{}, 16),
	}
}

func newProcess(tty bool, cmd []string) *fakeProcess {
	p := &fakeProcess{tty: tty, cmd: cmd, stdinEOF: make(chan struct{})}
	p.inR, p.inW = io.Pipe()
	p.outR, p.outW = io.Pipe()
	p.errR, p.errW = io.Pipe()
	return p
}

// run is the process's life: cat.
func (p *fakeProcess) run() {
	buf := make([]byte, 4096)
	for {
		n, err := p.inR.Read(buf)
		if n > 0 {
			if _, err := p.outW.Write(buf[:n]); err != nil {
				break
			}
			if len(p.cmd) > 1 && !p.tty {
				if _, err := fmt.Fprintf(p.errW, "%s saw %d", p.cmd[1], n); err != nil {
					break
				}
			}
		}
		if err != nil {
			close(p.stdinEOF)
			break
		}
	}
	p.outW.Close()
	p.errW.Close()
}

func (f *fake) stream(p *fakeProcess, in, out, errs bool) *Stream {
	s := &Stream{TTY: p.tty, Detach: func() error {
		if p.cmd[0] != "cat" { // who never reads, so that a write must be unblocked
			p.inR.CloseWithError(io.ErrClosedPipe)
		}
		if out {
			p.outR.Close()
		}
		if errs {
			p.errR.Close()
		}
		f.detached <- struct{}{}
		return nil
	}}
	if in {
		s.Stdin = fakeStdin{p}
	}
	if out {
		s.Stdout = p.outR
	}
	if errs && !p.tty {
		s.Stderr = p.errR
	} else if !p.tty {
		go func() { _, _ = io.Copy(io.Discard, p.errR) }()
	}
	return s
}

// fakeStdin is the input of a process, and notes when it is ended.
type fakeStdin struct{ p *fakeProcess }

func (s fakeStdin) Write(b []byte) (int, error) { return s.p.inW.Write(b) }

func (s fakeStdin) Close() error {
	s.p.stdinEnded.Store(true)
	return s.p.inW.Close()
}

// enter is called first by every method.
func (f *fake) enter() (unlock func(), err error) {
	f.mu.Lock()
	if f.panics {
		f.mu.Unlock()
		panic("the fake was told to")
	}
	return f.mu.Unlock, f.err
}

func (f *fake) newID() string {
	f.serial++
	return fmt.Sprintf("%064x", f.serial)
}

func (f *fake) emit(kind events.Type, action events.Action, id, name string) {
	m := events.Message{Type: kind, Action: action, Actor: events.Actor{ID: id, Attributes: map[string]string{"name": name}}, Scope: "local"}
	for _, s := range f.subs {
		s <- m
	}
}

func (f *fake) Ping(context.Context) error {
	unlock, err := f.enter()
	defer unlock()
	return err
}

func (f *fake) Version(context.Context) (system.VersionResponse, error) {
	unlock, err := f.enter()
	defer unlock()
	return system.VersionResponse{KernelVersion: "6.1"}, err
}

func (f *fake) Info(context.Context) (system.Info, error) {
	unlock, err := f.enter()
	defer unlock()
	return system.Info{ID: "fake", Containers: len(f.containers), Name: "here"}, err
}

func (f *fake) Events(ctx context.Context, o EventsOptions) (<-chan events.Message, error) {
	unlock, err := f.enter()
	defer unlock()
	f.lastEvent = o
	ch := make(chan events.Message, 16)
	if !o.Until.IsZero() {
		close(ch)
		return ch, err
	}
	f.subs = append(f.subs, ch)
	return ch, err
}

func (f *fake) network(nameOrID string) (*network.Inspect, error) {
	for _, n := range f.networks {
		if n.Name == nameOrID || n.ID == nameOrID {
			return n, nil
		}
	}
	return nil, Errorf(errdefs.ErrNotFound, "network %s not found", nameOrID)
}

func (f *fake) NetworkCreate(_ context.Context, req network.CreateRequest) (network.CreateResponse, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return network.CreateResponse{}, err
	}
	if _, err := f.network(req.Name); err == nil {
		return network.CreateResponse{}, Errorf(errdefs.ErrConflict, "network with name %s already exists", req.Name)
	}
	n := &network.Inspect{Network: network.Network{
		Name: req.Name, ID: f.newID(), Driver: "bridge", Scope: "local", EnableIPv4: true,
		Created: time.Unix(1700000000, 0).UTC(), Labels: req.Labels, Options: req.Options,
	}}
	if req.IPAM != nil {
		n.IPAM = *req.IPAM
	}
	f.networks[n.ID] = n
	f.emit(events.NetworkEventType, events.ActionCreate, n.ID, n.Name)
	return network.CreateResponse{ID: n.ID}, nil
}

func (f *fake) NetworkList(_ context.Context, filters Filters) ([]network.Summary, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return nil, err
	}
	if err := filters.Check("name", "label", "driver"); err != nil {
		return nil, err
	}
	var list []network.Summary
	for _, n := range f.networks {
		if filters.Match("name", func(v string) bool { return v == n.Name }) && filters.MatchLabels(n.Labels) {
			list = append(list, network.Summary{Network: n.Network})
		}
	}
	slices.SortFunc(list, func(a, b network.Summary) int { return compare(a.ID, b.ID) })
	return list, nil
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

func (f *fake) NetworkInspect(_ context.Context, nameOrID string, _ NetworkInspectOptions) (network.Inspect, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return network.Inspect{}, err
	}
	n, err := f.network(nameOrID)
	if err != nil {
		return network.Inspect{}, err
	}
	return *n, nil
}

func (f *fake) NetworkRemove(_ context.Context, nameOrID string) error {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return err
	}
	n, err := f.network(nameOrID)
	if err != nil {
		return err
	}
	if len(n.Containers) > 0 {
		return Errorf(errdefs.ErrPermissionDenied, "network %s has active endpoints", n.Name)
	}
	delete(f.networks, n.ID)
	return nil
}

func (f *fake) NetworksPrune(_ context.Context, filters Filters) (network.PruneReport, error) {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return network.PruneReport{}, err
	}
	var r network.PruneReport
	for id, n := range f.networks {
		if len(n.Containers) == 0 && filters.MatchLabels(n.Labels) {
			delete(f.networks, id)
			r.NetworksDeleted = append(r.NetworksDeleted, n.Name)
		}
	}
	return r, nil
}

func (f *fake) NetworkConnect(_ context.Context, nameOrID string, req network.ConnectRequest) error {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return err
	}
	n, err := f.network(nameOrID)
	if err != nil {
		return err
	}
	c, err := f.container(req.Container)
	if err != nil {
		return err
	}
	addr := netip.MustParsePrefix("10.0.0.2/24")
	if e := req.EndpointConfig; e != nil && e.IPAMConfig != nil && e.IPAMConfig.IPv4Address.IsValid() {
		addr = netip.PrefixFrom(e.IPAMConfig.IPv4Address, 24)
	}
	if n.Containers == nil {
		n.Containers = map[string]network.EndpointResource{}
	}
	n.Containers[c.id] = network.EndpointResource{Name: c.name, IPv4Address: addr}
	return nil
}

func (f *fake) NetworkDisconnect(_ context.Context, nameOrID string, req network.DisconnectRequest) error {
	unlock, err := f.enter()
	defer unlock()
	if err != nil {
		return err
	}
	n, err := f.network(nameOrID)
	if err != nil {
		return err
	}
	c, err := f.container(req.Container)
	if err != nil {
		return err
	}
	if _, ok := n.Containers[c.id]; !ok && !req.Force {
		return Errorf(errdefs.ErrPermissionDenied, "container %s is not connected to network %s", c.name, n.Name)
	}
	delete(n.Containers, c.id)
	return nil
}

func (f *fake) Status(context.Context) (Status, error) {
	unlock, err := f.enter()
	defer unlock()
	return Status{PID: 42, Networks: []NetworkStatus{{Name: "n", Counters: map[string]uint64{"frames_forwarded": 1 << 60}}}}, err
}

func (f *fake) Shutdown(context.Context) error {
	unlock, err := f.enter()
	defer unlock()
	f.shutdowns++
	return err
}

// set changes the fake under its lock.
func (f *fake) set(change func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// waitDetached waits until a stream of the fake has been closed.
func (f *fake) waitDetached(t *testing.T, what string) {
	t.Helper()
	select {
	case <-f.detached:
	case <-time.After(testTimeout):
		t.Fatalf("%s: the stream was not closed within %v", what, testTimeout)
	}
}
