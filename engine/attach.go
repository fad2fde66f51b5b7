package engine

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/events"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/shim"
)

// pendingAttach is a client that waits for a container to be started: it sees
// the output from its first byte.
type pendingAttach struct {
	options shim.AttachOptions

	once    sync.Once
	settled chan struct{} // closed when streams is final
	streams *Streams      // nil: the container never started, or the client left
}

func (p *pendingAttach) settle(s *Streams) (first bool) {
	p.once.Do(func() {
		p.streams, first = s, true
		close(p.settled)
	})
	return first
}

// Reading and writing wait for the start.

type pendingOutput struct {
	p      *pendingAttach
	stderr bool
}

func (o pendingOutput) Read(b []byte) (int, error) {
	<-o.p.settled
	if o.p.streams == nil {
		return 0, io.EOF
	}
	r := o.p.streams.Stdout
	if o.stderr {
		r = o.p.streams.Stderr
	}
	if r == nil {
		return 0, io.EOF
	}
	return r.Read(b)
}

type pendingInput struct{ p *pendingAttach }

func (i pendingInput) Write(b []byte) (int, error) {
	<-i.p.settled
	if i.p.streams == nil || i.p.streams.Stdin == nil {
		return 0, io.ErrClosedPipe
	}
	return i.p.streams.Stdin.Write(b)
}

func (i pendingInput) Close() error {
	<-i.p.settled
	if i.p.streams == nil || i.p.streams.Stdin == nil {
		return nil
	}
	return i.p.streams.Stdin.Close()
}

// ContainerAttach implements api.ContainerBackend.
func (e *Engine) ContainerAttach(ctx context.Context, nameOrID string, o api.AttachOptions) (*api.Stream, error) {
	c, err := e.container(nameOrID)
	if err != nil {
		return nil, err
	}
	if err := refuseForeign(e.snapshot(c), "listened to"); err != nil {
		return nil, err
	}
	var before replay
	if o.Logs {
		if before, err = e.replay(c, o); err != nil {
			return nil, err
		}
	}
	def := e.snapshot(c)
	s := &api.Stream{TTY: def.Config.Tty}
	if o.Stream {
		unlock, err := e.lock(c) // a start under way is over then
		if err != nil {
			return nil, err
		}
		err = e.attachStream(ctx, c, o, s)
		unlock()
		if err != nil {
			return nil, err
		}
		e.containerEvent(events.ActionAttach, def)
	}
	before.prepend(s, o)
	return s, nil
}

// attachStream connects s to the container's streams, now or at its start;
// c.op is held.
func (e *Engine) attachStream(ctx context.Context, c *ctr, o api.AttachOptions, s *api.Stream) error {
	options := shim.AttachOptions{
		Stdin: o.Stdin && c.def.Config.OpenStdin, Stdout: o.Stdout, Stderr: o.Stderr && !s.TTY,
	}
	if s.TTY { // a terminal has one output
		options.Stdout = o.Stdout || o.Stderr
	}
	e.mu.Lock()
	r := c.run
	var p *pendingAttach
	if r == nil {
		p = &pendingAttach{options: options, settled: make(chan struct{})}
		c.pending = append(c.pending, p)
	}
	e.mu.Unlock()
	if p != nil {
		fill(s, options, pendingInput{p}, pendingOutput{p: p}, pendingOutput{p: p, stderr: true})
		s.Detach = func() error {
			e.mu.Lock()
			c.pending = slices.DeleteFunc(c.pending, func(q *pendingAttach) bool { return q == p })
			e.mu.Unlock()
			if p.settle(nil) || p.streams == nil {
				return nil
			}
			return p.streams.Close()
		}
		return nil
	}
	streams, err := r.process.Attach(ctx, options)
	if err != nil {
		if isGone(err) {
			return conflict("You cannot attach to a stopped container, start it first")
		}
		return err
	}
	fill(s, options, streams.Stdin, streams.Stdout, streams.Stderr)
	s.Detach = streams.Close
	return nil
}

// fill gives s those of the streams that were asked for.
func fill(s *api.Stream, o shim.AttachOptions, stdin io.WriteCloser, stdout, stderr io.Reader) {
	if o.Stdin {
		s.Stdin = stdin
	}
	if o.Stdout {
		s.Stdout = stdout
	}
	if o.Stderr {
		s.Stderr = stderr
	}
}

// attachPending connects the clients that wait for the start; c.op is held.
func (e *Engine) attachPending(ctx context.Context, c *ctr, r *run) error {
	e.mu.Lock()
	pending := c.pending
	c.pending = nil
	e.mu.Unlock()
	for i, p := range pending {
		streams, err := r.process.Attach(ctx, p.options)
		if err != nil {
			for _, p := range pending[i:] {
				p.settle(nil)
			}
			return err
		}
		if !p.settle(streams) { // the client left in this moment
			_ = streams.Close()
		}
	}
	return nil
}

// endPending tells the clients that wait that there will be nothing.
func (e *Engine) endPending(c *ctr) {
	e.mu.Lock()
	pending := c.pending
	c.pending = nil
	e.mu.Unlock()
	for _, p := range pending {
		p.settle(nil)
	}
}

// replay is what a container has written so far.
type replay struct{ stdout, stderr bytes.Buffer }

func (e *Engine) replay(c *ctr, o api.AttachOptions) (replay, error) {
	var r replay
	for entry, err := range e.readLog(c.def.ID, api.LogsOptions{Stdout: o.Stdout, Stderr: o.Stderr, Tail: -1}) {
		if err != nil {
			return replay{}, err
		}
		if entry.Stream == stdcopy.Stderr {
			r.stderr.Write(entry.Line)
		} else {
			r.stdout.Write(entry.Line)
		}
	}
	return r, nil
}

// prepend puts what was written before in front of the streams.
func (r *replay) prepend(s *api.Stream, o api.AttachOptions) {
	join := func(want bool, before *bytes.Buffer, live *io.Reader) {
		switch {
		case !want || before.Len() == 0 && *live != nil:
		case *live == nil:
			*live = before
		default:
			*live = io.MultiReader(before, *live)
		}
	}
	join(o.Stdout, &r.stdout, &s.Stdout)
	if !s.TTY {
		join(o.Stderr, &r.stderr, &s.Stderr)
	}
}
