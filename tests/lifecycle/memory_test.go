package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/engine"
)

var (
	errInjected = errors.New("injected fault")
	errDead     = errors.New("this daemon is dead")
)

// memory is a stage of the engine above seams: processes that outlive it, data planes and host ports are in memory; the
// state file, the runtime folder and the address pools are real.
//
//	engine.Engine --Runtime, DataPlane--> life --> memory: processes, host ports
//	     |                                  '--> its own planes, endpoints, names, listeners
//	     v
//	run/ state/   (copied at the moment of a crash, put back after it)
type memory struct {
	dir string
	log *lastLines

	engine *engine.Engine
	life   *life

	mu       sync.Mutex
	procs    map[string]*process // by runtime directory
	taken    map[hostPort]any    // whose: a life, or somebody's
	serial   int
	nextPort uint16
	armed    Op // its Fault strikes when Nth reaches 0
	struck   bool
	crashed  chan struct{} // closed when it was the end of the daemon

	alone             bool // nothing else goes on in this process
	goroutines, files int  // of a daemon with nothing to do
	strikes           int
	done              map[Kind]int // that were not refused
}

// somebody has taken a port.
type somebody struct{}

// steps are where faults can happen; save is the disk.
var steps = func() map[Kind][]string {
	start := []string{"create", "namespaces", "plane", "attach", "names", "view", "publish", "state", "start", "remove", save}
	end := []string{"signal", "remove", save}
	m := map[Kind][]string{
		NetCreate: {save}, NetRemove: {save}, NetPrune: {save}, Create: {save}, Rename: {save}, Prune: {save},
		Connect: {"plane", "attach", "names", "view", "publish", "unplug", "namespaces", save}, Disconnect: {"attach", "names", "view", "publish", "unplug", save},
		Publish: {"publish", save}, Unpublish: {save},
		Start: start, Stop: end, Kill: end, Remove: end, End: end[1:], EndShim: end[1:],
		Restart: slices.Concat(start, end),
		Reopen:  {"connect", "state", "namespaces", "plane", "attach", "names", "view", "publish"},
	}
	return m
}()

const save = "save"

// newMemory starts a daemon on a fresh stage.
func newMemory() (*memory, error) {
	s := &memory{log: &lastLines{}, procs: map[string]*process{}, done: map[Kind]int{}, taken: map[hostPort]any{}, nextPort: 32768}
	// A state file that is in memory costs no waiting for a disk: power is not what fails here.
	parent := "/dev/shm"
	if unix.Access(parent, unix.W_OK) != nil {
		parent = ""
	}
	var err error
	if s.dir, err = os.MkdirTemp(parent, "footbridge-lifecycle"); err != nil {
		return s, err
	}
	for _, d := range []string{"run", "state", "ns"} {
		if err := os.Mkdir(filepath.Join(s.dir, d), 0o700); err != nil {
			return s, err
		}
	}
	if err := os.WriteFile(s.path("resolv.conf"), []byte("nameserver 192.0.2.53\n"), 0o600); err != nil {
		return s, err
	}
	err = s.open()
	s.goroutines, s.files = use()
	return s, err
}

func (s *memory) path(elements ...string) string {
	return filepath.Join(append([]string{s.dir}, elements...)...)
}

// open starts a daemon.
func (s *memory) open() error {
	l := &life{stage: s, planes: map[*memPlane]bool{}}
	s.mu.Lock()
	s.life = l
	s.mu.Unlock()
	e, err := engine.New(engine.Options{
		RuntimeDir: s.path("run"), StateDir: s.path("state"), ResolvConf: s.path("resolv.conf"),
		Logger:     slog.New(slog.NewTextHandler(s.log, nil)),
		HostRoutes: func() ([]engine.HostRoute, error) { return nil, nil },
		Runtime:    runtimeOf{l}, DataPlane: dataOf{l},
	})
	s.engine = e
	return err
}

// Docker implements Stage.
func (s *memory) Docker() Docker { return s.engine }

// Do implements Stage.
func (s *memory) Do(ctx context.Context, op Op, before *Model) (bool, error) {
	s.log.note(op.String())
	restore := func() {}
	s.mu.Lock()
	s.armed, s.struck, s.crashed = op, false, make(chan struct{})
	s.mu.Unlock()
	if op.Fault == save && op.Kind != Reopen {
		restore = s.breakDisk()
	}
	err := s.act(ctx, op, before)
	restore()
	s.mu.Lock()
	s.armed = Op{}
	if op.Fault == save && op.Kind != Reopen {
		s.struck = true
		if op.Crash {
			s.life.die()
		}
	}
	struck, dead := s.struck, s.life.dead
	if err == nil {
		s.done[op.Kind]++
	}
	if struck {
		s.strikes++
	}
	s.mu.Unlock()
	if dead {
		if again := s.afterCrash(); again != nil {
			return struck, fmt.Errorf("the daemon does not come back: %w", again)
		}
	}
	return struck, err
}

func (s *memory) act(ctx context.Context, op Op, before *Model) error {
	name := ctrName(op.C)
	switch op.Kind {
	case Reopen:
		if err := s.engine.Close(); err != nil {
			return err
		}
		s.mu.Lock()
		s.life.end()
		s.mu.Unlock()
		return s.open()
	case End, EndShim:
		c := before.Ctrs[name]
		switch {
		case c == nil:
			return errdefs.ErrNotFound
		case !c.running():
			return errdefs.ErrConflict
		}
		ended := s.awaitEnd(ctx, c)
		p := s.processOf(c)
		if op.Kind == EndShim { // and the kernel ends the rest
			s.mu.Lock()
			delete(s.procs, p.spec.Dir)
			s.mu.Unlock()
		}
		p.end(op.Kind == End, 3)
		s.wait(ended)
		return nil
	case HostBind, HostFree:
		p := somebodys(op)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.taken[p] == (somebody{}) {
			delete(s.taken, p)
		}
		if op.Kind == HostBind && s.free(p) {
			s.taken[p] = somebody{}
		}
		return nil
	case NSMake, NSDrop:
		path := s.namespace(max(before.Holder, 0))
		if op.Kind == NSMake && before.Holder == 0 {
			return os.Symlink("/proc/self/ns/net", s.namespace(before.Made+1))
		}
		if op.Kind == NSDrop && before.Holder > 0 {
			return os.Remove(path)
		}
		return nil
	case Worker:
		return nil // below this stage's seams
	}
	// What is removed by itself is gone a moment after the answer.
	if c := before.Ctrs[name]; c != nil && c.running() && c.AutoRm && (op.Kind == Stop || op.Kind == Kill) {
		ended := s.awaitEnd(ctx, c)
		err := ask(ctx, s.engine, op, s.namespace(before.Holder))
		if err == nil {
			s.wait(ended)
		}
		return err
	}
	return ask(ctx, s.engine, op, s.namespace(before.Holder))
}

func (s *memory) namespace(number int) string { return s.path("ns", fmt.Sprint("holder", number)) }

// awaitEnd asks to be told of a container's end, or of its removal where that follows.
func (s *memory) awaitEnd(ctx context.Context, c *Ctr) <-chan container.WaitResponse {
	condition := container.WaitConditionNextExit
	if c.AutoRm {
		condition = container.WaitConditionRemoved
	}
	ended, err := s.engine.ContainerWait(ctx, c.ID, condition)
	if err != nil {
		return nil
	}
	return ended
}

func (s *memory) wait(ended <-chan container.WaitResponse) {
	select {
	case <-ended:
	case <-s.crashed:
	}
}

func (s *memory) processOf(c *Ctr) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.procs[s.path("run", "c", c.ID[:12])]
}

// free: nobody has the port; s.mu is held.
func (s *memory) free(p hostPort) bool {
	for q := range s.taken {
		if p.excludes(q) {
			return false
		}
	}
	return true
}

// breakDisk lets every write to the state file fail until the returned function is called: its descriptor leads to a
// device that is always full.
func (s *memory) breakDisk() (mend func()) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	defer full.Close()
	for _, f := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + f.Name()); err != nil || target != s.path("state", "state.db") {
			continue
		}
		var fd int
		if _, err := fmt.Sscan(f.Name(), &fd); err != nil {
			panic(err)
		}
		good, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			panic(err)
		}
		if err := unix.Dup3(int(full.Fd()), fd, unix.O_CLOEXEC); err != nil {
			panic(err)
		}
		return func() {
			if err := unix.Dup3(good, fd, unix.O_CLOEXEC); err != nil {
				panic(err)
			}
			_ = unix.Close(good)
		}
	}
	panic("the state file is not open")
}

// afterCrash lets what is left of the dead daemon in this process come to an end, undoes what that did to its files,
// and starts another one.
func (s *memory) afterCrash() error {
	for {
		s.mu.Lock()
		dead := s.life.dead
		s.mu.Unlock()
		if !dead {
			return nil
		}
		if s.engine != nil {
			_ = s.engine.Close() // of a dead one
		}
		for _, d := range []string{"run", "state"} {
			if err := os.RemoveAll(s.path(d)); err != nil {
				return err
			}
			if err := os.Rename(s.path(d+".crash"), s.path(d)); err != nil {
				return err
			}
		}
		if err := s.open(); err != nil {
			return err
		}
	}
}

// Close implements Stage.
func (s *memory) Close() {
	if s.engine != nil {
		_ = s.engine.Close() // it has been judged
	}
	for _, p := range s.procs {
		p.end(false, 0)
	}
	_ = os.RemoveAll(s.dir)
}

// lastLines keeps what was logged last.
type lastLines struct {
	mu    sync.Mutex
	lines [][]byte
}

func (l *lastLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) >= 60 {
		l.lines = slices.Delete(l.lines, 0, 20)
	}
	l.lines = append(l.lines, bytes.Clone(b))
	return len(b), nil
}

func (l *lastLines) note(text string) { _, _ = l.Write([]byte("=== " + text + "\n")) }

func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.Join(l.lines, nil))
}

// backTo waits until this process uses no more than that.
func backTo(goroutines, files int) (haveGoroutines, haveFiles int, ok bool) {
	deadline := time.Now().Add(patience)
	for {
		g, f := use()
		if g <= goroutines && f <= files {
			return g, f, true
		}
		if time.Now().After(deadline) {
			return g, f, false
		}
		time.Sleep(time.Millisecond)
	}
}

// use is what this process uses: goroutines and descriptors.
func use() (goroutines, files int) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return runtime.NumGoroutine(), len(fds)
}
