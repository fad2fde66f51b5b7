package engine

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/tap"
)

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
