package engine

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/tap"
)

// lateProcess stands for the processes of a container that lives, as far as can
// be told, and has not answered this engine yet. What is asked of it is refused
// until it has answered; but to be killed it needs no answer.
type lateProcess struct {
	runtime Runtime
	trace   shim.Trace
	name    string        // of the container, for errors
	kick    chan struct{} // it is worth looking again now
	settled chan struct{} // closed when there is an answer, or an end
	lost    shim.Exit     // what an end without a word counts as

	mu      sync.Mutex
	process Process // once it has answered
	gone    bool
	cause   error // why there is no answer yet
}

func newLate(runtime Runtime, trace shim.Trace, name string, lost shim.Exit, cause error) *lateProcess {
	return &lateProcess{
		runtime: runtime, trace: trace, name: name, lost: lost, cause: cause,
		kick: make(chan struct{}, 1), settled: make(chan struct{}),
	}
}

// answer gives it the processes; end says that there are none.
func (l *lateProcess) answer(p Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.process = p
	close(l.settled)
}

func (l *lateProcess) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	close(l.settled)
}

func (l *lateProcess) blame(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cause = cause
}

// get returns the processes, or why they cannot be asked.
func (l *lateProcess) get() (Process, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.gone:
		return nil, shim.ErrGone
	case l.process == nil:
		return nil, unavailable("container %s does not answer: %w; wait, or end it with `footbridge rm -f %s`", l.name, l.cause, l.name)
	}
	return l.process, nil
}

func (l *lateProcess) State(ctx context.Context) (shim.State, error) {
	p, err := l.get()
	if err != nil {
		return shim.State{}, err
	}
	return p.State(ctx)
}

func (l *lateProcess) Namespaces(ctx context.Context) (tap.Namespaces, error) {
	p, err := l.get()
	if err != nil {
		return tap.Namespaces{}, err
	}
	return p.Namespaces(ctx)
}

func (l *lateProcess) Start(ctx context.Context) error {
	p, err := l.get()
	if err != nil {
		return err
	}
	return p.Start(ctx)
}

// Wait also waits for the answer.
func (l *lateProcess) Wait(ctx context.Context) (shim.Exit, error) {
	select {
	case <-l.settled:
	case <-ctx.Done():
		return shim.Exit{}, ctx.Err()
	}
	p, err := l.get()
	if err == nil {
		return p.Wait(ctx)
	}
	if exit, err := l.runtime.LastExit(l.trace.Dir); err == nil {
		return exit, nil
	}
	exit := l.lost
	exit.FinishedAt = time.Now().UTC()
	return exit, nil
}

func (l *lateProcess) Signal(ctx context.Context, s syscall.Signal) error {
	p, err := l.get()
	switch {
	case err == nil:
		return p.Signal(ctx, s)
	case s != syscall.SIGKILL || isGone(err):
		return err
	}
	return l.kill(ctx)
}

func (l *lateProcess) kill(ctx context.Context) error {
	err := l.runtime.End(ctx, l.trace)
	select {
	case l.kick <- struct{}{}:
	default: // it will be looked at anyway
	}
	return err
}

func (l *lateProcess) Resize(ctx context.Context, width, height uint16) error {
	p, err := l.get()
	if err != nil {
		return err
	}
	return p.Resize(ctx, width, height)
}

func (l *lateProcess) Attach(ctx context.Context, o shim.AttachOptions) (*Streams, error) {
	p, err := l.get()
	if err != nil {
		return nil, err
	}
	return p.Attach(ctx, o)
}

func (l *lateProcess) Exec(ctx context.Context, spec shim.ExecSpec) (Exec, error) {
	p, err := l.get()
	if err != nil {
		return nil, err
	}
	return p.Exec(ctx, spec)
}

func (l *lateProcess) Remove(ctx context.Context) error {
	p, err := l.get()
	switch {
	case err == nil:
		return p.Remove(ctx)
	case isGone(err):
		return nil
	}
	return l.kill(ctx)
}

func (l *lateProcess) Close() error {
	if p, err := l.get(); err == nil {
		return p.Close()
	}
	return nil
}
