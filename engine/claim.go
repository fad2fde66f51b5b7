package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/engine/store"
)

// A runtime folder and a state folder belong together as long as a container of
// theirs lives: its sockets are in the one, its record in the other. The
// environment that leads to them may change in between, so each holds the name of
// the other.
const (
	// runtimeName is the file in the state folder with the runtime folder's
	// path. The engine that uses the state holds a lock on it.
	runtimeName = "runtime-dir"
	// stateName is the file in the runtime folder with the state folder's path.
	stateName = "state-dir"
)

// claimPatience is how long the lock is waited for: a daemon that ends has it for
// some milliseconds more, or until a request under way has ended. From one that
// answers, or that nobody can reach, it is not waited for. A variable for tests,
// which are not to depend on a machine's speed.
var claimPatience = 2 * time.Second

const (
	// claimMoment is how long a daemon is given to be gone before it is asked, and
	// to answer: one with nothing else to do takes a millisecond.
	claimMoment   = 100 * time.Millisecond
	claimInterval = 20 * time.Millisecond
)

// ErrElsewhere: a folder belongs to containers that live with another one.
var ErrElsewhere = errors.New("in use with another folder")

// RecordedRuntimeDir returns the runtime folder that a state folder was last
// used with, "" if none is known.
func RecordedRuntimeDir(stateDir string) string {
	return readPath(filepath.Join(stateDir, runtimeName))
}

// InRuntimeDir words a command line that uses a runtime folder, whatever the
// environment says.
func InRuntimeDir(dir, command string) string {
	if filepath.Base(dir) == "footbridge" {
		return fmt.Sprintf("XDG_RUNTIME_DIR=%s %s", filepath.Dir(dir), command)
	}
	return "env -u XDG_RUNTIME_DIR " + command
}

// claim makes the two folders this engine's, or says who has them. What lives
// with another folder is neither ended nor forgotten: it is an error.
func (e *Engine) claim() (err error) {
	runtime, state := e.opts.RuntimeDir, e.opts.StateDir
	f, err := os.OpenFile(filepath.Join(state, runtimeName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	if err := lockClaim(f, e.opts); err != nil {
		return err
	}
	// The state's containers may live elsewhere.
	if before := RecordedRuntimeDir(state); before != "" && !sameDir(before, runtime) && e.belongs(before, state) {
		living, err := e.living(before)
		if err != nil {
			return fmt.Errorf("the containers of state folder %s may run with runtime folder %s: %w; remove %s if they do not",
				state, before, err, filepath.Join(state, runtimeName))
		}
		if len(living) > 0 {
			return fmt.Errorf("state folder %s is %w: its containers (%s) run with runtime folder %s, and this is %s: use them with `%s`, and stop them there before a change",
				state, ErrElsewhere, strings.Join(living, ", "), before, runtime, InRuntimeDir(before, "footbridge ..."))
		}
	}
	// The runtime folder's containers may be another state's.
	if before := readPath(filepath.Join(runtime, stateName)); before != "" && !sameDir(before, state) {
		living, err := e.living(runtime)
		if err != nil {
			return err
		}
		if len(living) > 0 {
			return fmt.Errorf("runtime folder %s is %w: its containers (%s) belong to state folder %s, and this is %s: use them with `XDG_STATE_HOME=%s footbridge ...`, or give this state a runtime folder of its own with XDG_RUNTIME_DIR",
				runtime, ErrElsewhere, strings.Join(living, ", "), before, state, filepath.Dir(before))
		}
	}
	if err := store.WriteFile(filepath.Join(runtime, stateName), []byte(state+"\n")); err != nil {
		return fmt.Errorf("runtime folder: %w", err)
	}
	// In place, since the lock is on this file. The first line counts, so what
	// is left of a longer one in between does no harm.
	line := runtime + "\n"
	if _, err := f.WriteAt([]byte(line), 0); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	if err := f.Truncate(int64(len(line))); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	e.claimed = f
	return nil
}

// lockClaim takes the state's lock; store.ErrBusy names who has it.
func lockClaim(f *os.File, o Options) error {
	runtime, state := o.RuntimeDir, o.StateDir
	socket := filepath.Base(o.Socket)
	look := time.After(claimMoment)
	tick := time.NewTicker(claimInterval)
	defer tick.Stop()
	late := time.After(claimPatience)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		h := Holder{}
		select {
		case <-tick.C:
			continue
		case <-look:
			if h = StateHolder(state, socket); !h.Lost && !answersSoon(h) {
				look = time.After(claimMoment)
				continue
			}
		case <-late:
			h = StateHolder(state, socket)
		}
		return fmt.Errorf("state folder %s: %w: %w", state, store.ErrBusy, h.Explain(runtime))
	}
}

func answersSoon(h Holder) bool {
	ctx, cancel := context.WithTimeout(context.Background(), claimMoment)
	defer cancel()
	return h.Answers(ctx)
}

// belongs reports whether a runtime folder is this user's, and was not given to
// another state since.
func (e *Engine) belongs(runtime, state string) bool {
	var st unix.Stat_t
	if err := unix.Lstat(runtime, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() {
		return false
	}
	owner := readPath(filepath.Join(runtime, stateName))
	return owner == "" || sameDir(owner, state)
}

// living lists the containers that live in a runtime folder, by the beginnings
// of their ids. One that does not answer counts as alive.
func (e *Engine) living(runtime string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(runtime, "c"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	alive := make([]bool, len(entries))
	inParallel(entries, func(i int, entry os.DirEntry) { alive[i] = e.lives(filepath.Join(runtime, "c", entry.Name())) })
	var ids []string
	for i, entry := range entries {
		if alive[i] {
			ids = append(ids, entry.Name())
		}
	}
	return ids, nil
}

// lives reports whether a container lives, by its runtime directory alone. One
// that does not say counts as alive.
func (e *Engine) lives(dir string) bool {
	ctx, cancel := context.WithTimeout(e.ctx, firstLook)
	defer cancel()
	if def := foreignIn(dir); def != nil {
		_, err := e.findForeign(def)
		return !errors.Is(err, errEnded)
	}
	p, err := e.opts.Runtime.Connect(ctx, dir)
	if err == nil {
		defer p.Close()
		var state shim.State
		if state, err = p.State(ctx); err == nil {
			return state.Status == shim.Running
		}
	}
	return !errors.Is(e.judge(traceIn(dir), err), errEnded)
}

// traceIn is what a runtime directory remembers of the processes in it.
func traceIn(dir string) shim.Trace {
	t := shim.Trace{Dir: dir}
	if d, err := readCopy(dir); err == nil {
		t.ID, t.PID = d.Container.ID, d.Container.State.Pid
	}
	return t
}

// readPath returns the first line of a file if it is an absolute path.
func readPath(name string) string {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, unix.PathMax))
	if err != nil {
		return ""
	}
	line, _, whole := strings.Cut(string(b), "\n")
	if !whole || !filepath.IsAbs(line) {
		return ""
	}
	return line
}

// sameDir: two paths of one folder.
func sameDir(a, b string) bool {
	if filepath.Clean(a) == filepath.Clean(b) {
		return true
	}
	sa, err := os.Stat(a)
	if err != nil {
		return false
	}
	sb, err := os.Stat(b)
	return err == nil && os.SameFile(sa, sb)
}
