package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// pair is a Joined and what the other side has of it, by a unix socket.
func pair(t *testing.T) (*Joined, *net.UnixConn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	other, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_ = other.SetDeadline(time.Now().Add(10 * time.Second))
	return NewJoined(c), other.(*net.UnixConn)
}

func TestACutIsNoEnd(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(j *Joined, other *net.UnixConn) error
		want error
	}{
		"closed":                            {func(_ *Joined, other *net.UnixConn) error { return other.Close() }, syscall.ECONNRESET},
		"ended in order":                    {func(_ *Joined, other *net.UnixConn) error { return other.CloseWrite() }, nil},
		"ended in order here, then closed":  {func(j *Joined, other *net.UnixConn) error { return errors.Join(j.CloseWrite(), other.Close()) }, nil},
		"ended in order here and there too": {func(j *Joined, other *net.UnixConn) error { return errors.Join(j.CloseWrite(), other.CloseWrite()) }, nil},
	} {
		j, other := pair(t)
		if _, err := io.WriteString(other, "half"); err != nil {
			t.Fatal(err)
		}
		if err := test.end(j, other); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it stays so
			if b, err := io.ReadAll(j); !errors.Is(err, test.want) || len(b) != 0 && string(b) != "half" {
				t.Errorf("%s: %q, %v, want %v", name, b, err, test.want)
			}
		}
	}
}

// The other side ends in order and reads nothing yet: who waits for room goes on when it does.
func TestAnEndIsToldWhileAWriteWaits(t *testing.T) {
	j, other := pair(t)
	want := bytes.Repeat([]byte("what does not fit in a socket "), 100_000)
	wrote := make(chan error, 1)
	go func() {
		n, err := j.Write(want)
		if n != len(want) && err == nil {
			err = io.ErrShortWrite
		}
		wrote <- errors.Join(err, j.CloseWrite())
	}()
	first := make([]byte, 1) // the write is under way
	if _, err := io.ReadFull(other, first); err != nil {
		t.Fatal(err)
	}
	if err := other.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(j); len(b) != 0 || err != nil {
		t.Errorf("%q, %v, want the end", b, err)
	}
	select {
	case err := <-wrote:
		t.Fatalf("the write is over: %v", err)
	default:
	}
	rest, err := io.ReadAll(other)
	if err != nil || !bytes.Equal(append(first, rest...), want) {
		t.Errorf("%d bytes of %d arrived, %v", 1+len(rest), len(want), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// A proxy's clients by TCP are told of a cut by a reset, in all that it speaks, and of an end by an end.
func TestACutIsAResetForClients(t *testing.T) {
	for name, c := range map[string]struct{ hello, answer, answered string }{
		"SOCKS":    {"\x05\x01\x00\x05\x01\x00\x03\x04half\x00\x07", "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", ""},
		"CONNECT":  {"CONNECT half:7 HTTP/1.1\r\nHost: half:7\r\n\r\n", "HTTP/1.1 200 Connection established\r\n\r\n", ""},
		"HTTP/1.0": {"GET http://half:7/ HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 200 OK\r\n\r\n"},
	} {
		for _, whole := range []bool{true, false} {
			containers, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
			if err != nil {
				t.Fatal(err)
			}
			defer containers.Close()
			l := listen(t)
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			s := New(Options{Dial: func(context.Context, string, uint16) (net.Conn, error) {
				return net.Dial("unix", containers.Addr().String())
			}})
			go func() { served <- s.Serve(ctx, l) }()
			w := &world{t: t, addr: l.Addr().String()}
			client := w.connect()
			if _, err := io.WriteString(client, c.hello); err != nil {
				t.Fatal(err)
			}
			container, err := containers.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if c.answered != "" { // a close with something unread is a reset already
				if _, err := http.ReadRequest(bufio.NewReader(container)); err != nil {
					t.Fatal(err)
				}
			}
			half := bytes.Repeat([]byte("#"), 100_000)
			go func() {
				_, _ = io.WriteString(container, c.answered)
				_, _ = container.Write(half)
			}()
			answer := make([]byte, len(c.answer))
			if _, err := io.ReadFull(client, answer); err != nil || string(answer) != c.answer {
				t.Fatalf("%s: answered %q, %v", name, answer, err)
			}
			// All that was sent: the reset throws away what is still under way.
			for got := make([]byte, 0, len(half)); bytes.Count(got, []byte("#")) < len(half); {
				b := make([]byte, len(half))
				n, err := client.Read(b)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got = append(got, b[:n]...)
			}
			want := error(syscall.ECONNRESET)
			if whole {
				want = io.EOF
				err = container.(*net.UnixConn).CloseWrite()
			} else {
				err = container.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, want) {
				t.Errorf("%s, whole %v: %v, want %v", name, whole, err, want)
			}
			container.Close()
			client.Close()
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
	}
}
