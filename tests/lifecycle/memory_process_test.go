package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/engine"
	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/tap"
)

// life is one daemon's: what it holds goes with it. After its end nothing that it still does has an effect.
type life struct {
	stage  *memory
	dead   bool // killed; guarded by stage.mu, as the rest
	closed bool // it lets go of everything at once
	planes map[*memPlane]bool
}

// step is a place where the armed fault may happen.
func (l *life) step(name string) error {
	s := l.stage
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.dead || s.life != l {
		return errDead
	}
	if s.armed.Fault != name || s.struck {
		return nil
	}
	if s.armed.Nth--; s.armed.Nth > 0 {
		return nil
	}
	s.struck = true
	if s.armed.Crash {
		l.die()
		return errDead
	}
	return fmt.Errorf("%s: %w", name, errInjected)
}

// die kills the daemon: its files stay as they are in this moment. stage.mu is held.
func (l *life) die() {
	s := l.stage
	if l.dead {
		return
	}
	for _, d := range []string{"run", "state"} {
		if err := copyTree(s.path(d), s.path(d+".crash")); err != nil {
			panic(err)
		}
	}
	l.dead = true
	l.end()
	close(s.crashed)
}

// end gives back what only the daemon has held. stage.mu is held.
func (l *life) end() {
	clear(l.planes)
	for p, whose := range l.stage.taken {
		if whose == l {
			delete(l.stage.taken, p)
		}
	}
}

// copyTree copies files and folders that may go away meanwhile.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
}

// process is a container's processes; they outlive the daemon.
type process struct {
	spec  shim.Spec
	ns    string // file that stands for its network namespace
	ended chan struct{}

	mu    sync.Mutex
	state shim.State
	mute  bool // it ended without a word
}

// end ends the command; told says that its shim lives to tell of it.
func (p *process) end(told bool, code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state.Status == shim.Exited {
		return
	}
	exit := shim.Exit{Code: code, FinishedAt: time.Now().UTC()}
	p.state.Status, p.state.Exit, p.mute = shim.Exited, &exit, !told
	if b, err := json.Marshal(exit); err == nil && told {
		_ = os.WriteFile(filepath.Join(p.spec.Dir, "exit.json"), b, 0o600) // the folder may be gone
	}
	close(p.ended)
}

func (p *process) status() shim.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// runtimeOf is the engine.Runtime of a life.
type runtimeOf struct{ *life }

func (r runtimeOf) Create(_ context.Context, spec shim.Spec) (engine.Process, error) {
	if err := r.step("create"); err != nil {
		return nil, err
	}
	for _, f := range []string{spec.Dir, spec.Hosts, spec.HostnameFile, spec.NetNSPath, spec.JoinNetOf} {
		if _, err := os.Stat(f); f != "" && err != nil {
			return nil, err
		}
	}
	s := r.stage
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.procs[spec.Dir] != nil {
		return nil, fmt.Errorf("%s is another container's", spec.Dir)
	}
	s.serial++
	p := &process{spec: spec, ns: s.path("ns", fmt.Sprint("of", s.serial)), ended: make(chan struct{}), state: shim.State{ID: spec.ID, Status: shim.Created, PID: 1000 + s.serial}}
	if err := os.WriteFile(p.ns, nil, 0o600); err != nil {
		return nil, err
	}
	s.procs[spec.Dir] = p
	return handle{r.life, p}, nil
}

func (r runtimeOf) Connect(_ context.Context, dir string) (engine.Process, error) {
	if err := r.step("connect"); err != nil {
		return nil, err
	}
	if p := r.find(dir); p != nil && !p.gone() {
		return handle{r.life, p}, nil
	}
	return nil, shim.ErrGone
}

func (l *life) find(dir string) *process {
	l.stage.mu.Lock()
	defer l.stage.mu.Unlock()
	return l.stage.procs[dir]
}

// gone: there is not even a shim.
func (p *process) gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mute
}

func (r runtimeOf) Lives(t shim.Trace) bool {
	p := r.find(t.Dir)
	return p != nil && p.status().Status != shim.Exited
}

func (r runtimeOf) End(ctx context.Context, t shim.Trace) error {
	if p := r.find(t.Dir); p != nil {
		return handle{r.life, p}.Remove(ctx)
	}
	return nil
}

func (r runtimeOf) LastExit(dir string) (shim.Exit, error) { return shim.ReadExit(dir) }

// handle is a daemon's connection to a container's processes.
type handle struct {
	*life
	p *process
}

func (h handle) ask(step string) error {
	if err := h.step(step); err != nil {
		return err
	}
	if h.p.gone() {
		return shim.ErrGone
	}
	return nil
}

func (h handle) State(context.Context) (shim.State, error) {
	if err := h.ask("state"); err != nil {
		return shim.State{}, err
	}
	return h.p.status(), nil
}

func (h handle) Namespaces(context.Context) (tap.Namespaces, error) {
	if err := h.ask("namespaces"); err != nil {
		return tap.Namespaces{}, err
	}
	f, err := os.Open(h.p.ns)
	return tap.Namespaces{Net: f}, err
}

func (h handle) Start(context.Context) error {
	if err := h.ask("start"); err != nil {
		return err
	}
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	h.p.state.Status, h.p.state.StartedAt = shim.Running, time.Now()
	return nil
}

func (h handle) Wait(ctx context.Context) (shim.Exit, error) {
	select {
	case <-h.p.ended:
	case <-ctx.Done():
		return shim.Exit{}, ctx.Err()
	}
	if h.p.gone() {
		return shim.Exit{}, shim.ErrGone
	}
	return *h.p.status().Exit, nil
}

func (h handle) Signal(_ context.Context, s syscall.Signal) error {
	if err := h.ask("signal"); err != nil {
		return err
	}
	if h.p.status().Status != shim.Running {
		return shim.ErrNotRunning
	}
	h.p.end(true, 128+int(s))
	return nil
}

// Remove says that it failed after it has done its work: a real one that has not is a process that the kernel holds.
func (h handle) Remove(context.Context) error {
	err := h.step("remove")
	if errors.Is(err, errDead) {
		return err
	}
	h.p.end(true, 137)
	s := h.stage
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.procs[h.p.spec.Dir] == h.p {
		delete(s.procs, h.p.spec.Dir)
		_ = os.Remove(h.p.ns) // only a name
	}
	return err
}

func (h handle) Close() error { return nil }

func (h handle) Resize(context.Context, uint16, uint16) error { return nil }

func (h handle) Attach(context.Context, shim.AttachOptions) (*engine.Streams, error) {
	return &engine.Streams{Stdout: io.MultiReader(), Close: func() error { return nil }}, nil
}

func (h handle) Exec(context.Context, shim.ExecSpec) (engine.Exec, error) {
	return nil, errInjected // never started here
}
