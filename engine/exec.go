package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/shim"
)

// maxExecs bounds the execs that are remembered, ended ones included: clients
// ask for an exit code soon or never.
const maxExecs = 1024

// codeKilled is the exit code of an exec that ended with its container:
// 128 + SIGKILL.
const codeKilled = 137

// execution is one exec, from its creation until it is forgotten.
type execution struct {
	id        string
	container *ctr
	request   container.ExecCreateRequest
	seq       uint64 // order of creation

	// Guarded by Engine.mu.
	started bool
	exec    Exec
	exit    *shim.Exit

	done chan struct{} // closed when exit is set, or the exec could not be started
}

// ExecCreate implements api.ExecBackend.
func (e *Engine) ExecCreate(_ context.Context, nameOrID string, req container.ExecCreateRequest) (container.ExecCreateResponse, error) {
	if len(req.Cmd) == 0 || req.Cmd[0] == "" {
		return container.ExecCreateResponse{}, invalid("no exec command specified")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.findContainer(nameOrID)
	if err != nil {
		return container.ExecCreateResponse{}, err
	}
	if c.def.Foreign != nil {
		return container.ExecCreateResponse{}, conflict("container %s cannot be given a command: its namespaces were attached, and are not footbridge's; run it with nsenter(1), for example `nsenter --preserve-credentials --user --net -t PID`, or end the attachment with `footbridge detach %s`", c.def.Name, c.def.Name)
	}
	if c.run == nil || !c.def.running() {
		return container.ExecCreateResponse{}, conflict("container %s is not running", c.def.ID)
	}
	e.execSeq++
	x := &execution{id: newID(), container: c, request: req, seq: e.execSeq, done: make(chan struct{})}
	e.forgetExecs()
	e.execs[x.id] = x
	e.containerEvent(events.Action("exec_create: "+commandLine(req.Cmd)), c.def, "execID", x.id)
	return container.ExecCreateResponse{ID: x.id}, nil
}

// forgetExecs drops the oldest execs that do not run, when there are many;
// e.mu is held.
func (e *Engine) forgetExecs() {
	for len(e.execs) >= maxExecs {
		var oldest *execution
		for _, x := range e.execs {
			if (x.exit != nil || !x.started) && (oldest == nil || x.seq < oldest.seq) {
				oldest = x
			}
		}
		if oldest == nil {
			return // all of them run
		}
		delete(e.execs, oldest.id)
	}
}

func (e *Engine) findExec(id string) (*execution, error) {
	if x, ok := e.execs[id]; ok {
		return x, nil
	}
	return nil, notFound("No such exec instance: %s", id)
}

// ExecStart implements api.ExecBackend.
func (e *Engine) ExecStart(ctx context.Context, execID string, req container.ExecStartRequest) (*api.Stream, error) {
	leave, err := e.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	e.mu.Lock()
	x, err := e.findExec(execID)
	var r *run
	if err == nil {
		switch r = x.container.run; {
		case x.started:
			err = conflict("exec command %s is already running or has run", x.id)
		case r == nil || !x.container.def.running():
			// It has ended since the exec was made: so has the exec.
			err = conflict("container %s is not running", x.container.def.ID)
			x.started, x.exit = true, &shim.Exit{Code: codeKilled}
			close(x.done)
		default:
			x.started = true
		}
	}
	e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	s, err := e.startExec(ctx, x, r, req)
	if err != nil {
		code := codeStartFailed
		switch {
		case errors.Is(err, shim.ErrNotFound):
			code, err = codeNotFound, api.Errorf(api.ErrCommandNotFound, "exec failed: unable to start container process: %w: unknown", err)
		case errors.Is(err, shim.ErrPermission):
			code, err = codeNotExecutable, api.Errorf(api.ErrCommandNotExecutable, "exec failed: unable to start container process: %w: unknown", err)
		case isGone(err):
			code, err = codeKilled, conflict("container %s is not running", x.container.def.ID)
		case errors.Is(err, shim.ErrInvalid):
			err = invalid("%w", err)
		}
		e.mu.Lock()
		x.exit = &shim.Exit{Code: code}
		e.mu.Unlock()
		close(x.done)
		return nil, err
	}
	return s, nil
}

// startExec makes and runs the exec's process.
func (e *Engine) startExec(ctx context.Context, x *execution, r *run, req container.ExecStartRequest) (*api.Stream, error) {
	def, q := e.snapshot(x.container), x.request
	spec := shim.ExecSpec{
		Args: q.Cmd, Cwd: q.WorkingDir, TTY: q.Tty, Stdin: q.AttachStdin && !req.Detach, User: q.User, Privileged: q.Privileged,
		Env: execEnvironment(def, q, e.linkEnvironment(def)),
	}
	if spec.Cwd == "" {
		spec.Cwd = def.Config.WorkingDir
	}
	if spec.User == "" {
		spec.User = def.Config.User
	}
	exec, err := r.process.Exec(ctx, spec)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	x.exec = exec
	e.mu.Unlock()
	size := q.ConsoleSize
	if req.ConsoleSize != nil {
		size = req.ConsoleSize
	}
	if q.Tty && size != nil {
		if err := exec.Resize(ctx, uint16(size[1]), uint16(size[0])); err != nil {
			e.log.Debug("terminal of an exec not resized", "error", err)
		}
	}
	var s *api.Stream
	var streams *Streams
	if !req.Detach {
		options := shim.AttachOptions{Stdin: q.AttachStdin, Stdout: q.AttachStdout || q.Tty, Stderr: q.AttachStderr && !q.Tty}
		if streams, err = exec.Attach(ctx, options); err != nil {
			return nil, err
		}
		s = &api.Stream{TTY: q.Tty}
		left := make(chan struct{})
		fill(s, options, streams.Stdin, execOutput{streams.Stdout, x, left}, execOutput{streams.Stderr, x, left})
		var once sync.Once
		s.Detach = func() error {
			once.Do(func() { close(left) })
			return streams.Close()
		}
	}
	if err := exec.Start(ctx); err != nil {
		if streams != nil {
			_ = streams.Close()
		}
		return nil, err
	}
	e.containerEvent(events.Action("exec_start: "+commandLine(q.Cmd)), def, "execID", x.id)
	e.background.Go(func() { e.watchExec(x, def) })
	return s, nil
}

// watchExec waits for the exec's end.
func (e *Engine) watchExec(x *execution, def *ContainerDef) {
	exit, err := x.exec.Wait(e.ctx)
	if err != nil {
		exit = shim.Exit{Code: codeKilled, Error: err.Error()} // ended with its container
	}
	e.mu.Lock()
	x.exit = &exit
	e.mu.Unlock()
	close(x.done)
	if e.ctx.Err() == nil {
		e.containerEvent(events.ActionExecDie, def, "execID", x.id, "exitCode", itoa(exit.Code))
	}
}

// execOutput is an exec's output. Its end is told only when the exit code is
// known, for that is what a client asks for next.
type execOutput struct {
	io.Reader
	x    *execution
	left <-chan struct{}
}

func (o execOutput) Read(b []byte) (int, error) {
	n, err := o.Reader.Read(b)
	if n == 0 && errors.Is(err, io.EOF) {
		select {
		case <-o.x.done:
		case <-o.left:
		}
	}
	return n, err
}

// execEnvironment is the container's with the exec's own settings over it.
func execEnvironment(def *ContainerDef, q container.ExecCreateRequest, links []string) []string {
	cfg := def.Config
	cfg.Tty = q.Tty
	cfg.Env = append(append([]string{}, cfg.Env...), q.Env...)
	return environment(&cfg, hostname(def), links...)
}

// ExecInspect implements api.ExecBackend.
func (e *Engine) ExecInspect(_ context.Context, execID string) (container.ExecInspectResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x, err := e.findExec(execID)
	if err != nil {
		return container.ExecInspectResponse{}, err
	}
	q := x.request
	out := container.ExecInspectResponse{
		ID: x.id, ContainerID: x.container.def.ID, Running: x.started && x.exit == nil,
		OpenStdin: q.AttachStdin, OpenStdout: q.AttachStdout, OpenStderr: q.AttachStderr, CanRemove: x.exit != nil,
		ProcessConfig: &container.ExecProcessConfig{
			Tty: q.Tty, Entrypoint: q.Cmd[0], Arguments: q.Cmd[1:], Privileged: &q.Privileged, User: q.User,
		},
	}
	if x.exit != nil {
		out.ExitCode = &x.exit.Code
	}
	return out, nil
}

// ExecResize implements api.ExecBackend.
func (e *Engine) ExecResize(ctx context.Context, execID string, size api.TTYSize) error {
	e.mu.Lock()
	x, err := e.findExec(execID)
	var exec Exec
	if err == nil {
		exec = x.exec
	}
	e.mu.Unlock()
	switch {
	case err != nil:
		return err
	case exec == nil:
		return conflict("exec %s is not running: its terminal cannot be resized", short(execID))
	}
	return resizeError(exec.Resize(ctx, size.Width, size.Height), "exec "+short(execID))
}

// ContainerResize implements api.ContainerBackend.
func (e *Engine) ContainerResize(ctx context.Context, nameOrID string, size api.TTYSize) error {
	e.mu.Lock()
	c, err := e.findContainer(nameOrID)
	var r *run
	if err == nil {
		r = c.run
		if r == nil || r.process == nil || !c.def.running() {
			err = conflict("container %s is not running: its terminal cannot be resized", c.def.ID)
		}
	}
	e.mu.Unlock()
	if err != nil {
		return err
	}
	return resizeError(r.process.Resize(ctx, size.Width, size.Height), "container "+nameOrID)
}

func resizeError(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, shim.ErrInvalid):
		return invalid("%w", err)
	case isGone(err):
		return conflict("%s is not running: its terminal cannot be resized", what)
	}
	return fmt.Errorf("resize the terminal of %s: %w", what, err)
}
