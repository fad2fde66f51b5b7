package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// boundedServer serves with small bounds.
func boundedServer(t *testing.T, b Backend, limits bounds) *Client {
	t.Helper()
	l, err := Listen(filepath.Join(shortDir(t), "r", "footbridge.sock"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(ServerOptions{Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	s.bounds = limits
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-done); err != nil {
			t.Error(err)
		}
		for deadline := time.Now().Add(testTimeout); ; runtime.Gosched() {
			s.mu.Lock()
			open, refused := len(s.conns), s.refused
			s.mu.Unlock()
			if open == 0 && refused == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d connections are counted still, %d refused", open, refused)
			}
		}
	})
	c := New(l.Addr().String())
	t.Cleanup(func() { c.Close() })
	return c
}

// One connection too many learns so, and more than a few of these nothing; when
// others are closed there is room again.
func TestConnectionsAreBounded(t *testing.T) {
	c := boundedServer(t, newFake(), bounds{conns: 4, refused: 2, answer: time.Minute})
	ask := func(conn net.Conn) (int, error) {
		if _, err := io.WriteString(conn, "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return 0, err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, err
	}
	var open []net.Conn
	for range 4 {
		conn := dialRaw(t, c.Socket())
		if status, err := ask(conn); status != http.StatusOK {
			t.Fatalf("%d, %v", status, err)
		}
		open = append(open, conn)
	}
	// Two that say nothing yet, and one more.
	late := []net.Conn{dialRaw(t, c.Socket()), dialRaw(t, c.Socket())}
	if status, err := ask(dialRaw(t, c.Socket())); err == nil {
		t.Errorf("the seventh connection was answered with %d", status)
	}
	for _, conn := range late {
		if status, err := ask(conn); status != http.StatusServiceUnavailable {
			t.Errorf("%d, %v", status, err)
		}
	}
	for _, conn := range open {
		if status, err := ask(conn); status != http.StatusOK {
			t.Errorf("one that was there before: %d, %v", status, err)
		}
		conn.Close()
	}
	for deadline := time.Now().Add(testTimeout); ; {
		status, err := ask(dialRaw(t, c.Socket()))
		if status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after the others are closed: %d, %v", status, err)
		}
	}
}

// wordy answers with more than a socket holds.
type wordy struct{ *fake }

func (wordy) Status(context.Context) (Status, error) {
	return Status{Warnings: []Warning{{Text: strings.Repeat("x", 8<<20)}}}, nil
}

// A client that does not read its answer holds nothing for ever, and a stream may
// be read as slowly as one likes.
func TestAnswersAreBoundedAndStreamsAreNot(t *testing.T) {
	const short = 50 * time.Millisecond
	f := newFake()
	c := boundedServer(t, wordy{f}, bounds{conns: 10, refused: 2, answer: short})
	events := dialRaw(t, c.Socket())
	if _, err := io.WriteString(events, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	stream, err := http.ReadResponse(bufio.NewReader(events), nil)
	if err != nil || stream.StatusCode != http.StatusOK {
		t.Fatal(stream, err)
	}
	slow := dialRaw(t, c.Socket())
	start := time.Now()
	if _, err := io.WriteString(slow, "GET /footbridge/v1/status HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// The server's end is closed when the time is up, and not before.
	for !hungUp(t, slow) {
		if time.Since(start) > testTimeout {
			t.Fatal("the connection is held still")
		}
	}
	if took := time.Since(start); took < short {
		t.Errorf("ended after %v", took)
	}
	// A request after an answer has a time of its own, and the stream goes on.
	for range 3 {
		if _, err := c.Version(context.Background()); err != nil {
			t.Error(err)
		}
		<-time.After(short)
	}
	if hungUp(t, events) {
		t.Error("the stream has ended")
	}
	events.Close()
}

// What an error quotes of others' texts does no harm on a terminal.
func TestErrorsAreShown(t *testing.T) {
	body := string(encodeError(Errorf(errdefs.ErrNotFound, "no %s\nhere", "a\x1b[31m\u202e\u009b\x00")))
	if strings.ContainsAny(body[:len(body)-1], "\x1b\x00\u202e\u009b") || strings.Contains(body, `\u001b`) || !strings.Contains(body, `\nhere`) {
		t.Errorf("%q", body)
	}
}

// What nests deeper than anything that is meant is refused, and costs little.
func TestDeepJSONIsRefused(t *testing.T) {
	_, c := start(t)
	for _, unit := range []string{"[", `{"a":`} {
		deep := strings.Repeat(unit, 20_000) // encoding/json stops at 10,000
		for _, body := range []string{deep, `{"Name":"x","IPAM":` + deep, `{"Name":"x","Unknown":` + deep} {
			status, answer := do(t, c, "POST", "/networks/create", body)
			if status != http.StatusBadRequest || !hasMessage(answer) {
				t.Errorf("%.20s...: %d %.200s", body, status, answer)
			}
		}
	}
}

// Methods that nobody knows are no pages.
func TestUnknownMethods(t *testing.T) {
	_, c := start(t)
	for _, method := range []string{"PATCH", "PUT", "TRACE", "OPTIONS", "PROPFIND", "X", strings.Repeat("X", 1000)} {
		for _, path := range []string{"/networks", "/_ping", "/containers/x", "/footbridge/v1/status"} {
			if status, answer := do(t, c, method, path, ""); status != http.StatusNotFound || !hasMessage(answer) {
				t.Errorf("%.20s %s: %d %s", method, path, status, answer)
			}
		}
	}
}

// hungUp reports whether the other end of a connection is closed.
func hungUp(t *testing.T, c *net.UnixConn) bool {
	t.Helper()
	p := []unix.PollFd{{}}
	err := control(c, func(fd int) error {
		p[0].Fd = int32(fd)
		_, err := unix.Poll(p, 1)
		if errors.Is(err, unix.EINTR) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// What Docker has no word for is one more field, in every version of the API.
func TestInspectTellsMore(t *testing.T) {
	_, c := start(t)
	if status, answer := do(t, c, "POST", "/containers/create?name=web", `{"Cmd":["cat"]}`); status != http.StatusCreated {
		t.Fatalf("%d %s", status, answer)
	}
	for _, version := range []string{"", "/v1.44", "/v1.52"} {
		if status, answer := do(t, c, "GET", version+"/containers/web/json", ""); status != http.StatusOK || !strings.Contains(answer, `"Footbridge":{"Endpoints":{"net":{"Counters":{"dropped_spoofed":3}}}}`) || !strings.Contains(answer, `"Id":`) {
			t.Errorf("%s: %d %s", version, status, answer)
		}
	}
	all, err := c.ContainerInspectAll(context.Background(), "web")
	if err != nil || all.Footbridge.Endpoints["net"].Counters["dropped_spoofed"] != 3 || all.Name != "/web" {
		t.Errorf("%+v, %v", all, err)
	}
}
