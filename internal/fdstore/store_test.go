package fdstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

func init() { roles["list"] = list }

// list prints what Open found.
func list() error {
	s, err := Open()
	if err != nil {
		return report{"error": err.Error(), "environment": errors.Is(err, ErrEnvironment)}.print()
	}
	found := map[string]string{}
	for _, name := range s.Names() {
		h, _ := s.Get(name)
		found[name], err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", h.FD()))
		if err != nil || !closeOnExec(h.FD()) || !closeOnExec(s.held[name].FD()) {
			return fmt.Errorf("%s: %w, or not close-on-exec", name, err)
		}
	}
	var left []string
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); slices.Contains(variables, name) {
			left = append(left, kv)
		}
	}
	return report{"found": found, "dropped": s.Dropped(), "left": left, "managed": s.Managed()}.print()
}

type listed struct {
	Error         string
	Environment   bool
	Found         map[string]string
	Dropped, Left []string
	Managed       bool
}

// open runs a program that is given the files as systemd does.
func open(t *testing.T, setup string, files ...string) listed {
	t.Helper()
	cmd := program(t, "list", "LISTEN_PID=$$ "+setup)
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var l listed
	if err := json.Unmarshal(out, &l); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if len(l.Left) > 0 {
		t.Errorf("the environment has %q still", l.Left)
	}
	return l
}

func TestOpen(t *testing.T) {
	l := open(t, "LISTEN_FDS=2 LISTEN_FDNAMES=one:t@wo", "/dev/null", "/dev/zero")
	if len(l.Found) != 2 || l.Found["one"] != "/dev/null" || l.Found["t_40wo"] != "/dev/zero" || l.Managed {
		t.Errorf("%+v", l)
	}
	if l := open(t, "LISTEN_FDS=1", "/dev/null"); len(l.Found) != 1 || l.Found[unnamed] != "/dev/null" {
		t.Errorf("without names: %+v", l)
	}
	if l := open(t, "LISTEN_PID=1 LISTEN_FDS=2 FOOTBRIDGE_FDS=1:3", "/dev/null"); len(l.Found) != 0 || l.Error != "" {
		t.Errorf("for another process: %+v", l)
	}
	if l := open(t, ""); l.Error == "" {
		t.Errorf("a pid and no number: %+v", l)
	}
}

func TestOpenRefusesWhatCannotBe(t *testing.T) {
	for _, row := range []struct{ setup, says string }{
		{"LISTEN_FDS=2", "descriptor 4 (unknown) is not open"},
		{"LISTEN_FDS=-1", "not a number"},
		{"LISTEN_FDS=1 LISTEN_FDNAMES=a:b", "1 descriptors have 2 names"},
		{"LISTEN_FDS=99999999999", "not a number"},
		{"LISTEN_PID= FOOTBRIDGE_FDS=$$:3", "not a table"},
		{"LISTEN_PID= FOOTBRIDGE_FDS=$$:300", "descriptor 300 (their table) is not open"},
		{"LISTEN_PID= FOOTBRIDGE_FDS=$$:x", "does not name a descriptor"},
	} {
		if l := open(t, row.setup, "/dev/null"); !strings.Contains(l.Error, row.says) || !l.Environment {
			t.Errorf("%s: %+v", row.setup, l)
		}
	}
}

// systemd handed over two under one name: nobody can tell which is right.
func TestOfTwoUnderOneNameNoneIsUsed(t *testing.T) {
	systemd := listen(t)
	l := open(t, "LISTEN_FDS=3 LISTEN_FDNAMES=two:one:two NOTIFY_SOCKET="+systemd.path, "/dev/null", "/dev/zero", "/dev/full")
	if len(l.Found) != 1 || l.Found["one"] != "/dev/zero" || !slices.Equal(l.Dropped, []string{"two"}) || !l.Managed {
		t.Errorf("%+v", l)
	}
	systemd.expect(t, "FDSTOREREMOVE=1\nFDNAME=two", nil)
}

// systemd is the other end of NOTIFY_SOCKET.
type systemd struct {
	*net.UnixConn
	path string
}

func listen(t *testing.T) *systemd {
	t.Helper()
	dir, err := os.MkdirTemp("", "fd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	c := must(net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"}))(t)
	t.Cleanup(func() { c.Close() })
	return &systemd{c, path}
}

// expect reads a message, with a descriptor of the same file as h unless that is nil.
func (s *systemd) expect(t *testing.T, text string, h *fdpass.Handle) {
	t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, oob := make([]byte, 4096), make([]byte, 4096)
	n, oobn, _, _, err := s.ReadMsgUnix(b, oob)
	if err != nil {
		t.Fatalf("waiting for %q: %v", text, err)
	}
	if string(b[:n]) != text {
		t.Errorf("systemd was told %q, want %q", b[:n], text)
	}
	if (oobn > 0) != (h != nil) {
		t.Fatalf("%q has %d bytes of control messages", text, oobn)
	}
	if h == nil {
		return
	}
	messages := must(unix.ParseSocketControlMessage(oob[:oobn]))(t)
	fds := must(unix.ParseUnixRights(&messages[0]))(t)
	defer unix.Close(fds[0])
	var got, want unix.Stat_t
	if err := errors.Join(unix.Fstat(fds[0], &got), unix.Fstat(h.FD(), &want)); err != nil || len(fds) != 1 || got.Ino != want.Ino {
		t.Errorf("%q came with %d descriptors of another file (%v)", text, len(fds), err)
	}
}

func (s *systemd) expectNothing(t *testing.T) {
	t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(-time.Second))
	b := make([]byte, 4096)
	if n, err := s.Read(b); err == nil {
		t.Errorf("systemd was told %q", b[:n])
	}
}

func newStore(t *testing.T, env map[string]string) *Store {
	t.Helper()
	m := must(newManager(func(name string) string { return env[name] }))(t)
	s := &Store{manager: m, held: map[string]*fdpass.Handle{}}
	t.Cleanup(func() { s.Close() })
	return s
}

func file(t *testing.T) *fdpass.Handle {
	t.Helper()
	h := must(memoryFile("x"))(t)
	t.Cleanup(func() { h.Close() })
	return h
}

// systemd's store follows the one here.
func TestSystemdFollows(t *testing.T) {
	for _, env := range []map[string]string{{}, {limitVariable: "100"}} {
		systemd := listen(t)
		env[socketVariable] = systemd.path
		s := newStore(t, env)
		one, two := file(t), file(t)
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		check(s.Put("x.1", one))
		systemd.expect(t, "FDSTORE=1\nFDPOLL=0\nFDNAME=x.1", one)
		check(s.Put("x.1", two))
		systemd.expect(t, "FDSTOREREMOVE=1\nFDNAME=x.1", nil)
		systemd.expect(t, "FDSTORE=1\nFDPOLL=0\nFDNAME=x.1", two)
		check(s.Put("xy", one))
		systemd.expect(t, "FDSTORE=1\nFDPOLL=0\nFDNAME=xy", one)
		check(s.Remove("nobody"))
		check(s.Sweep("x", func(string) bool { return false }))
		systemd.expect(t, "FDSTOREREMOVE=1\nFDNAME=x.1", nil)
		if got := s.Names(); !slices.Equal(got, []string{"xy"}) {
			t.Errorf("%q are left", got)
		}
		check(s.PutLocal("here", two))
		if h, ok := s.Get("here"); !ok {
			t.Error("what was put here is not here")
		} else {
			check(h.Close())
		}
		check(s.Notify("READY=1"))
		systemd.expect(t, "READY=1", nil)
		check(s.Close())
		systemd.expectNothing(t)
	}
}

// A service manager that keeps no descriptors is told of the state only.
func TestSystemdWithoutStore(t *testing.T) {
	systemd := listen(t)
	s := newStore(t, map[string]string{socketVariable: systemd.path, limitVariable: "0"})
	if err := errors.Join(s.Put("x", file(t)), s.Remove("x"), s.Notify("STOPPING=1")); err != nil {
		t.Fatal(err)
	}
	systemd.expect(t, "STOPPING=1", nil)
}

// What systemd could not be told is kept all the same.
func TestSystemdThatIsGone(t *testing.T) {
	systemd := listen(t)
	s := newStore(t, map[string]string{socketVariable: systemd.path})
	systemd.Close()
	if err := s.Put("x", file(t)); !errors.Is(err, ErrManager) {
		t.Errorf("Put: %v", err)
	}
	h, ok := s.Get("x")
	if !ok {
		t.Fatal("it is not kept")
	}
	h.Close()
	if err := s.Remove("x"); !errors.Is(err, ErrManager) {
		t.Errorf("Remove: %v", err)
	}
	if len(s.Names()) > 0 {
		t.Error("it is kept after Remove")
	}
}

func TestPutKeepsADuplicate(t *testing.T) {
	s := newStore(t, nil)
	h := file(t)
	if err := s.Put("x", h); err != nil {
		t.Fatal(err)
	}
	h.Close()
	got, ok := s.Get("x")
	if !ok {
		t.Fatal("nothing there")
	}
	defer got.Close()
	if b := make([]byte, 1); must(unix.Pread(got.FD(), b, 0))(t) != 1 || b[0] != 'x' {
		t.Errorf("read %q", b)
	}
	if err := s.Put("x", h); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed one: %v", err)
	}
	if _, ok := s.Get("y"); ok {
		t.Error("there is a y")
	}
	for _, name := range []string{"", "a:b", "a b", "a\n", "ä", strings.Repeat("x", maxName+1)} {
		if err := s.Put(name, got); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
