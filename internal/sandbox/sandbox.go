package sandbox

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Variable is the environment variable that, with the value "off", makes a worker
// run without seccomp and Landlock.
const Variable = "FOOTBRIDGE_SANDBOX"

// ErrUnavailable is returned by Enter when a part of the sandbox cannot be made that
// must be there.
var ErrUnavailable = errors.New("the sandbox cannot be made")

// Options of Enter.
type Options struct {
	// Off leaves seccomp and Landlock out, and takes what else fails for a note.
	// It is for machines that have no seccomp, and for the search for a system
	// call that is missing from the list.
	Off bool
	// UnixSocket is the descriptor of the process's one unix socket; 0: it has none.
	// connect(2) and bind(2) of it would take a path, and bind makes a file there.
	UnixSocket int
}

// FromEnvironment is what the user has asked for by Variable.
func FromEnvironment() Options { return Options{Off: os.Getenv(Variable) == "off"} }

// State is what holds a process. Its fields are those of api.Sandbox.
type State struct {
	NoNewPrivs   bool
	Capabilities uint64   // the effective, permitted, inheritable and ambient sets together
	Seccomp      string   // "filter", "strict" or "off"
	Landlock     int      // ABI version in force; 0 without
	Notes        []string // what is not there, and why
}

// The values of State.Seccomp.
const (
	SeccompOff    = "off"
	SeccompStrict = "strict"
	SeccompFilter = "filter"
)

// Enter puts this process with all its threads into the sandbox. After it no path can
// be opened and nothing executed, ever; a system call that is not on the list ends
// the process by SIGSYS.
//
// What the kernel's Landlock does not have is a note in the State. Everything else
// that fails is an error that wraps ErrUnavailable, after which the process may be
// partly in the sandbox and is to end.
func Enter(o Options) (State, error) {
	s := State{Seccomp: SeccompOff}
	if o.Off {
		s.Notes = append(s.Notes, "THE SANDBOX IS OFF, as "+Variable+"=off asks: a container that breaks into the worker has all that its user has")
	}
	Warm()
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"core dumps", noCore},
		{"capabilities", dropCapabilities},
		{"no_new_privs", noNewPrivs},
	} {
		if err := step.do(); err != nil {
			if !o.Off {
				return s, unavailable(step.name, err)
			}
			s.Notes = append(s.Notes, fmt.Sprintf("%s: %v", step.name, err))
		}
	}
	if !o.Off {
		var notes []string
		s.Landlock, notes = landlockAll()
		s.Notes = append(s.Notes, notes...)
	}
	// After Landlock: psx looks for the threads in /proc, and so it has been tried.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil && !o.Off {
		return s, unavailable("not dumpable", err)
	}
	now, err := ownState()
	if err != nil && !o.Off {
		return s, unavailable("its own state", err)
	}
	s.NoNewPrivs, s.Capabilities = now.NoNewPrivs, now.Capabilities
	if o.Off {
		return s, nil
	}
	if err := installFilter(list(os.Getpid(), o.UnixSocket)); err != nil {
		return s, unavailable("seccomp filter", err)
	}
	s.Seccomp = SeccompFilter
	return s, nil
}

// unavailable says what to do about a step that failed.
func unavailable(step string, err error) error {
	return fmt.Errorf("%w: %s: %w: `footbridge doctor` shows what this machine lacks; "+
		"Linux 5.10 or later with CONFIG_SECCOMP_FILTER is needed, and in an outer container its permission for seccomp(2) and prctl(2). "+
		"%s=off goes without the sandbox, at your own risk", ErrUnavailable, step, err, Variable)
}

// Warm has the standard library read now what it would read when it is first
// needed: the time zone's file, for logs. Enter calls it.
func Warm() {
	_ = time.Now().Local().String()
	warmC()
}
