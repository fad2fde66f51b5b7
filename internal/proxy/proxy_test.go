package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	xproxy "golang.org/x/net/proxy"

	"github.com/footbridge-net/footbridge/internal/testserver"
)

// world is a proxy before two containers: "web" serves HTTP, "echo" sends back what it
// gets. "closed" refuses, "late" times out, others are not known.
type world struct {
	t    *testing.T
	addr string
	web  net.Listener
	echo net.Listener

	dialed atomic.Int32 // connections to web
}

func newWorld(t *testing.T, token string) *world {
	t.Helper()
	w := &world{t: t, web: listen(t), echo: testserver.TCP(t, testserver.Loopback, testserver.Echo)}
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "%s %s %s %q", r.Method, r.Host, r.URL.Path, r.Header.Get("Proxy-Authorization"))
	})}
	go func() { _ = server.Serve(w.web) }()
	t.Cleanup(func() { server.Close() })
	l := listen(t)
	w.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(Options{Dial: w.dial, Token: token}).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Serve does not end")
		}
	})
	return w
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func (w *world) dial(_ context.Context, host string, port uint16) (net.Conn, error) {
	switch fmt.Sprintf("%s %d", host, port) {
	case "web 80", "fd00::2 80":
		w.dialed.Add(1)
		return net.Dial("tcp", w.web.Addr().String())
	case "echo 7", "172.18.0.2 7":
		return net.Dial("tcp", w.echo.Addr().String())
	case "closed 1":
		return nil, fmt.Errorf("connect: %w", syscall.ECONNREFUSED)
	case "late 1":
		return nil, syscall.ETIMEDOUT
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknownHost, host)
}

func (w *world) connect() net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func (w *world) echoes(c net.Conn) {
	w.t.Helper()
	want := bytes.Repeat([]byte("there and back "), 10_000)
	go func() {
		_, _ = c.Write(want)
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		w.t.Errorf("echo: %d bytes, %v", len(got), err)
	}
}

// A client of another make: golang.org/x/net.
func TestSOCKSWithAnotherClient(t *testing.T) {
	for _, token := range []string{"", "a secret of some length"} {
		w := newWorld(t, token)
		var auth *xproxy.Auth
		if token != "" {
			auth = &xproxy.Auth{User: "anybody", Password: token}
		}
		d, err := xproxy.SOCKS5("tcp", w.addr, auth, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{"echo:7", "172.18.0.2:7"} {
			c, err := d.Dial("tcp", to)
			if err != nil {
				t.Fatalf("%s: %v", to, err)
			}
			defer c.Close()
			w.echoes(c)
		}
		for to, want := range map[string]string{"closed:1": "refused", "late:1": "TTL expired", "nobody:1": "host unreachable", "echo:8": "host unreachable"} {
			if c, err := d.Dial("tcp", to); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, %v, want %q", to, c, err, want)
			}
		}
	}
}

func TestSOCKSRefusesWithoutTheToken(t *testing.T) {
	w := newWorld(t, "a secret of some length")
	for _, auth := range []*xproxy.Auth{nil, {User: "footbridge", Password: "a secret of other length"}, {User: "a secret of some length", Password: "x"}} {
		d, err := xproxy.SOCKS5("tcp", w.addr, auth, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Dial("tcp", "echo:7"); err == nil {
			t.Errorf("%v is let in", auth)
		}
	}
	// A request that does not wait for the answer to a wrong password.
	c := w.connect()
	_, _ = c.Write([]byte("\x05\x01\x02" + "\x01\x01a\x01b" + "\x05\x01\x00\x03\x04echo\x00\x07" + "leak"))
	b, _ := io.ReadAll(c)
	if !bytes.Equal(b, []byte{5, 2, 1, 1}) {
		t.Errorf("answered %v", b)
	}
}

func TestSOCKSRefusesWhatItDoesNotDo(t *testing.T) {
	w := newWorld(t, "")
	for request, want := range map[string][]byte{
		"\x05\x01\x00\x05\x02\x00\x03\x04echo\x00\x07":         {5, 0, 5, replyNoCommand}, // BIND
		"\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00": {5, 0, 5, replyNoCommand}, // UDP
		"\x05\x01\x00\x05\x01\x00\x02":                         {5, 0, 5, replyNoAddresses},
		"\x05\x01\x00\x05\x01\x00\x03\x00\x00\x07":             {5, 0, 5, replyHost}, // no name
		"\x05\x01\x00\x05\x01\x00\x03\x04echo\x00\x00":         {5, 0, 5, replyHost}, // no port
		"\x05\x01\x00\x04\x01\x00\x03\x04echo\x00\x07":         {5, 0, 5, replyFailure},
		"\x05\x01\x01": {5, methodRefused}, // GSSAPI
		"\x04\x01\x00\x07\x0a\x00\x00\x01user\x00": nil, // SOCKS 4 is no HTTP either
	} {
		c := w.connect()
		if _, err := c.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(c)
		if !bytes.HasPrefix(b, want) || want == nil && !bytes.HasPrefix(b, []byte("HTTP/1.1 400")) {
			t.Errorf("%q: %q, want %v", request, b, want)
		}
	}
}

func TestHTTP(t *testing.T) {
	for _, token := range []string{"", "a secret of some length"} {
		w := newWorld(t, token)
		at := &url.URL{Scheme: "http", Host: w.addr}
		if token != "" {
			at.User = url.UserPassword("footbridge", token)
		}
		client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(at)}}
		for range 2 {
			resp, err := client.Get("http://web/a/b")
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(b) != `GET web /a/b ""` { // the token stays here
				t.Errorf("answered %s", b)
			}
		}
		// A name may be another container's by the next request.
		if n := w.dialed.Load(); n != 2 {
			t.Errorf("%d connections for two requests", n)
		}
		for host, want := range map[string]int{"nobody": 404, "closed:1": 502, "late:1": 504} {
			resp, err := client.Get("http://" + host + "/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s: %s, want %d", host, resp.Status, want)
			}
		}
		client.CloseIdleConnections()
	}
}

func TestConnect(t *testing.T) {
	w := newWorld(t, "a secret of some length")
	ask := func(target, password, early string) (net.Conn, *http.Response) {
		t.Helper()
		c := w.connect()
		req := &http.Request{Method: "CONNECT", URL: &url.URL{Opaque: target}, Host: target, Header: http.Header{}}
		if password != "" {
			req.SetBasicAuth("x", password)
			req.Header["Proxy-Authorization"] = req.Header["Authorization"]
			delete(req.Header, "Authorization")
		}
		var b bytes.Buffer
		if err := req.Write(&b); err != nil {
			t.Fatal(err)
		}
		b.WriteString(early)
		if _, err := c.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, req)
		if err != nil {
			t.Fatal(err)
		}
		return &buffered{Conn: &countedConn{Conn: c, leave: func() {}}, reader: r}, resp
	}
	c, resp := ask("echo:7", "a secret of some length", "early")
	if resp.StatusCode != 200 {
		t.Fatalf("CONNECT: %s", resp.Status)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "early" {
		t.Errorf("early bytes: %q, %v", b, err)
	}
	w.echoes(c)
	for target, want := range map[string]int{"nobody:1": 404, "closed:1": 502, "echo": 400, "echo:x": 400} {
		if _, resp := ask(target, "a secret of some length", ""); resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", target, resp.Status, want)
		}
	}
	for _, password := range []string{"", "wrong"} {
		if _, resp := ask("echo:7", password, ""); resp.StatusCode != 407 || resp.Header.Get("Proxy-Authenticate") == "" {
			t.Errorf("with %q: %s", password, resp.Status)
		}
	}
}

// More clients than there is room for wait, and are served when others have left.
func TestRoomIsBounded(t *testing.T) {
	w := newWorld(t, "")
	var open []net.Conn
	for range MaxConnections {
		open = append(open, w.connect())
	}
	late := w.connect()
	_, _ = late.Write([]byte{5, 1, 0})
	_ = late.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := late.Read(make([]byte, 2)); err == nil {
		t.Fatal("one more is served")
	}
	open[0].Close()
	_ = late.SetReadDeadline(time.Now().Add(10 * time.Second))
	if b := make([]byte, 2); true {
		if _, err := io.ReadFull(late, b); err != nil || !bytes.Equal(b, []byte{5, 0}) {
			t.Errorf("after one has left: %v, %v", b, err)
		}
	}
}

// A container that never closes its end keeps no place for clients that are gone.
func TestClientsThatAreGoneHoldNoPlace(t *testing.T) {
	for name, c := range map[string]struct{ hello, answer string }{
		"SOCKS":   {"\x05\x01\x00\x05\x01\x00\x03\x04mute\x00\x07", "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"},
		"CONNECT": {"CONNECT mute:7 HTTP/1.1\r\nHost: mute:7\r\n\r\n", "HTTP/1.1 200 Connection established\r\n\r\n"},
	} {
		mute := listen(t)
		s := New(Options{Dial: func(context.Context, string, uint16) (net.Conn, error) { return net.Dial("tcp", mute.Addr().String()) }})
		l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, l) }()
		client, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = client.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(client, c.hello+"last words"); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, len(c.answer)) // what is left unread would reset
		if _, err := io.ReadFull(client, answer); err != nil || string(answer) != c.answer {
			t.Fatalf("%s: answered %q, %v", name, answer, err)
		}
		container, err := mute.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = container.SetDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, len("last words"))
		if _, err := io.ReadFull(container, b); err != nil || string(b) != "last words" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		client.Close()
		if n, err := container.Read(b); n != 0 || err != io.EOF {
			t.Errorf("%s: the end: %d, %v", name, n, err)
		}
		// One place is that of the client to come.
		for deadline := time.Now().Add(10 * time.Second); len(s.room) > 1; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d places are taken", name, len(s.room)-1)
			}
		}
		container.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// recorder is a client that says its whole part at once.
type recorder struct {
	io.Reader
	wrote bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) { return r.wrote.Write(b) }

func FuzzSOCKS(f *testing.F) {
	f.Add([]byte("\x05\x01\x00\x05\x01\x00\x03\x04echo\x00\x07"), "")
	f.Add([]byte("\x05\x01\x02\x01\x01a\x06secret\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x07"), "secret")
	f.Add([]byte("\x05\x02\x00\x02\x05\x01\x00\x04\xfd00000000000000\x00\x50"), "")
	f.Fuzz(func(t *testing.T, said []byte, token string) {
		c := &recorder{Reader: bytes.NewReader(said)}
		if err := greet(c, token); err != nil {
			return
		}
		if token != "" && !bytes.Contains(said, []byte(token)) {
			t.Errorf("let in without the token %q: %q", token, said)
		}
		to, reply, err := readRequest(c)
		if (err == nil) != (reply == replyDone) {
			t.Errorf("reply %d with %v", reply, err)
		}
		if err == nil {
			if to.host == "" || to.port == 0 {
				t.Errorf("%q leads to %v", said, to)
			}
			port := binary.BigEndian.AppendUint16(nil, to.port)
			if !bytes.Contains(said, port) {
				t.Errorf("%q leads to port %d", said, to.port)
			}
		}
		if errors.Is(err, ErrToken) {
			t.Error("a request has no token")
		}
	})
}
