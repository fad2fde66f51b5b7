package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// fakePrefix begins the level of logging that makes a worker a fake one: it is one
// of the few variables that a worker gets.
const fakePrefix = "fake-"

// slowAnswer is what a slow worker takes.
const slowAnswer = 300 * time.Millisecond

// dispatchFake plays workers as a container may have made them.
func dispatchFake() {
	how, ok := strings.CutPrefix(os.Getenv(logVariable), fakePrefix)
	if !ok || os.Args[0] != processName {
		return
	}
	conn, err := fdpass.NewConn(socketFD)
	if err != nil {
		os.Exit(4)
	}
	buf := make([]byte, fdpass.MaxMessage)
	hello := func() { // and takes note that it may start
		_ = sendReply(conn, []byte(`{"Body":{}}`))
		_, _, _ = conn.Receive(buf)
		_ = sendReply(conn, []byte(`{}`))
	}
	switch how {
	case "exit":
		os.Exit(3)
	case "late":
		time.Sleep(time.Hour)
	case "nonsense":
		_ = conn.Send([]byte("lnonsense"))
	case "unknown":
		_ = conn.Send([]byte(`l{"Body":{"Surprise":1}}`))
	case "descriptors":
		if conn.Send([]byte(`l{"Body":{}}`), fdpass.NewHandle(lockFD)) != nil {
			_ = conn.Send([]byte("refused by the kernel"))
		}
	case "endless":
		for conn.Send(append([]byte("m"), make([]byte, fdpass.MaxMessage-1)...)) == nil {
		}
	case "lets go":
		unix.Close(lockFD)
		hello()
		time.Sleep(time.Hour)
	case "big":
		_ = sendReply(conn, []byte(`{"Body":{"`+strings.Repeat("x", 4<<20)+`":1}}`))
	case "slow":
		for hello(); ; _ = sendReply(conn, []byte(`{"Body":{}}`)) {
			if _, _, err := conn.Receive(buf); err != nil {
				os.Exit(0)
			}
			time.Sleep(slowAnswer)
		}
	case "mute":
		hello()
		_, _, _ = conn.Receive(buf)
		time.Sleep(time.Hour)
	case "rings":
		rings(conn, buf)
	case "escapes":
		hello()
		_, _, _ = conn.Receive(buf)
		b, _ := json.Marshal(reply{Error: "no \x1b[31m" + strings.Repeat("x", 1<<20)})
		_ = sendReply(conn, b)
	}
	_, _, _ = conn.Receive(buf) // until it is killed
	os.Exit(0)
}

func TestAWorkerIsNotBelieved(t *testing.T) {
	for how, want := range map[string]string{
		"exit": "status 3", "late": "did not answer", "nonsense": "could not be understood", "unknown": "Surprise",
		"descriptors": "not an answer", "endless": "not an answer", "mute": "i/o timeout", "big": "unknown field", "escapes": "no  [31m",
	} {
		t.Run(how, func(t *testing.T) {
			t.Setenv(logVariable, fakePrefix+how)
			s := newSupervisor(t, Options{})
			if how == "late" || how == "mute" {
				s.patience = 200 * time.Millisecond
			}
			if err := s.Release(); err != nil {
				t.Fatal(err)
			}
			fds := openFDs(t)
			_, err := s.NewPlane(netSpec())
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			} else if len(err.Error()) > 3*textLimit || strings.ContainsRune(err.Error(), '\x1b') {
				t.Errorf("a text of %d bytes: %.100q", len(err.Error()), err)
			}
			if how != "escapes" && !errors.Is(err, ErrDown) {
				t.Errorf("%v is not ErrDown", err)
			}
			if how != "escapes" && how != "mute" {
				eventually(t, "its descriptors to be closed", func() bool { return openFDs(t) <= fds })
			}
			// A worker that can be believed is one again.
			t.Setenv(logVariable, "info")
			s.patience = defaultPatience
			eventually(t, "a better worker", func() bool {
				p, err := s.NewPlane(netSpec())
				if err != nil {
					return false
				}
				return p.Close() == nil
			})
		})
	}
}

// What a worker does to the sockets that it shares with the keeper ends with it.
func TestASpoiledListenerIsRepaired(t *testing.T) {
	sc := newScene(t, Options{})
	fd := sc.listener.bound.Handle().FD()
	var nowhere unix.RawSockaddrAny
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&nowhere)), unix.SizeofSockaddrInet6); errno != 0 {
		t.Fatal(errno)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_RDWR); err != nil {
		t.Fatal(err)
	}
	if sc.published() == nil {
		t.Fatal("it is not spoiled")
	}
	before := sc.s.Status().PID
	if err := unix.Kill(before, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next worker", func() bool { st := sc.s.Status(); return st.PID != 0 && st.PID != before })
	sc.check("afterwards")
}

// A worker that is always nearly too slow holds nobody up for ever.
func TestASlowWorkerIsReplaced(t *testing.T) {
	t.Setenv(logVariable, fakePrefix+"slow")
	s := newSupervisor(t, Options{})
	s.patience = 2 * slowAnswer
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.NewPlane(netSpec()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its end", func() bool { s.Status(); s.mu.Lock(); defer s.mu.Unlock(); return s.restarts > 0 })
	if got := s.Status().LastExit; !strings.Contains(got, "did not answer in time") {
		t.Error(got)
	}
}

// A worker that dies again and again is not started again and again.
func TestACrashLoopIsSlow(t *testing.T) {
	t.Setenv(logVariable, "info")
	s := newSupervisor(t, Options{})
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	p, err := s.NewPlane(netSpec())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(logVariable, fakePrefix+"exit")
	if err := unix.Kill(s.Status().PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first failure", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.retry != nil
	})
	if _, err := p.Attach(t.Context(), newCtr(t, 2).ns, newCtr(t, 2).link); !errors.Is(err, ErrDown) {
		t.Errorf("attach without a worker: %v", err)
	}
	t.Setenv(logVariable, "info")
	eventually(t, "the next worker", func() bool { return s.Status().PID != 0 })
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// A worker that an earlier daemon has left, and that does not see its end, is
// killed before there is another one, whatever it has made of its share of the lock.
func TestALeftWorkerIsEnded(t *testing.T) {
	for _, how := range []string{"mute", "lets go"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			lock, err := openLock(dir, true)
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv(logVariable, fakePrefix+how)
			p, err := startProcess(lock, newOutput(os.Stderr), defaultPatience)
			if err != nil {
				t.Fatal(err)
			}
			defer p.end()
			lock.Close()
			newSupervisor(t, Options{RuntimeDir: dir})
			if lives(p.pidfd(t)) {
				t.Error("it lives")
			}
		})
	}
}

func (p *process) pidfd(t *testing.T) int {
	t.Helper()
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// Nobody is killed who only has the number of a worker.
func TestAnotherProcessIsNotEnded(t *testing.T) {
	lock, err := openLock(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	pid := os.Getpid()
	lock.note(pid)
	if _, fd := lock.noted(); fd < 0 || !lives(fd) {
		t.Error("who was noted is not found")
	} else {
		unix.Close(fd)
	}
	for _, text := range []string{fmt.Sprint(pid, " 1"), fmt.Sprint(pid), "1 1", "x", ""} {
		if err := lock.file.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := lock.file.WriteAt([]byte(text), 0); err != nil {
			t.Fatal(err)
		}
		if _, fd := lock.noted(); fd >= 0 {
			t.Errorf("%q leads to a process", text)
		}
	}
}

func TestTheLockIsNoLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{RuntimeDir: dir}); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link in place of the lock: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "elsewhere")); err == nil {
		t.Error("the link was followed")
	}
}

// FuzzReply: whatever a worker sends is an error or an answer.
func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"Body":{"Network":{"x":1},"Ports":{"c":{"rx_frames":2}}}}`))
	f.Add([]byte(`{"Error":"no"}`))
	f.Add([]byte(`{"Body":{"Version":"v","Goroutines":-1,"Notes":["\u001b[31m"]}} {}`))
	f.Add([]byte(`{"Body":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r reply
		if decode(b, &r) != nil {
			return
		}
		if text := clean(r.Error); len(text) > 2*textLimit || strings.ContainsAny(text, "\x1b\n\r\x00") {
			t.Errorf("%q", text)
		}
		var st plane.Stats
		_ = decode(r.Body, &st)
		var self Self
		_ = decode(r.Body, &self)
	})
}
