package shim

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what should come at once; two busy cores are slow.
const patience = 60 * time.Second

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

var lastID atomic.Int64

// newSpec is a container with a network of its own that runs a command.
func newSpec(t *testing.T, args ...string) Spec {
	t.Helper()
	dir, err := os.MkdirTemp("", "c") // t.TempDir makes paths too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	id := fmt.Sprintf("test%d", lastID.Add(1))
	return Spec{
		ID: id, Dir: filepath.Join(dir, "r"), LogPath: filepath.Join(dir, id+"-json.log"),
		Args: args, Env: []string{"PATH=" + defaultPath},
	}
}

// create makes a container that is killed at the test's end, and sees that its shim goes away.
func create(t *testing.T, spec Spec) *Shim {
	t.Helper()
	s, err := Create(testContext(t), spec)
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	keeper := pidfdOf(t, parentOf(t, s.PID()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Kill(); err != nil {
			t.Errorf("Kill: %v", err)
		}
		if _, err := s.Wait(ctx); err != nil {
			t.Errorf("Wait: %v", err)
		}
		if err := s.Ack(ctx); err != nil {
			t.Errorf("Ack: %v", err)
		}
		s.Close()
		awaitDeath(t, keeper, "shim")
		for _, name := range []string{socketName, scratchName, crashName} {
			if b, err := os.ReadFile(filepath.Join(spec.Dir, name)); err == nil {
				t.Errorf("%s is left behind: %s", name, b)
			}
		}
	})
	return s
}

// session is a container with everything attached.
type session struct {
	t      *testing.T
	s      *Shim
	stream *Stream
	out    *bufio.Reader
	err    *bufio.Reader
}

// start makes a container, attaches, and starts it.
func start(t *testing.T, spec Spec) *session {
	t.Helper()
	s := create(t, spec)
	stream, err := s.Attach(testContext(t), AttachOptions{Stdin: spec.OpenStdin || spec.TTY, Stdout: true, Stderr: true})
	if err != nil {
		t.Fatalf("Attach: %v", err)
	}
	t.Cleanup(func() { stream.Close() })
	c := &session{t: t, s: s, stream: stream, out: bufio.NewReader(stream.Stdout)}
	if stream.Stderr != nil {
		c.err = bufio.NewReader(stream.Stderr)
	}
	if err := s.Start(testContext(t)); err != nil {
		t.Fatalf("Start: %v", err)
	}
	return c
}

// line reads the next line of output, without its end.
func (c *session) line() string {
	c.t.Helper()
	l, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("output ended with %q: %v", l, err)
	}
	return strings.TrimRight(l, "\r\n")
}

// until reads lines until one contains text.
func (c *session) until(text string) {
	c.t.Helper()
	for !strings.Contains(c.line(), text) {
	}
}

func (c *session) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.stream.Stdin, text); err != nil {
		c.t.Fatalf("write input: %v", err)
	}
}

// finish waits for the container's end and returns the rest of its output.
func (c *session) finish() (Exit, string, string) {
	c.t.Helper()
	var stderr bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c.err != nil {
			_, _ = io.Copy(&stderr, c.err)
		}
	}()
	stdout, err := io.ReadAll(c.out)
	if err != nil {
		c.t.Fatalf("read output: %v", err)
	}
	<-done
	exit, err := c.s.Wait(testContext(c.t))
	if err != nil {
		c.t.Fatalf("Wait: %v", err)
	}
	return exit, string(stdout), stderr.String()
}

// outputOf runs a shell script in a container to its successful end.
func outputOf(t *testing.T, spec Spec) string {
	t.Helper()
	exit, stdout, stderr := start(t, spec).finish()
	if exit.Code != 0 {
		t.Fatalf("%q: exit %+v, output %q, errors %q", spec.Args, exit, stdout, stderr)
	}
	return stdout
}

// sh is the arguments that run a script.
func sh(script string) []string { return []string{"sh", "-c", script} }

// execOutput runs a process in the container to its end.
func execOutput(t *testing.T, s *Shim, spec ExecSpec, input string) (Exit, string, string) {
	t.Helper()
	ctx := testContext(t)
	e, err := s.Exec(ctx, spec)
	if err != nil {
		t.Fatalf("Exec: %v", err)
	}
	stream, err := e.Attach(ctx, AttachOptions{Stdin: spec.Stdin, Stdout: true, Stderr: true})
	if err != nil {
		t.Fatalf("Attach: %v", err)
	}
	defer stream.Close()
	if err := e.Start(ctx); err != nil {
		t.Fatalf("Start: %v", err)
	}
	if spec.Stdin {
		if _, err := io.WriteString(stream.Stdin, input); err != nil {
			t.Fatalf("input: %v", err)
		}
		stream.Stdin.Close()
	}
	var out, errs bytes.Buffer
	if err := stream.CopyOutput(&out, &errs); err != nil {
		t.Fatalf("output: %v", err)
	}
	exit, err := e.Wait(ctx)
	if err != nil {
		t.Fatalf("Wait: %v", err)
	}
	return exit, out.String(), errs.String()
}

// parentOf reads a process's parent.
func parentOf(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "PPid:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(v))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("process %d has no parent", pid)
	return 0
}

func pidfdOf(t *testing.T, pid int) int {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("pidfd of %d: %v", pid, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// awaitDeath waits until the process of a pid file descriptor has ended.
func awaitDeath(t *testing.T, pidfd int, who string) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(patience); ; {
		n, err := unix.Poll(fds, int(time.Until(deadline).Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			t.Fatalf("the %s still lives", who)
		}
		return
	}
}

// link reads a namespace's or other magic link.
func link(t *testing.T, path string) string {
	t.Helper()
	l, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
