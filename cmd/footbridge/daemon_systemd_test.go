package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
)

// service is the daemon as systemd starts it, with what it is passed.
type service struct {
	*exec.Cmd
	said   bytes.Buffer
	notify *net.UnixConn
}

// startService starts the daemon with files at 3 and up, under names. It reads no
// notification.
func (w *world) startService(t *testing.T, names string, files ...*os.File) *service {
	t.Helper()
	path := filepath.Join(w.folder, "notify")
	_ = os.Remove(path)
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &service{notify: notify}
	s.Cmd = exec.CommandContext(t.Context(), "sh", "-c", `LISTEN_PID=$$ exec "$0" daemon`, exe)
	s.Env = append(append([]string{}, w.environ...), "NOTIFY_SOCKET="+path, "LISTEN_FDNAMES="+names, "LISTEN_FDS="+string(rune('0'+len(files))))
	s.ExtraFiles = files
	s.Stdout, s.Stderr = &s.said, &s.said
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		notify.Close()
		_ = s.Process.Kill()
		_ = s.Wait()
	})
	return s
}

// await reads notifications up to one that begins with text, and returns the descriptors
// that came with those before it, by name.
func (s *service) await(t *testing.T, text string) map[string]*os.File {
	t.Helper()
	stored := map[string]*os.File{}
	_ = s.notify.SetReadDeadline(time.Now().Add(20 * time.Second))
	for {
		b, oob := make([]byte, 4096), make([]byte, 256)
		n, oobn, _, _, err := s.notify.ReadMsgUnix(b, oob)
		if err != nil {
			t.Fatalf("waiting for %q: %v; it said %s", text, err, s.said.String())
		}
		if strings.HasPrefix(string(b[:n]), text) {
			return stored
		}
		_, name, _ := strings.Cut(string(b[:n]), "FDNAME=")
		if oobn == 0 {
			continue
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			t.Fatal(err)
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		if err != nil {
			t.Fatal(err)
		}
		stored[name] = os.NewFile(uintptr(fds[0]), name)
		t.Cleanup(func() { stored[name].Close() })
	}
}

func (s *service) end(t *testing.T, sig unix.Signal) {
	t.Helper()
	if err := unix.Kill(s.Process.Pid, sig); err != nil {
		t.Fatal(err)
	}
	err := s.Wait()
	var exit *exec.ExitError
	if sig == unix.SIGTERM && err != nil || sig != unix.SIGTERM && !errors.As(err, &exit) {
		t.Errorf("it ended with %v: %s", err, s.said.String())
	}
}

// The lock and the socket outlive a daemon that is killed: nobody else can take its
// place, and commands wait for the next one.
func TestServiceIsRestarted(t *testing.T) {
	w := newWorld(t)
	first := w.startService(t, "")
	stored := first.await(t, "READY=1")
	w.expect(t, 0, "network", "create", "kept")
	pid := w.status(t).PID
	if pid != first.Process.Pid {
		t.Errorf("process %d serves, not %d", pid, first.Process.Pid)
	}
	first.end(t, unix.SIGKILL)
	if stored[lockName] == nil || stored[socketName] == nil || len(stored) != 2 {
		t.Fatalf("stored: %v", stored)
	}

	d, err := w.dirs()
	if err != nil {
		t.Fatal(err)
	}
	listed := make(chan error, 1)
	go func() {
		client := api.New(d.socket())
		_, err := client.NetworkInspect(t.Context(), "kept", api.NetworkInspectOptions{})
		listed <- err
	}()
	second := w.startService(t, lockName+":"+socketName, stored[lockName], stored[socketName])
	// Again, as it cannot be known who keeps it.
	second.await(t, "READY=1")
	if err := <-listed; err != nil {
		t.Errorf("the client that came in between: %v", err)
	}
	if pid, err := findDaemon(d); err != nil || pid != second.Process.Pid {
		t.Errorf("the lock is held by %d (%v), want %d", pid, err, second.Process.Pid)
	}
	second.end(t, unix.SIGTERM)
	if _, err := os.Lstat(d.socket()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// listener makes the socket that a .socket unit would pass.
func (w *world) listener(t *testing.T, path string) *os.File {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// The socket of a .socket unit is served under whatever name it comes, and stays.
func TestSocketActivation(t *testing.T) {
	w := newWorld(t)
	d, err := w.dirs()
	if err != nil {
		t.Fatal(err)
	}
	s := w.startService(t, "footbridge.socket", w.listener(t, d.socket()))
	stored := s.await(t, "READY=1")
	if stored[socketName] != nil || stored[lockName] == nil {
		t.Errorf("stored: %v", stored)
	}
	w.expect(t, 0, "network", "ls", "-q")
	w.expect(t, 0, "daemon", "upgrade", "--binary", testBinary(t))
	w.expect(t, 0, "network", "ls", "-q")
	s.end(t, unix.SIGTERM)
	if _, err := os.Lstat(d.socket()); err != nil {
		t.Errorf("systemd's socket is removed: %v", err)
	}
}

// A unit that passes what no command connects to is told so.
func TestSocketActivationThatCannotWork(t *testing.T) {
	w := newWorld(t)
	d, err := w.dirs()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(w.folder, "elsewhere")
	for _, row := range []struct {
		names, says string
		files       []*os.File
	}{
		{"a.socket", "set ListenStream= of the .socket unit", []*os.File{w.listener(t, elsewhere)}},
		{"a.socket:b.socket", "leave one ListenStream=", []*os.File{w.listener(t, d.socket()), w.listener(t, elsewhere+"2")}},
	} {
		s := w.startService(t, row.names, row.files...)
		if err := s.Wait(); err == nil || !strings.Contains(s.said.String(), row.says) || !strings.Contains(s.said.String(), errSocket.Error()) {
			t.Errorf("%s: ended with %v, said %s", row.names, err, s.said.String())
		}
	}
	if err := os.Chmod(filepath.Dir(d.socket()), 0o755); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(d.socket())
	s := w.startService(t, "a.socket", w.listener(t, d.socket()))
	if err := s.Wait(); err == nil || !strings.Contains(s.said.String(), "0755") {
		t.Errorf("an open folder: ended with %v, said %s", err, s.said.String())
	}
}
