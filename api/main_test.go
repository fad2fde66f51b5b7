package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testTimeout is how long a test waits for what must happen at once.
const testTimeout = 20 * time.Second

// helperVariable makes the test binary a process of another user or namespace:
// "MODE SOCKET".
const helperVariable = "FOOTBRIDGE_API_TEST_HELPER"

func TestMain(m *testing.M) {
	if job := os.Getenv(helperVariable); job != "" {
		if err := helper(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// helper does the job of a child process.
func helper(job string) error {
	mode, socket, _ := strings.Cut(job, " ")
	switch mode {
	case "runtime", "powerless", "nested":
		return runtimeJob(mode, socket)
	case "undumpable", "get":
		if mode == "undumpable" {
			if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
				return err
			}
		}
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		fmt.Printf("%d %s", resp.StatusCode, body)
		return err
	case "listen":
		l, err := net.Listen("unix", socket)
		if err != nil {
			return err
		}
		fmt.Println("listening")
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
		return l.Close()
	}
	return errors.New("unknown job")
}

// start serves a fake backend on a socket of its own until the test ends.
func start(t testing.TB) (*fake, *Client) {
	t.Helper()
	f := newFake()
	c, _ := serve(t, f, filepath.Join(shortDir(t), "r", "footbridge.sock"))
	return f, c
}

func serve(t testing.TB, f *fake, path string) (*Client, *Server) {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, f, l)
}

func serveOn(t testing.TB, f *fake, l net.Listener) (*Client, *Server) {
	t.Helper()
	s, err := NewServer(ServerOptions{Backend: f, Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	c := New(l.Addr().String())
	t.Cleanup(func() {
		c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return c, s
}

// shortDir is a t.TempDir whose path leaves room for a socket's.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "fbapi")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// testWriter sends the server's log to the test's.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// raw sends bytes on a connection of its own and returns the answer.
func raw(t testing.TB, socket, request string) (status int, header http.Header, body string) {
	t.Helper()
	conn := dialRaw(t, socket)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("answer to %.80q: %v", request, err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func dialRaw(t testing.TB, socket string) *net.UnixConn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(testTimeout)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.UnixConn)
}

// do sends a request with a body, JSON when there is one.
func do(t testing.TB, c *Client, method, path, body string) (status int, answer string) {
	t.Helper()
	contentType := ""
	if body != "" {
		contentType = "Content-Type: application/json\r\n"
	}
	status, _, answer = raw(t, c.Socket(), fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s", method, path, contentType, len(body), body))
	return status, answer
}
