package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

const fakeID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// fakeBackend is a daemon's engine with one container, whose command is a
// function of the test's. What is not implemented panics, which fails the test.
type fakeBackend struct {
	api.Backend

	command   func(stdin io.Reader, stdout, stderr io.Writer) (code int)
	startErr  error
	createErr error
	summaries []container.Summary
	networks  []network.Summary
	inspect   container.InspectResponse
	detail    api.ContainerDetail

	mu       sync.Mutex
	created  container.CreateRequest
	name     string
	removed  []string
	killed   []string
	out, err *io.PipeWriter
	in       *io.PipeReader
	exit     chan container.WaitResponse
	onKill   func(sig string)
	onResize func(api.TTYSize)
	stopped  []api.StopOptions
	exec     container.ExecCreateRequest
	execErr  error
	execGone error // what asking for the exit code ends with after the start

	execStarted bool
	logs        api.LogsOptions
}

// serve serves b on the world's socket until the test ends.
func (w *world) serve(t *testing.T, b *fakeBackend) {
	t.Helper()
	w.serveBackend(t, b)
}

func (w *world) serveBackend(t *testing.T, b api.Backend) {
	t.Helper()
	d, err := w.dirs()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	server, err := api.NewServer(api.ServerOptions{Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	l, err := api.Listen(d.socket())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("a request did not end: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

func (b *fakeBackend) Ping(context.Context) error { return nil }

func (b *fakeBackend) ContainerCreate(_ context.Context, name string, req container.CreateRequest) (container.CreateResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.name, b.created = name, req
	return container.CreateResponse{ID: fakeID}, b.createErr
}

func (b *fakeBackend) ContainerAttach(_ context.Context, _ string, o api.AttachOptions) (*api.Stream, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	outR, outW := io.Pipe()
	s := &api.Stream{TTY: b.created.Tty, Stdout: outR}
	b.out = outW
	var errR *io.PipeReader
	if !b.created.Tty {
		errR, b.err = io.Pipe()
		s.Stderr = errR
	}
	var inR *io.PipeReader
	if o.Stdin {
		var inW *io.PipeWriter
		inR, inW = io.Pipe()
		s.Stdin = inW
	}
	b.in = inR
	s.Detach = func() error {
		_ = outR.Close()
		if errR != nil {
			_ = errR.Close()
		}
		if inR != nil {
			_ = inR.Close()
		}
		return nil
	}
	return s, nil
}

func (b *fakeBackend) ContainerWait(context.Context, string, container.WaitCondition) (<-chan container.WaitResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.exit = make(chan container.WaitResponse, 1)
	return b.exit, nil
}

func (b *fakeBackend) ContainerStart(context.Context, string) error {
	if b.startErr != nil {
		return b.startErr
	}
	b.mu.Lock()
	in, out, err, exit := b.in, b.out, b.err, b.exit
	b.mu.Unlock()
	if exit == nil { // detached
		return nil
	}
	go func() {
		var stdin io.Reader
		if in != nil {
			stdin = in
		}
		var stderr io.Writer
		if err != nil {
			stderr = err
		}
		code := b.command(stdin, out, stderr)
		_ = out.Close()
		if err != nil {
			_ = err.Close()
		}
		exit <- container.WaitResponse{StatusCode: int64(code)}
		close(exit)
	}()
	return nil
}

// blockingStart is interrupted in the middle of the start, which lasts until
// the client gives up.
type blockingStart struct{ *fakeBackend }

func (b *blockingStart) ContainerStart(ctx context.Context, _ string) error {
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (b *fakeBackend) ContainerRemove(_ context.Context, name string, _ api.RemoveOptions) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.removed = append(b.removed, name)
	return nil
}

func (b *fakeBackend) ContainerKill(_ context.Context, _ string, sig string) error {
	b.mu.Lock()
	b.killed = append(b.killed, sig)
	f := b.onKill
	b.mu.Unlock()
	if f != nil {
		f(sig)
	}
	return nil
}

func (b *fakeBackend) ContainerResize(_ context.Context, _ string, size api.TTYSize) error {
	if b.onResize != nil {
		b.onResize(size)
	}
	return nil
}

func (b *fakeBackend) ContainerList(context.Context, api.ListOptions) ([]container.Summary, error) {
	return b.summaries, nil
}

func (b *fakeBackend) ContainerDetail(context.Context, string) (api.ContainerDetail, error) {
	return b.detail, nil
}

func (b *fakeBackend) ContainerInspect(_ context.Context, name string) (container.InspectResponse, error) {
	if name != b.inspect.ID && "/"+name != b.inspect.Name {
		return container.InspectResponse{}, errNoSuch(name)
	}
	return b.inspect, nil
}

func (b *fakeBackend) NetworkList(context.Context, api.Filters) ([]network.Summary, error) {
	return b.networks, nil
}

func (b *fakeBackend) NetworkInspect(_ context.Context, name string, _ api.NetworkInspectOptions) (network.Inspect, error) {
	for _, n := range b.networks {
		if n.Name == name {
			return network.Inspect{Network: n.Network}, nil
		}
	}
	return network.Inspect{}, errNoSuch(name)
}

// feed makes the commands' input a file with this text.
func (w *world) feed(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(w.folder, "input")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	w.stdin = f
}

func (b *fakeBackend) ContainerStop(_ context.Context, name string, o api.StopOptions) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = append(b.stopped, o)
	switch name {
	case "idle":
		return api.Errorf(errdefs.ErrNotModified, "container idle does not run")
	case "nope":
		return errNoSuch(name)
	}
	return nil
}

func (b *fakeBackend) ExecCreate(_ context.Context, _ string, req container.ExecCreateRequest) (container.ExecCreateResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.exec = req
	return container.ExecCreateResponse{ID: "e1"}, nil
}

func (b *fakeBackend) ExecStart(_ context.Context, _ string, req container.ExecStartRequest) (*api.Stream, error) {
	if b.execErr != nil || req.Detach {
		return nil, b.execErr
	}
	b.mu.Lock()
	b.execStarted = true
	b.mu.Unlock()
	return &api.Stream{Stdout: strings.NewReader("to stdout\n"), Stderr: strings.NewReader("to stderr\n")}, nil
}

func (b *fakeBackend) ExecInspect(context.Context, string) (container.ExecInspectResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.execStarted && b.execGone != nil {
		return container.ExecInspectResponse{}, b.execGone
	}
	code := 17
	return container.ExecInspectResponse{ExitCode: &code}, nil
}

func (b *fakeBackend) ContainerLogs(_ context.Context, _ string, o api.LogsOptions) (*api.Logs, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.logs = o
	return &api.Logs{Entries: func(yield func(api.LogEntry, error) bool) {
		_ = yield(api.LogEntry{Stream: stdcopy.Stdout, Time: testNow, Line: []byte("one\n")}, nil) &&
			yield(api.LogEntry{Stream: stdcopy.Stderr, Time: testNow, Line: []byte("two\n")}, nil)
	}}, nil
}
