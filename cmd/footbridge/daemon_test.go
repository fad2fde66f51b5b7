package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
)

// stopAtEnd makes sure that no daemon outlives the test.
func (w *world) stopAtEnd(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		d, err := w.dirs()
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := stopDaemon(d, lockPatience); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			log, _ := os.ReadFile(d.log())
			t.Logf("the daemon's log:\n%s", log)
		}
	})
}

// Commands that come at once start one daemon, and all of them work.
func TestDaemonIsStartedOnce(t *testing.T) {
	w := newWorld(t)
	w.stopAtEnd(t)
	d, err := w.dirs()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	pids := make([]int, 4)
	for i := range pids {
		wg.Go(func() {
			client, err := w.daemon(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			status, err := client.Status(t.Context())
			if err != nil {
				t.Error(err)
			}
			pids[i] = status.PID
		})
	}
	wg.Wait()
	for _, pid := range pids {
		if pid != pids[0] || pid == 0 || pid == os.Getpid() {
			t.Fatalf("daemons %v, want one process", pids)
		}
	}
	if pid, err := findDaemon(d); err != nil || pid != pids[0] {
		t.Errorf("the lock is held by %d (%v), want %d", pid, err, pids[0])
	}
	// Detached: of a session of its own, in /, with none of our streams.
	if sid, err := unix.Getsid(pids[0]); err != nil || sid != pids[0] {
		t.Errorf("the daemon's session is %d (%v)", sid, err)
	}
	if cwd, err := os.Readlink("/proc/" + strconv.Itoa(pids[0]) + "/cwd"); err != nil || cwd != "/" {
		t.Errorf("the daemon is in %s (%v)", cwd, err)
	}
	if out, err := os.Readlink("/proc/" + strconv.Itoa(pids[0]) + "/fd/2"); err != nil || out != d.log() {
		t.Errorf("the daemon writes to %s (%v)", out, err)
	}

	w.expect(t, 0, "daemon", "status")
	if !strings.Contains(w.out.String(), "running, pid "+strconv.Itoa(pids[0])) {
		t.Errorf("status: %s", w.out.String())
	}
	w.expect(t, 0, "network", "ls", "--format", "{{.Name}} {{.Driver}}")
	if got := w.out.String(); got != "bridge bridge\nhost host\nnone null\n" {
		t.Errorf("networks: %q", got)
	}
	w.expect(t, 0, "version", "-f", "{{.Server.Version}}")
	w.expect(t, 0, "daemon", "stop")
	w.expect(t, exitNotRunning, "daemon", "status")
	w.expect(t, 0, "daemon", "stop")
	if entries, err := filepath.Glob(filepath.Join(d.runtime, "*.sock")); err != nil || len(entries) > 0 {
		t.Errorf("sockets %v are left (%v)", entries, err)
	}
}

// A daemon beside another one says so, and does no harm.
func TestSecondDaemon(t *testing.T) {
	w := newWorld(t)
	w.stopAtEnd(t)
	w.expect(t, 0, "ps", "-q")
	w.expect(t, 1, "daemon")
	if !strings.Contains(w.err.String(), "another daemon is running (pid ") {
		t.Errorf("said %q", w.err.String())
	}
	w.expect(t, 0, "ps", "-q")
}

// What a daemon that cannot start says reaches the user of the command.
func TestDaemonThatCannotStart(t *testing.T) {
	w := newWorld(t)
	w.stopAtEnd(t)
	d, err := w.dirs()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(d.state, "state.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.expect(t, 1, "ps")
	if !strings.Contains(w.err.String(), errStart.Error()) || !strings.Contains(w.err.String(), "state.db") {
		t.Errorf("said %q", w.err.String())
	}
	w.expect(t, 125, "run", "true")
}

// A daemon of its own accord ends when it has had nothing to do.
func TestDaemonEndsWhenIdle(t *testing.T) {
	w := newWorld(t)
	w.stopAtEnd(t)
	w.environ = append(w.environ, idleVariable+"=10ms")
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "daemon")
	cmd.Env = w.environ
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the daemon ended with %v: %s", err, out)
	}
}

func TestStopOfADaemonThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.expect(t, 0, "daemon", "stop")
	d, err := w.dirs()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.prepare(); err != nil {
		t.Fatal(err)
	}
	// A pid that was written by a daemon long gone must not be signalled.
	if err := os.WriteFile(d.lock(), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	w.expect(t, 0, "daemon", "stop")
}

// idleBackend is an engine whose events the test makes.
type idleBackend struct {
	api.Backend
	events chan events.Message
}

func (b *idleBackend) Ping(context.Context) error { return nil }

func (b *idleBackend) Events(ctx context.Context, _ api.EventsOptions) (<-chan events.Message, error) {
	out := make(chan events.Message)
	go func() {
		defer close(out)
		for {
			select {
			case m := <-b.events:
				out <- m
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// The daemon ends one timeout after the last thing that happened: a request, a
// container, the end of a container.
func TestLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		start := time.Now()
		var mu sync.Mutex
		inFlight, lastEnd, idle := 1, start, true
		set := func(f func()) { mu.Lock(); defer mu.Unlock(); f() }
		b := &idleBackend{events: make(chan events.Message)}
		l := &lifetime{
			Backend: b, timeout: time.Minute, now: time.Now,
			idle:     func() bool { mu.Lock(); defer mu.Unlock(); return idle },
			activity: func() (int, time.Time) { mu.Lock(); defer mu.Unlock(); return inFlight, lastEnd },
		}
		ended := make(chan time.Duration)
		go func() {
			l.wait(ctx)
			ended <- time.Since(start)
		}()
		at := func(d time.Duration, f func()) {
			time.Sleep(time.Until(start.Add(d))) // of the test's own clock
			set(f)
		}
		at(100*time.Second, func() { inFlight, lastEnd, idle = 0, time.Now(), false })
		if err := l.Ping(ctx); err != nil {
			t.Errorf("ping while at work: %v", err)
		}
		at(210*time.Second, func() { idle = true })
		b.events <- events.Message{}
		if got, want := <-ended, 270*time.Second; got != want {
			t.Errorf("ended after %v, want %v", got, want)
		}
		if err := l.Ping(ctx); !errdefs.IsUnavailable(err) {
			t.Errorf("ping at the end: %v", err)
		}
	})
}

func TestLifetimeWithoutEnd(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	l := &lifetime{timeout: 0}
	done := make(chan struct{})
	go func() { l.wait(ctx); close(done) }()
	cancel(errors.New("over"))
	<-done
}
