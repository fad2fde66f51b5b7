package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/shim"
)

func TestAttachBeforeStart(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	id, err := e.testCreate(spec{name: "c", cfg: func(c *container.Config) { c.OpenStdin = true }, host: func(h *container.HostConfig) { h.ConsoleSize = [2]uint{24, 80} }})
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.ContainerAttach(ctx, id, api.AttachOptions{Stdin: true, Stdout: true, Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	leaver, err := e.ContainerAttach(ctx, id, api.AttachOptions{Stdout: true, Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := leaver.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := leaver.Stdout.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a client that left reads: %v", err)
	}
	wrote := make(chan error)
	go func() {
		_, err := s.Stdin.Write([]byte("typed before the start"))
		wrote <- err
	}()
	if err := e.ContainerStart(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	p := w.process(e, id)
	go func() {
		p.write("first words\n")
		p.end(0)
	}()
	got, err := io.ReadAll(s.Stdout)
	if err != nil || string(got) != "first words\n" {
		t.Errorf("read %q, %v", got, err)
	}
	if string(p.input) != "typed before the start" {
		t.Errorf("input %q", p.input)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestExec(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testRun(t, spec{name: "c", cfg: func(c *container.Config) { c.WorkingDir, c.Env = "/work", []string{"A=1", "PATH=/p"} }})
	create := func() string {
		t.Helper()
		r, err := e.ExecCreate(ctx, "c", container.ExecCreateRequest{Cmd: []string{"say"}, AttachStdout: true, Env: []string{"A=2"}})
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	id := create()
	s, err := e.ExecStart(ctx, id, container.ExecStartRequest{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(s.Stdout)
	if err != nil || string(out) != "[say] /work\n" {
		t.Errorf("read %q, %v", out, err)
	}
	// The end of the output means that the exit code is known.
	in, err := e.ExecInspect(ctx, id)
	if err != nil || in.Running || in.ExitCode == nil || *in.ExitCode != 7 {
		t.Errorf("inspect: %+v, %v", in, err)
	}
	if _, err := e.ExecStart(ctx, id, container.ExecStartRequest{}); !errdefs.IsConflict(err) {
		t.Errorf("second start: %v", err)
	}
	w.failAt("exec start", &shim.StartError{Code: 127, Message: `exec: "say": executable file not found in $PATH`})
	id = create()
	if _, err := e.ExecStart(ctx, id, container.ExecStartRequest{}); !errors.Is(err, api.ErrCommandNotFound) || !strings.Contains(err.Error(), "executable file not found in $PATH") {
		t.Errorf("unknown command: %v", err)
	}
	if in, err := e.ExecInspect(ctx, id); err != nil || in.ExitCode == nil || *in.ExitCode != 127 {
		t.Errorf("inspect: %+v, %v", in, err)
	}
	e.testStop(t, "c")
	if _, err := e.ExecCreate(ctx, "c", container.ExecCreateRequest{Cmd: []string{"say"}}); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "is not running") {
		t.Errorf("in an ended container: %v", err)
	}
	if _, err := e.ExecInspect(ctx, "nonsense"); !errdefs.IsNotFound(err) {
		t.Errorf("unknown exec: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("HOME", "/home/u")
	got := environment(&container.Config{Tty: true, Env: []string{"A=1", "HOME=/h", "A=2", "TERM", "B="}}, "hh")
	if want := []string{"PATH=" + defaultPath, "HOSTNAME=hh", "HOME=/h", "A=2", "B="}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// logLine is one line of a json-file log.
func logLine(stream, text string, at int) string {
	return fmt.Sprintf(`{"log":%q,"stream":%q,"time":%q}`+"\n", text, stream, time.Unix(int64(at), 0).UTC().Format(time.RFC3339Nano))
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestLogs(t *testing.T) {
	e := newWorld(t).engine()
	id := e.testRun(t, spec{name: "c"})
	path := e.logPath(id)
	appendTo(t, path+".2", logLine("stdout", "1\n", 1)+"not json\n")
	appendTo(t, path+".1", logLine("stderr", "2\n", 2)+logLine("stdout", "3\n", 3))
	appendTo(t, path, logLine("stdout", "4\n", 4)+`{"log":"half`)
	for _, tt := range []struct {
		o    api.LogsOptions
		want string
	}{
		{api.LogsOptions{Stdout: true, Stderr: true, Tail: -1}, "1,2,3,4"},
		{api.LogsOptions{Stdout: true, Tail: -1}, "1,3,4"},
		{api.LogsOptions{Stderr: true, Tail: -1}, "2"},
		{api.LogsOptions{Stdout: true, Stderr: true, Tail: 2}, "3,4"},
		{api.LogsOptions{Stdout: true, Stderr: true, Tail: 3}, "2,3,4"},
		{api.LogsOptions{Stdout: true, Stderr: true, Tail: 0}, ""},
		{api.LogsOptions{Stdout: true, Stderr: true, Tail: -1, Since: time.Unix(3, 0)}, "3,4"},
		{api.LogsOptions{Stdout: true, Stderr: true, Tail: -1, Until: time.Unix(2, 0)}, "1,2"},
	} {
		logs, err := e.ContainerLogs(context.Background(), "c", tt.o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for entry, err := range logs.Entries {
			if err != nil {
				t.Fatal(err)
			}
			if (entry.Stream == stdcopy.Stderr) != (string(entry.Line) == "2\n") {
				t.Errorf("%q came by stream %d", entry.Line, entry.Stream)
			}
			got = append(got, strings.TrimSpace(string(entry.Line)))
		}
		if strings.Join(got, ",") != tt.want {
			t.Errorf("%+v: %v, want %s", tt.o, got, tt.want)
		}
	}
	if _, err := e.ContainerLogs(context.Background(), "c", api.LogsOptions{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("no stream: %v", err)
	}
}

// A follower sees each entry once, across rotations and torn writes, and ends
// with the container.
func TestFollowLogs(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	id := e.testRun(t, spec{name: "c"})
	path := e.logPath(id)
	appendTo(t, path, logLine("stdout", "0", 1))
	logs, err := e.ContainerLogs(context.Background(), id, api.LogsOptions{Stdout: true, Follow: true, Tail: -1})
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for entry, err := range logs.Entries {
			if err != nil {
				t.Error(err)
				return
			}
			lines <- string(entry.Line)
		}
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-lines:
			if got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("waited for %q", want)
		}
	}
	expect("0")
	line := logLine("stdout", "1", 1)
	appendTo(t, path, line[:20])
	appendTo(t, path, line[20:])
	expect("1")
	rotate := func() {
		t.Helper()
		_ = os.Rename(path+".1", path+".2")
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
	}
	appendTo(t, path, logLine("stdout", "2", 1))
	rotate()
	appendTo(t, path, logLine("stdout", "3", 1))
	expect("2")
	expect("3")
	appendTo(t, path, logLine("stdout", "4", 1))
	rotate()
	appendTo(t, path, logLine("stdout", "5", 1))
	rotate()
	appendTo(t, path, logLine("stdout", "6", 1))
	w.process(e, id).end(0)
	expect("4")
	expect("5")
	expect("6")
	if l, ok := <-lines; ok {
		t.Errorf("after the end: %q", l)
	}
}
