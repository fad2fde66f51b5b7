package engine

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"syscall"

	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/tap"
)

// shimRuntime is the Runtime that makes real processes.
type shimRuntime struct{}

func (shimRuntime) Create(ctx context.Context, spec shim.Spec) (Process, error) {
	s, err := shim.Create(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &freshProcess{shimProcess: shimProcess{s}}, nil
}

func (shimRuntime) Connect(ctx context.Context, dir string) (Process, error) {
	s, err := shim.Connect(ctx, dir)
	if err != nil {
		return nil, err
	}
	return shimProcess{s}, nil
}

func (shimRuntime) Lives(t shim.Trace) bool { return t.Lives() }

func (shimRuntime) End(ctx context.Context, t shim.Trace) error { return t.End(ctx) }

func (shimRuntime) LastExit(dir string) (shim.Exit, error) { return shim.ReadExit(dir) }

// shimProcess adapts shim.Shim: some of its methods return concrete types.
type shimProcess struct{ s *shim.Shim }

func (p shimProcess) State(ctx context.Context) (shim.State, error) { return p.s.State(ctx) }
func (p shimProcess) Start(ctx context.Context) error               { return p.s.Start(ctx) }
func (p shimProcess) Wait(ctx context.Context) (shim.Exit, error)   { return p.s.Wait(ctx) }
func (p shimProcess) Close() error                                  { return p.s.Close() }

func (p shimProcess) Signal(ctx context.Context, sig syscall.Signal) error {
	if sig == syscall.SIGKILL {
		return p.s.Kill() // needs nothing of the shim, which may be stuck
	}
	return p.s.Signal(ctx, sig)
}

func (p shimProcess) Resize(ctx context.Context, width, height uint16) error {
	return p.s.Resize(ctx, width, height)
}

// Namespaces: the pid is pid 1's of the container, and if that lives after the
// namespaces were opened, they were its own and not those of a process that got its
// number.
func (p shimProcess) Namespaces(context.Context) (tap.Namespaces, error) {
	ns, err := tap.OpenNamespaces(p.s.PID())
	if err != nil {
		return ns, err
	}
	if !p.s.Alive() {
		return tap.Namespaces{}, errors.Join(shim.ErrGone, ns.Close())
	}
	return ns, nil
}

// freshProcess is a container whose pid 1 waits for Start: until then nobody has been in its mount namespace.
type freshProcess struct {
	shimProcess
	started atomic.Bool
}

func (p *freshProcess) Start(ctx context.Context) error {
	p.started.Store(true)
	return p.shimProcess.Start(ctx)
}

// Namespaces come with the container's own settings while that is so.
func (p *freshProcess) Namespaces(ctx context.Context) (tap.Namespaces, error) {
	ns, err := p.shimProcess.Namespaces(ctx)
	if err != nil || p.started.Load() {
		return ns, err
	}
	ns.UseSettingsOf(p.s.PID())
	if !p.s.Alive() {
		return tap.Namespaces{}, errors.Join(shim.ErrGone, ns.Close())
	}
	return ns, nil
}

func (p shimProcess) Attach(ctx context.Context, o shim.AttachOptions) (*Streams, error) {
	return streams(p.s.Attach(ctx, o))
}

func (p shimProcess) Exec(ctx context.Context, spec shim.ExecSpec) (Exec, error) {
	x, err := p.s.Exec(ctx, spec)
	if err != nil {
		return nil, err
	}
	return shimExec{x}, nil
}

// Remove ends the container if it has not, waits for that, and lets the shim go.
func (p shimProcess) Remove(ctx context.Context) error {
	err := p.s.Kill()
	if err == nil {
		_, err = p.s.Wait(ctx)
	}
	if err == nil {
		err = p.s.Ack(ctx)
	}
	return errors.Join(err, p.s.Close())
}

type shimExec struct{ *shim.Exec }

func (x shimExec) Attach(ctx context.Context, o shim.AttachOptions) (*Streams, error) {
	return streams(x.Exec.Attach(ctx, o))
}

// Streams are a process's standard streams; those not asked for are nil.
type Streams struct {
	Stdin  io.WriteCloser
	Stdout io.Reader
	Stderr io.Reader
	Close  func() error
}

func streams(s *shim.Stream, err error) (*Streams, error) {
	if err != nil {
		return nil, err
	}
	out := &Streams{Stdin: s.Stdin, Close: s.Close}
	// A nil reader of a concrete type would not be a nil io.Reader.
	if s.Stdout != nil {
		out.Stdout = s.Stdout
	}
	if s.Stderr != nil {
		out.Stderr = s.Stderr
	}
	return out, nil
}
