package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/container"
)

var everything = AttachOptions{Stdin: true, Stdout: true, Stderr: true, Stream: true}

func TestAttachSplitsStreamsAndHalfClosesStdin(t *testing.T) {
	f, c := start(t)
	ctx := testContext(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"cat", "stderr"}})
	h, err := c.ContainerAttach(ctx, "web", everything)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if h.TTY {
		t.Error("the connection says that there is a terminal")
	}
	if err := c.ContainerStart(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := h.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	// cat's output ends because its input did: the half-close arrived, and did
	// not take the output with it.
	var stdout, stderr bytes.Buffer
	if err := h.Copy(&stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	if stdout.String() != "hello" || stderr.String() != "stderr saw 5" {
		t.Errorf("stdout %q, stderr %q", &stdout, &stderr)
	}
	f.waitDetached(t, "after the end of output")
}

func TestExecOfOneMegabyteBothWays(t *testing.T) {
	f, c := start(t)
	ctx := testContext(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"wait"}})
	if err := c.ContainerStart(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	created, err := c.ExecCreate(ctx, "web", container.ExecCreateRequest{Cmd: []string{"cat"}, AttachStdin: true, AttachStdout: true})
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.ExecStart(ctx, created.ID, container.ExecStartRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		_, _ = h.Conn.Write(sent)
		_ = h.CloseWrite()
	}()
	var got bytes.Buffer
	if err := h.Copy(&got, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), sent) {
		t.Errorf("%d bytes came back of %d, or others", got.Len(), len(sent))
	}
	inspect, err := c.ExecInspect(ctx, created.ID)
	if err != nil || *inspect.ExitCode != 7 {
		t.Errorf("inspect: %+v, %v", inspect, err)
	}
	if err := c.ExecResize(ctx, created.ID, TTYSize{1, 2}); err != nil || f.execs[created.ID].size != (TTYSize{1, 2}) {
		t.Errorf("resize: %v", err)
	}
}

func TestExecErrorsAreAnswers(t *testing.T) {
	_, c := start(t)
	ctx := testContext(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"wait"}})
	if _, err := c.ExecCreate(ctx, "web", container.ExecCreateRequest{Cmd: []string{"cat"}}); !errdefs.IsConflict(err) {
		t.Errorf("exec in a container that does not run: %v", err)
	}
	if err := c.ContainerStart(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ExecCreate(ctx, "web", container.ExecCreateRequest{}); !errdefs.IsInvalidArgument(err) || err.Error() != "No exec command specified" {
		t.Errorf("exec of nothing: %v", err)
	}
	if _, err := c.ExecCreate(ctx, "web", container.ExecCreateRequest{Cmd: []string{"cat"}, DetachKeys: "ctrl-1"}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("bad detach keys: %v", err)
	}
	created, err := c.ExecCreate(ctx, "web", container.ExecCreateRequest{Cmd: []string{"missing"}})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := c.ExecStart(ctx, created.ID, container.ExecStartRequest{}); h != nil || !errors.Is(err, ErrCommandNotFound) {
		t.Errorf("start of a missing command: %v", err)
	}
	// Docker's clients have switched protocols by then.
	if got := startAsDocker(t, c, created.ID); !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.HasSuffix(got, "executable file not found in $PATH\n") {
		t.Errorf("start of a missing command: %q", got)
	}
	if _, err := c.ExecStart(ctx, "nobody", container.ExecStartRequest{}); !errdefs.IsNotFound(err) {
		t.Errorf("start of a missing exec: %v", err)
	}
	created, err = c.ExecCreate(ctx, "web", container.ExecCreateRequest{Cmd: []string{"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	if h, err := c.ExecStart(ctx, created.ID, container.ExecStartRequest{Detach: true}); h != nil || err != nil {
		t.Errorf("detached start: %v, %v", h, err)
	}
}

func TestTerminalIsRaw(t *testing.T) {
	_, c := start(t)
	ctx := testContext(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"cat"}, Tty: true})
	h, err := c.ContainerAttach(ctx, "web", everything)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if !h.TTY {
		t.Error("the connection says that there is no terminal")
	}
	if err := c.ContainerStart(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(h.Conn, "hi\x10there\x10")
	got := make([]byte, len("hi\x10there"))
	if _, err := io.ReadFull(h.Reader, got); err != nil || string(got) != "hi\x10there" {
		t.Errorf("got %q, %v", got, err)
	}
	// The last ctrl-p is held back, as it may begin the detach keys; it does.
	fmt.Fprint(h.Conn, "\x11")
	if rest, err := io.ReadAll(h.Reader); err != nil || len(rest) != 0 {
		t.Errorf("after the detach keys: %q, %v; want the end", rest, err)
	}
	if inspect, err := c.ContainerInspect(ctx, "web"); err != nil || !inspect.State.Running {
		t.Errorf("after detaching: %+v, %v; want it running", inspect.State, err)
	}
}

func TestDisconnectDetachesAndDoesNotEndStdin(t *testing.T) {
	f, c := start(t)
	ctx := testContext(t)
	id := createContainer(t, c, "web", container.Config{Cmd: []string{"cat"}})
	h, err := c.ContainerAttach(ctx, "web", everything)
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	f.waitDetached(t, "after the client closed the connection")
	if f.containers[id].proc.stdinEnded.Load() {
		t.Error("the process was told that its input ended")
	}
}

// TestDisconnectAfterHalfClose is a client that has ended its input and goes
// away while the process is silent: only the kernel's POLLHUP tells.
func TestDisconnectAfterHalfClose(t *testing.T) {
	f, c := start(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"wait"}})
	h, err := c.ContainerAttach(testContext(t), "web", AttachOptions{Stdout: true, Stderr: true, Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-f.detached:
		t.Fatal("the half-close alone detached")
	case <-time.After(50 * time.Millisecond): // a chance to go wrong, not a wait for what must happen
	}
	h.Close()
	f.waitDetached(t, "after the client closed the connection")
}

// TestInputUnreadAtTheEnd is `yes | run true`: output ends while input comes in.
// The client must read the end, not a reset connection.
func TestInputUnreadAtTheEnd(t *testing.T) {
	f, c := start(t)
	ctx := testContext(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"wait"}})
	if err := c.ContainerStart(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	h, err := c.ContainerAttach(ctx, "web", everything)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		for {
			if _, err := h.Conn.Write(bytes.Repeat([]byte("y\n"), 1<<15)); err != nil {
				return
			}
		}
	}()
	if err := c.ContainerKill(ctx, "web", "KILL"); err != nil {
		t.Fatal(err)
	}
	if err := h.Copy(io.Discard, io.Discard); err != nil {
		t.Errorf("the end of output was %v", err)
	}
	f.waitDetached(t, "after the end of output")
	h.Close()
	<-fed
}

// TestInputEndedWithTheRequest is what nc(1) does with a prepared request.
func TestInputEndedWithTheRequest(t *testing.T) {
	_, c := start(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"cat"}})
	conn := dialRaw(t, c.Socket())
	fmt.Fprintf(conn, "POST /containers/web/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\nall of it")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := c.ContainerStart(testContext(t), "web"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, io.Discard, r); err != nil || stdout.String() != "all of it" {
		t.Errorf("got %q, %v", &stdout, err)
	}
}

// TestOutputAfterInputEndedWithTheRequest is the same without input: net/http
// takes the end of what it reads for the client's going away, and it is not.
func TestOutputAfterInputEndedWithTheRequest(t *testing.T) {
	f, c := start(t)
	id := createContainer(t, c, "web", container.Config{Cmd: []string{"wait"}})
	f.onAttach = func(ctx context.Context) {
		select {
		case <-ctx.Done():
			t.Error("the end of input ended the request")
		case <-time.After(50 * time.Millisecond): // a chance to go wrong, not a wait for what must happen
		}
	}
	conn := dialRaw(t, c.Socket())
	fmt.Fprintf(conn, "POST /containers/web/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	out := f.containers[id].proc.outW
	go func() {
		_, _ = io.WriteString(out, "still here")
		out.Close()
	}()
	var stdout bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, io.Discard, r); err != nil || stdout.String() != "still here" {
		t.Errorf("got %q, %v", &stdout, err)
	}
}

func TestStdinOnly(t *testing.T) {
	f, c := start(t)
	ctx := testContext(t)
	id := createContainer(t, c, "web", container.Config{Cmd: []string{"cat"}})
	h, err := c.ContainerAttach(ctx, "web", AttachOptions{Stdin: true, Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	proc := f.containers[id].proc
	go func() { _, _ = io.Copy(io.Discard, proc.outR) }()
	if err := c.ContainerStart(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(h.Conn, "x")
	if err := h.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(h.Reader); err != nil || len(rest) != 0 {
		t.Errorf("got %q, %v; want the end", rest, err)
	}
	select {
	case <-proc.stdinEOF:
	case <-ctx.Done():
		t.Error("the process was not told that its input ended")
	}
}

func TestOldFormOfHijack(t *testing.T) {
	_, c := start(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"cat"}})
	conn := dialRaw(t, c.Socket())
	// Input right behind the request must not be lost.
	fmt.Fprintf(conn, "POST /v1.24/containers/web/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n\r\nearly ")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != types.MediaTypeRawStream {
		t.Fatalf("answer: %+v, %v", resp, err)
	}
	if err := c.ContainerStart(testContext(t), "web"); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "late")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, io.Discard, r); err != nil || stdout.String() != "early late" {
		t.Errorf("got %q, %v", &stdout, err)
	}
}

func TestUpgradeTellsTheFormatAsTheVersionKnowsIt(t *testing.T) {
	_, c := start(t)
	createContainer(t, c, "plain", container.Config{Cmd: []string{"cat"}})
	createContainer(t, c, "tty", container.Config{Cmd: []string{"cat"}, Tty: true})
	for _, tt := range []struct{ version, name, want string }{
		{"/v1.41", "plain", types.MediaTypeRawStream},
		{"/v1.42", "plain", types.MediaTypeMultiplexedStream},
		{"", "plain", types.MediaTypeMultiplexedStream},
		{"/v1.42", "tty", types.MediaTypeRawStream},
	} {
		conn := dialRaw(t, c.Socket())
		fmt.Fprintf(conn, "POST %s/containers/%s/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", tt.version, tt.name)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "tcp" || resp.Header.Get("Content-Type") != tt.want {
			t.Errorf("%s %s: %d %v, want type %s", tt.version, tt.name, resp.StatusCode, resp.Header, tt.want)
		}
		conn.Close()
	}
}

func TestAttachTakesNoBody(t *testing.T) {
	_, c := start(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"cat"}})
	if status, body := do(t, c, "POST", "/containers/web/attach?stream=1&stdin=1", "{}"); status != 400 {
		t.Errorf("got %d %s, want 400", status, body)
	}
	if status, _ := do(t, c, "POST", "/containers/web/attach?detachKeys=ctrl-%21", ""); status != 400 {
		t.Errorf("bad detach keys: %d, want 400", status)
	}
}

func TestPanicOfAStreamEndsOnlyIt(t *testing.T) {
	_, c := start(t)
	ctx := testContext(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"wait"}})
	if err := c.ContainerStart(ctx, "web"); err != nil {
		t.Fatal(err)
	}
	created, err := c.ExecCreate(ctx, "web", container.ExecCreateRequest{Cmd: []string{"panic"}})
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.ExecStart(ctx, created.ID, container.ExecStartRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	_ = h.Copy(nil, nil)
	if err := c.Ping(ctx); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestCancelledHandshake(t *testing.T) {
	_, c := start(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if h, err := c.ContainerAttach(ctx, "web", everything); h != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", h, err)
	}
}

func TestShutdownEndsStreams(t *testing.T) {
	f := newFake()
	c, s := serve(t, f, shortDir(t)+"/s")
	ctx := testContext(t)
	createContainer(t, c, "web", container.Config{Cmd: []string{"wait"}})
	h, err := c.ContainerAttach(ctx, "web", everything)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	events, err := c.Events(ctx, EventsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	result, err := c.ContainerWait(ctx, "web", container.WaitConditionNextExit)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := c.ContainerLogs(ctx, "web", LogsOptions{Stdout: true, Follow: true, Tail: -1})
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := s.Activity(); n != 4 {
		t.Errorf("%d requests are being served, want 4", n)
	}
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if n, last := s.Activity(); n != 0 || time.Since(last) > testTimeout {
		t.Errorf("after Shutdown: %d requests, the last ended at %v", n, last)
	}
	for range events {
		t.Error("an event")
	}
	if res, ok := <-result; ok {
		t.Errorf("a result: %+v", res)
	}
	if err := logs.Copy(nil, nil); err != nil {
		t.Errorf("logs: %v", err)
	}
	if err := h.Copy(nil, nil); err != nil {
		t.Errorf("attachment: %v", err)
	}
	if err := c.Ping(ctx); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("ping: %v; want ErrNoDaemon", err)
	}
}

func TestDetachKeys(t *testing.T) {
	for notation, want := range map[string]string{
		"": "\x10\x11", "ctrl-p,ctrl-q": "\x10\x11", "ctrl-a": "\x01", "a,b": "ab", "ctrl-@": "\x00",
		"ctrl-[": "\x1b", "ctrl-_": "\x1f", "CTRL-Z,x": "\x1ax",
	} {
		got, err := ParseDetachKeys(notation)
		if err != nil || string(got) != want {
			t.Errorf("%q: %q, %v; want %q", notation, got, err, want)
		}
	}
	for _, notation := range []string{",", "a,", "ctrl-", "ctrl-1", "ctrl-ab", "shift-a", "ä", "\xff"} {
		if got, err := ParseDetachKeys(notation); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %q, %v; want an invalid argument", notation, got, err)
		}
	}
}

func TestDetachReader(t *testing.T) {
	for _, tt := range []struct {
		keys, typed, want string
		detached          bool
	}{
		{"pq", "hello", "hello", false},
		{"pq", "helpq", "hel", true},
		{"pq", "pqrest", "", true},
		{"pq", "ppq", "p", true},
		{"pq", "pxpxp", "pxpxp", false},
		{"aab", "aaab!", "a", true},
		{"abac", "ababac", "ab", true},
		{"a", "bca", "bc", true},
	} {
		for _, chunk := range []int{1, 2, 3, 100} {
			r := &detachReader{from: &chunkReader{strings.NewReader(tt.typed), chunk}, keys: []byte(tt.keys)}
			got, err := io.ReadAll(r)
			if string(got) != tt.want || errors.Is(err, errDetached) != tt.detached {
				t.Errorf("keys %q, typed %q by %d: got %q, %v; want %q, detached %v", tt.keys, tt.typed, chunk, got, err, tt.want, tt.detached)
			}
		}
	}
}

// chunkReader reads at most n bytes at a time.
type chunkReader struct {
	r io.Reader
	n int
}

func (c *chunkReader) Read(b []byte) (int, error) { return c.r.Read(b[:min(len(b), c.n)]) }

// startAsDocker starts an exec as Docker's clients do and returns all of the answer.
func startAsDocker(t *testing.T, c *Client, id string) string {
	t.Helper()
	conn, err := net.Dial("unix", c.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Any answer but an upgrade leaves the connection open.
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST /v1.50/exec/%s/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", id)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}
