package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// crashRole panics in the sandbox.
func crashRole([]string) error {
	if _, err := Enter(Options{}); err != nil {
		return err
	}
	panic("as it was to")
}

// A crash is told as everywhere, and not hidden behind the sandbox.
func TestACrashIsTold(t *testing.T) {
	cmd := child(t, true, "crash")
	out, ws := run(t, cmd)
	if ws.ExitStatus() != 2 || !strings.Contains(out, "panic: as it was to") || !strings.Contains(out, "crashRole") {
		t.Errorf("it ended with %v and said %q", cmd.ProcessState, out)
	}
}

// offRole enters with the options of the environment, and shows that files can be
// read.
func offRole([]string) error {
	s, err := Enter(FromEnvironment())
	if err != nil {
		return err
	}
	if _, err := os.ReadFile("/proc/self/status"); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(s)
}

func TestOffIsSaidLoudly(t *testing.T) {
	for value, off := range map[string]bool{"off": true, "": false, "0": false, "OFF": false} {
		cmd := child(t, true, "off")
		cmd.Env = append(cmd.Env, Variable+"="+value)
		out, ws := run(t, cmd)
		if !off {
			if !Killed(ws) {
				t.Errorf("%s=%s: it ended with %v and said %q", Variable, value, cmd.ProcessState, out)
			}
			continue
		}
		var s State
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			t.Fatalf("it ended with %v and said %q", cmd.ProcessState, out)
		}
		if s.Seccomp != SeccompOff || s.Landlock != 0 || !s.NoNewPrivs || len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "THE SANDBOX IS OFF") {
			t.Errorf("%+v", s)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	why := errors.New("the kernel said no")
	err := unavailable("seccomp filter", why)
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, why) {
		t.Errorf("%v hides its reasons", err)
	}
	for _, word := range []string{"seccomp filter", "doctor", "CONFIG_SECCOMP_FILTER", Variable + "=off"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q says nothing of %s", err, word)
		}
	}
}

func TestThisMachineHasASandbox(t *testing.T) {
	s := Probe()
	if s.NoNewPrivs != nil || s.Seccomp != nil {
		t.Errorf("no_new_privs: %v, seccomp: %v", s.NoNewPrivs, s.Seccomp)
	}
	if (s.Landlock == 0) != errors.Is(s.NoLandlock, ErrNoLandlock) {
		t.Errorf("Landlock %d, %v", s.Landlock, s.NoLandlock)
	}
	// The attempt has left nothing behind.
	if held, err := Read(os.Getpid()); err != nil || held.Seccomp != SeccompOff {
		t.Error(fmt.Sprintf("%+v", held), err)
	}
}
