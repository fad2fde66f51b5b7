package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// Dial knows "echo", which sends back what it gets; "refused"; "silent", whose
// connection is dropped; "broken", which cannot be joined; "garbage".
func (f *fake) Dial(_ context.Context, req DialRequest) (func(*fdpass.Handle) error, error) {
	if f.panics {
		panic("dial")
	}
	if f.err != nil {
		return nil, f.err
	}
	answer := map[string]string{"echo": "0\n", "refused": fmt.Sprintf("%d\n", int(syscall.ECONNREFUSED)), "silent": "", "garbage": "\x1b[31m12345678901234567890"}
	text, ok := answer[req.Host]
	if req.Host == "broken" {
		return func(h *fdpass.Handle) error { return errors.Join(errors.New("no worker"), h.Close()) }, nil
	}
	if !ok {
		return nil, Errorf(errdefs.ErrNotFound, "no container is known as %s", req.Host)
	}
	return func(h *fdpass.Handle) error {
		fd := h.Take()
		if err := unix.SetNonblock(fd, false); err != nil {
			return err
		}
		go func() {
			defer unix.Close(fd)
			if _, err := unix.Write(fd, []byte(text)); err != nil || text != "0\n" {
				return
			}
			b := make([]byte, 1024)
			for {
				n, err := unix.Read(fd, b)
				if n <= 0 || err != nil {
					return
				}
				_, _ = unix.Write(fd, b[:n])
			}
		}()
		return nil
	}, nil
}

func TestDial(t *testing.T) {
	_, c := start(t)
	ctx := testContext(t)
	conn, err := c.Dial(ctx, DialRequest{Host: "echo", Port: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "there and back"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); err != nil || string(b) != "there and back" {
		t.Errorf("echo: %q, %v", b, err)
	}
	for host, want := range map[string]error{
		"refused": syscall.ECONNREFUSED, "silent": syscall.ECONNABORTED, "broken": syscall.EAGAIN,
	} {
		if _, err := c.Dial(ctx, DialRequest{Host: host, Port: 7}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", host, err, want)
		}
	}
	if _, err := c.Dial(ctx, DialRequest{Host: "nobody", Port: 7}); !errdefs.IsNotFound(err) {
		t.Errorf("nobody: %v", err)
	}
	if _, err := c.Dial(ctx, DialRequest{Host: "echo"}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("no port: %v", err)
	}
	if _, err := c.Dial(ctx, DialRequest{Host: "garbage", Port: 7}); err == nil || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("garbage: %v", err)
	}
}

func TestParseHostPort(t *testing.T) {
	for text, want := range map[string]string{
		"web:80": "web 80", "172.18.0.2:65535": "172.18.0.2 65535", "[fd00::2]:22": "fd00::2 22", "[::ffff:10.0.0.1]:1": "10.0.0.1 1", "web.net:1": "web.net 1",
	} {
		host, port, err := ParseHostPort(text)
		if got := fmt.Sprint(host, " ", port); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "web", "web:", ":80", "web:0", "web:65536", "web:-1", "fd00::2:22", "web:http"} {
		if _, _, err := ParseHostPort(text); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v", text, err)
		}
	}
	var _ net.Conn = (*dialed)(nil)
}
