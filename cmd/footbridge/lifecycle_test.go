package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/footbridge-net/footbridge/api"
)

func TestExec(t *testing.T) {
	w := newWorld(t)
	b := &fakeBackend{}
	w.serve(t, b)
	w.environ = append(w.environ, "FROM_CALLER=x")
	w.expect(t, 17, "exec", "-e", "A=1", "-e", "FROM_CALLER", "-w", "/srv", "-u", "7:8", "web", "ls", "-l")
	if w.out.String() != "to stdout\n" || w.err.String() != "to stderr\n" {
		t.Errorf("stdout %q, stderr %q", w.out.String(), w.err.String())
	}
	got := fmt.Sprintf("%v %v %s %s %v %v", b.exec.Cmd, b.exec.Env, b.exec.WorkingDir, b.exec.User, b.exec.AttachStdin, b.exec.AttachStdout)
	if want := "[ls -l] [A=1 FROM_CALLER=x] /srv 7:8 false true"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	w.expect(t, 0, "exec", "-d", "web", "ls")
	if w.out.Len() > 0 {
		t.Errorf("a detached command printed %q", w.out.String())
	}
	// Its container was removed, and it with it.
	b.execStarted, b.execGone = false, api.Errorf(errdefs.ErrNotFound, "No such exec instance: e1")
	w.expect(t, 137, "exec", "web", "ls")
	b.execGone = nil
	for code, err := range map[int]error{
		127: api.Errorf(api.ErrCommandNotFound, "not there"),
		126: api.Errorf(api.ErrCommandNotExecutable, "not executable"),
		1:   api.Errorf(errdefs.ErrInvalidArgument, "invalid"),
		137: api.Errorf(errdefs.ErrConflict, "container web is not running"), // ended since the exec was made
	} {
		b.execErr = err
		w.expect(t, code, "exec", "web", "ls")
		if want := "footbridge: " + err.Error() + "\n"; w.err.String() != want {
			t.Errorf("said %q, want %q", w.err.String(), want)
		}
	}
}

// Several are dealt with one by one: what succeeded is printed, what failed is
// said, and the exit code tells that something did.
func TestSeveralAtOnce(t *testing.T) {
	w := newWorld(t)
	b := &fakeBackend{}
	w.serve(t, b)
	w.expect(t, 1, "stop", "-t", "3", "-s", "INT", "web", "nope", "idle")
	if w.out.String() != "web\nidle\n" || w.err.String() != "footbridge: No such container: nope\n" {
		t.Errorf("stdout %q, stderr %q", w.out.String(), w.err.String())
	}
	if len(b.stopped) != 3 || *b.stopped[0].Timeout != 3 || b.stopped[0].Signal != "INT" {
		t.Errorf("asked for %+v", b.stopped)
	}
	w.expect(t, 0, "stop", "web")
	if b.stopped[3].Timeout != nil {
		t.Errorf("without -t asked for %+v, which is the daemon's to choose", b.stopped[3])
	}
	w.expect(t, 0, "kill", "-s", "HUP", "web", "db")
	if w.out.String() != "web\ndb\n" || !slices.Equal(b.killed, []string{"HUP", "HUP"}) {
		t.Errorf("stdout %q, killed %q", w.out.String(), b.killed)
	}
	w.expect(t, 0, "rm", "-f", "web")
	if w.out.String() != "web\n" || !slices.Equal(b.removed, []string{"web"}) {
		t.Errorf("stdout %q, removed %q", w.out.String(), b.removed)
	}
}

func TestLogs(t *testing.T) {
	w := newWorld(t)
	w.now = func() time.Time { return testNow }
	b := &fakeBackend{}
	w.serve(t, b)
	w.expect(t, 0, "logs", "-n", "5", "--since", "1h", "web")
	if w.out.String() != "one\n" || w.err.String() != "two\n" {
		t.Errorf("stdout %q, stderr %q", w.out.String(), w.err.String())
	}
	if b.logs.Tail != 5 || !b.logs.Since.Equal(testNow.Add(-time.Hour)) || b.logs.Follow {
		t.Errorf("asked for %+v", b.logs)
	}
	w.expect(t, 0, "logs", "-t", "web")
	if b.logs.Tail >= 0 || !strings.HasPrefix(w.out.String(), "2026-05-04T12:00:00.000000000Z one") {
		t.Errorf("asked for %+v, printed %q", b.logs, w.out.String())
	}
}
