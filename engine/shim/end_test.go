package shim

import (
	"errors"
	"os"
	"os/exec"
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
	if err := End(testContext(t), c.s.Dir()); err != nil {
		t.Fatal(err)
	}
	awaitDeath(t, keeper, "shim")
	awaitDeath(t, pid1, "container's pid 1")
	if err := End(testContext(t), c.s.Dir()); err != nil {
		t.Errorf("end of what has ended: %v", err)
	}
	for _, name := range []string{socketName, scratchName, crashName} { // what a killed shim cannot
		_ = os.Remove(c.s.Dir() + "/" + name)
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
