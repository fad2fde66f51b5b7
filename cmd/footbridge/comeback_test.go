package main

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"

	"github.com/footbridge-net/footbridge/api"
)

// line is a connection of a session, and the daemon's end of it.
func line(t *testing.T) (ours *api.Hijacked, theirs net.Conn) {
	t.Helper()
	w := newWorld(t)
	l, err := net.Listen("unix", filepath.Join(w.folder, "line"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); theirs.Close() })
	return &api.Hijacked{Conn: c}, theirs
}

// What is typed while the daemon is away goes to the next connection.
func TestInputWaitsForTheDaemon(t *testing.T) {
	first, old := line(t)
	in := newInlet(first)
	if got := in.pause(); got != inputUntouched {
		t.Errorf("state %v before anything was sent", got)
	}
	in.join(first)
	write := func(text string) {
		t.Helper()
		if n, err := in.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	write("one ")
	old.Close() // the daemon ends before anybody knows
	written := make(chan struct{})
	go func() {
		defer close(written)
		write("two ")
	}()
	if got := in.pause(); got != inputUnderWay {
		t.Errorf("state %v after something was sent", got)
	}
	second, daemon := line(t)
	in.join(second)
	<-written
	in.end()
	b, err := io.ReadAll(daemon)
	if err != nil || string(b) != "two " {
		t.Errorf("the next daemon got %q, %v", b, err)
	}
	if got := in.pause(); got != inputDone {
		t.Errorf("state %v after the end", got)
	}
	// The end is said again.
	third, daemon := line(t)
	in.join(third)
	if b, err := io.ReadAll(daemon); err != nil || len(b) > 0 {
		t.Errorf("the third daemon got %q, %v", b, err)
	}
}

func TestInputEndsWithItsSession(t *testing.T) {
	conn, daemon := line(t)
	in := newInlet(conn)
	in.pause()
	failed := make(chan error)
	go func() {
		_, err := in.Write([]byte("x"))
		failed <- err
	}()
	in.close()
	if err := <-failed; !errors.Is(err, errSessionOver) {
		t.Errorf("write: %v", err)
	}
	// A daemon that comes back too late.
	in.join(conn)
	if b, err := io.ReadAll(daemon); err != nil || len(b) > 0 {
		t.Errorf("the daemon got %q, %v", b, err)
	}
	if !in.isClosed() {
		t.Error("it is open again")
	}
}

// A daemon that does not come back is not waited for longer than a while, and none is
// started.
func TestDaemonThatDoesNotComeBack(t *testing.T) {
	w := newWorld(t)
	d, err := w.dirs()
	if err != nil {
		t.Fatal(err)
	}
	if err := comeBack(t.Context(), api.New(d.socket())); !errors.Is(err, api.ErrNoDaemon) {
		t.Errorf("%v", err)
	}
	if pid, err := findDaemon(d); pid != 0 || err != nil {
		t.Errorf("daemon %d, %v", pid, err)
	}
}
