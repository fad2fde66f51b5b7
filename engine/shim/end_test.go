package shim

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A shim that is stopped answers nothing, and its container can be ended all the same.
func TestEndOfAStoppedShim(t *testing.T) {
	c := start(t, newSpec(t, sh(`echo up; sleep 1000`)...))
	c.until("up")
	pid1 := pidfdOf(t, c.s.PID())
	keeper := pidfdOf(t, parentOf(t, c.s.PID()))
	if err := unix.PidfdSendSignal(keeper, unix.SIGSTOP, nil, 0); err != nil {
		t.Fatal(err)
	}
	trace := Trace{Dir: c.s.Dir()}
	if err := trace.End(testContext(t)); err != nil {
		t.Fatal(err)
	}
	awaitDeath(t, keeper, "shim")
	awaitDeath(t, pid1, "container's pid 1")
	if err := trace.End(testContext(t)); err != nil {
		t.Errorf("end of what has ended: %v", err)
	}
	for _, name := range []string{socketName, scratchName, crashName} { // what a killed shim cannot
		_ = os.Remove(c.s.Dir() + "/" + name)
	}
}

// A container whose socket somebody has removed is known to live by its processes, and can be ended.
func TestEndWithoutASocket(t *testing.T) {
	spec := newSpec(t, sh(`echo up; sleep 1000`)...)
	c := start(t, spec)
	c.until("up")
	pid1 := pidfdOf(t, c.s.PID())
	keeper := parentOf(t, c.s.PID())
	if err := os.Remove(filepath.Join(spec.Dir, socketName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Connect(testContext(t), spec.Dir); !errors.Is(err, ErrGone) {
		t.Errorf("Connect: %v", err)
	}
	trace := Trace{Dir: spec.Dir, ID: spec.ID, PID: c.s.PID()}
	if !trace.Lives() {
		t.Error("the container is taken for dead")
	}
	for name, other := range map[string]Trace{
		"another id":          {Dir: spec.Dir, ID: spec.ID + "x", PID: trace.PID},
		"a pid that is mine":  {Dir: spec.Dir, ID: spec.ID, PID: os.Getpid()},
		"the shim's own pid":  {Dir: spec.Dir, ID: spec.ID, PID: keeper},
		"a pid of nobody":     {Dir: spec.Dir, ID: spec.ID, PID: 1 << 22},
		"the machine's pid 1": {Dir: spec.Dir, ID: spec.ID, PID: 1},
		"no pid":              {Dir: spec.Dir, ID: spec.ID},
	} {
		if other.Lives() {
			t.Errorf("%s counts as the container", name)
		}
		if err := other.End(testContext(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !trace.Lives() {
		t.Fatal("ended by a trace that was not its own")
	}
	if err := trace.End(testContext(t)); err != nil {
		t.Fatal(err)
	}
	awaitDeath(t, pid1, "container's pid 1")
	if trace.Lives() {
		t.Error("it still counts as alive")
	}
	for _, name := range []string{scratchName, crashName} { // what a killed shim cannot
		_ = os.Remove(filepath.Join(spec.Dir, name))
	}
}

// Requests to a pid 1 that ended a moment ago say that there is no container.
func TestAskInitThatHasEnded(t *testing.T) {
	conn, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	theirs.Close()
	s := &server{init: &initProcess{conn: conn}}
	if err := s.askInit(initRequest{Op: initSignal, Signal: 15}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v", err)
	}
}

// A process of another user namespace gives no orders, though its uid outside is the user's.
func TestStrangersAreRefused(t *testing.T) {
	c := start(t, newSpec(t, sh(`echo up; sleep 1000`)...))
	c.until("up")
	cmd := exec.Command("unshare", "--user", "--map-root-user", "python3", "-c", `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
m = b'{"op":"state"}'
try:
    s.sendall(len(m).to_bytes(4, "big") + m)
    print(len(s.recv(4096)))
except OSError:
    print(0)
`, c.s.Dir()+"/"+socketName)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "0" {
		t.Errorf("answer to a stranger: %q, %v", out, err)
	}
}
