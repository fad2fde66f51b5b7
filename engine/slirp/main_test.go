package slirp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/engine/worker"
	"github.com/footbridge-net/footbridge/internal/nstest"
	"github.com/footbridge-net/footbridge/internal/testserver"
	"github.com/footbridge-net/footbridge/tap"
)

func TestMain(m *testing.M) {
	nstest.Main(m, tap.Dispatch, worker.Dispatch, func() {
		if os.Args[0] == Name {
			os.Exit(Main(os.Args[1:]))
		}
	})
}

// patient is how long tests wait for what another process does.
const patient = 20 * time.Second

// started is the program under test as its callers start it: descriptor 3 is the ready-fd,
// 4 the exit-fd, and others follow.
type started struct {
	*exec.Cmd
	t     *testing.T
	out   buffer
	ready *os.File
	exit  *os.File // closing it ends the program
	done  chan struct{}
	err   error
	api   string
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start starts the program without waiting for it to be ready.
func start(t *testing.T, files []*os.File, args ...string) *started {
	t.Helper()
	s := &started{t: t, done: make(chan struct{})}
	ready, writeReady := pipe(t)
	readExit, exit := pipe(t)
	s.ready, s.exit = ready, exit
	s.Cmd = &exec.Cmd{
		Path: "/proc/self/exe", Args: append([]string{Name}, args...), Stdout: &s.out, Stderr: &s.out,
		Env:         append(os.Environ(), logVariable+"=info"),
		ExtraFiles:  append([]*os.File{writeReady, readExit}, files...),
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	if err := s.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writeReady.Close()
	readExit.Close()
	go func() {
		s.err = s.Cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(func() {
		_ = s.Process.Kill()
		<-s.done
		if t.Failed() {
			t.Logf("%v said:\n%s", s.Args, s.out.String())
		}
	})
	return s
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// run starts the program for a namespace and waits until it is ready.
func run(t *testing.T, w *nstest.World, args ...string) *started {
	t.Helper()
	api := filepath.Join(t.TempDir(), "api")
	s := start(t, nil, append(args, "-r", "3", "-e", "4", "-a", api, fmt.Sprint(w.Pid), "tap0")...)
	s.api = api
	s.mustBeReady()
	return s
}

func (s *started) mustBeReady() {
	s.t.Helper()
	_ = s.ready.SetReadDeadline(time.Now().Add(patient))
	b, err := io.ReadAll(s.ready)
	if string(b) != "1" || err != nil {
		s.t.Fatalf("the ready-fd got %q, %v", b, err)
	}
}

// ended waits for the end.
func (s *started) ended() error {
	s.t.Helper()
	select {
	case <-s.done:
		return s.err
	case <-time.After(patient):
		s.t.Fatalf("it does not end")
		return nil
	}
}

// ask sends a request to the API and reads to the end of the answer.
func (s *started) ask(request string) string {
	s.t.Helper()
	c, err := net.Dial("unix", s.api)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patient))
	if _, err := io.WriteString(c, request); err != nil {
		s.t.Fatal(err)
	}
	_ = c.(*net.UnixConn).CloseWrite()
	b, err := io.ReadAll(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// forward publishes a port of the host's loopback and gives its address.
func (s *started) forward(proto string, guestPort int) string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	l.Close()
	answer := s.ask(fmt.Sprintf(`{"execute":"add_hostfwd","arguments":{"proto":%q,"host_addr":"127.0.0.1","host_port":%d,"guest_addr":"","guest_port":%d}}`, proto, at.Port, guestPort))
	var r struct{ Return struct{ ID int } }
	if err := json.Unmarshal([]byte(answer), &r); err != nil || r.Return.ID == 0 {
		s.t.Fatalf("add_hostfwd: %s", answer)
	}
	return at.String()
}

// echoes reports whether what is sent to an address comes back.
func echoes(network, at string) error {
	c, err := net.DialTimeout(network, at, patient)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patient))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	b := make([]byte, 100)
	n, err := io.ReadAtLeast(c, b, 5)
	if err != nil {
		return err
	}
	if string(b[:n]) != "hello" {
		return fmt.Errorf("%q", b[:n])
	}
	return nil
}

// children are the processes that a process has made.
func children(pid int) string {
	var all []byte
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // by the thread that has made them
	for _, name := range tasks {
		b, _ := os.ReadFile(name)
		all = append(all, b...)
	}
	return strings.TrimSpace(string(all))
}

// gone waits until a path is no more.
func gone(t *testing.T, path string) {
	t.Helper()
	waitUntil(t, "the end of "+path, func() bool {
		_, err := os.Stat(path)
		return errors.Is(err, os.ErrNotExist)
	})
}

// hostServer echoes on the host's loopback, and gives its port.
func hostServer(t *testing.T) int {
	t.Helper()
	return serveHost(t, testserver.Echo)
}

// serveHost serves TCP on the host's loopback, and gives its port.
func serveHost(t *testing.T, serve func(*net.TCPConn)) int {
	t.Helper()
	return testserver.TCP(t, testserver.Loopback, serve).Addr().(*net.TCPAddr).Port
}

// waitUntil asks until it is so.
func waitUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patient)
	for !is() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited %v for %s", patient, what)
		}
	}
}
