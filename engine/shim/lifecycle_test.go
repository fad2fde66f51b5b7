package shim

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestLifecycle(t *testing.T) {
	spec := newSpec(t, sh(`read x; echo "out $x"; echo err >&2; exit 7`)...)
	spec.OpenStdin, spec.StdinOnce = true, true
	s := create(t, spec)
	ctx := testContext(t)

	if st, err := s.State(ctx); err != nil || st.Status != Created || st.PID != s.PID() || st.ID != spec.ID {
		t.Fatalf("state before the start: %+v, %v", st, err)
	}
	if err := s.Signal(ctx, syscall.SIGTERM); !errors.Is(err, ErrNotRunning) {
		t.Errorf("signal before the start: %v", err)
	}
	stream, err := s.Attach(ctx, AttachOptions{Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(ctx); !errors.Is(err, ErrStarted) {
		t.Errorf("second start: %v", err)
	}
	if st, err := s.State(ctx); err != nil || st.Status != Running || st.StartedAt.IsZero() {
		t.Errorf("state after the start: %+v, %v", st, err)
	}
	select {
	case <-s.Done():
		t.Fatal("done before its input came")
	default:
	}
	if _, err := ReadExit(spec.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("exit.json before the end: %v", err)
	}
	if _, err := stream.Stdin.Write([]byte("in\n")); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	if err := stream.CopyOutput(&out, &errs); err != nil {
		t.Fatal(err)
	}
	if out.String() != "out in\n" || errs.String() != "err\n" {
		t.Errorf("output %q, errors %q", &out, &errs)
	}
	exit, err := s.Wait(ctx)
	if err != nil || exit.Code != 7 || exit.Error != "" || exit.FinishedAt.IsZero() {
		t.Errorf("Wait: %+v, %v", exit, err)
	}
	if onDisk, err := ReadExit(spec.Dir); err != nil || onDisk != exit {
		t.Errorf("exit.json: %+v, %v; Wait said %+v", onDisk, err, exit)
	}
	if st, err := s.State(ctx); err != nil || st.Status != Exited || st.Exit == nil || st.Exit.Code != 7 {
		t.Errorf("state after the end: %+v, %v", st, err)
	}
	if err := s.Signal(ctx, syscall.SIGTERM); !errors.Is(err, ErrNotRunning) {
		t.Errorf("signal after the end: %v", err)
	}
	if _, err := s.Exec(ctx, ExecSpec{Args: []string{"true"}}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("exec after the end: %v", err)
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		script string
		code   int
	}{
		{"exit 0", 0}, {"exit 1", 1}, {"exit 255", 255}, {"nosuchcommand 2>/dev/null", 127},
		{"kill -9 $$", 137}, {"kill -TERM $$", 143}, {"kill -SEGV $$", 139},
		{"trap 'exit 130' INT; kill -INT 1; while :; do :; done", 130}, // pid 1 passes on what it is sent
		{"kill -9 1; exit 8", 8}, // the kernel protects a pid 1 from its own
	} {
		t.Run(c.script, func(t *testing.T) {
			t.Parallel()
			exit, _, stderr := start(t, newSpec(t, sh(c.script)...)).finish()
			if exit.Code != c.code {
				t.Errorf("exit %+v, errors %q, want code %d", exit, stderr, c.code)
			}
		})
	}
}

func TestStartErrors(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o755)
	garbage := filepath.Join(t.TempDir(), "garbage")
	os.WriteFile(garbage, []byte{1, 2, 3}, 0o755)
	for _, c := range []struct {
		name     string
		change   func(*Spec)
		code     int
		sentinel error
		message  string
	}{
		{"not in PATH", func(s *Spec) { s.Args = []string{"nosuch"} }, 127, ErrNotFound, `exec: "nosuch": executable file not found in $PATH`},
		{"empty PATH", func(s *Spec) { s.Env = []string{"PATH=/nowhere"} }, 127, ErrNotFound, `exec: "true": executable file not found in $PATH`},
		{"no such path", func(s *Spec) { s.Args = []string{"/no/such"} }, 127, ErrNotFound, `exec: "/no/such": stat /no/such: no such file or directory`},
		{"not executable", func(s *Spec) { s.Args = []string{"/etc/passwd"} }, 126, ErrPermission, `exec: "/etc/passwd": permission denied`},
		{"a folder", func(s *Spec) { s.Args = []string{"/etc"} }, 126, ErrPermission, `exec: "/etc": is a directory`},
		{"no interpreter", func(s *Spec) { s.Args = []string{script} }, 127, ErrNotFound, `no such file or directory`},
		{"not a program", func(s *Spec) { s.Args = []string{garbage} }, 126, ErrPermission, `exec format error`},
		{"no such folder to work in", func(s *Spec) { s.Cwd = "/no/such" }, 127, ErrNotFound, `chdir to cwd ("/no/such")`},
		{"a file to work in", func(s *Spec) { s.Cwd = "/etc/passwd" }, 126, ErrPermission, `chdir to cwd ("/etc/passwd")`},
		{"no such user", func(s *Spec) { s.User = "nosuchuser" }, 128, ErrInvalid, `settings: unable to find user nosuchuser: no matching entries`},
		{"unmapped user", func(s *Spec) { s.User = "4711" }, 128, ErrInvalid, `uid 4711 is not mapped`},
		{"bad sysctl", func(s *Spec) { s.Sysctls = map[string]string{"net.no.such": "1"} }, 128, nil, `set sysctl net.no.such`},
		{"foreign sysctl", func(s *Spec) { s.Sysctls = map[string]string{"kernel.panic": "1"} }, 128, nil, `permission denied`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			spec := newSpec(t, "true")
			c.change(&spec)
			s := create(t, spec)
			err := s.Start(testContext(t))
			if err == nil || c.sentinel != nil && !errors.Is(err, c.sentinel) || !strings.Contains(err.Error(), c.message) {
				t.Errorf("Start: %v, want %v with %q", err, c.sentinel, c.message)
			}
			exit, err := s.Wait(testContext(t))
			if err != nil || exit.Code != c.code || !strings.Contains(exit.Error, c.message) {
				t.Errorf("Wait: %+v, %v, want code %d", exit, err, c.code)
			}
		})
	}
}

func TestCreateErrors(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*Spec)
		sentinel error
		message  string
	}{
		{"no command", func(s *Spec) { s.Args = nil }, ErrInvalid, "no command"},
		{"long path", func(s *Spec) { s.Dir = "/tmp/" + strings.Repeat("x", 110) }, ErrInvalid, "XDG_RUNTIME_DIR"},
		{"relative folder", func(s *Spec) { s.Cwd = "tmp" }, ErrInvalid, "absolute"},
		{"capability", func(s *Spec) { s.CapAdd = []string{"FLY"} }, ErrInvalid, `CapAdd: unknown capability: "FLY"`},
		{"missing hosts", func(s *Spec) { s.Hosts = "/no/such/hosts" }, ErrInvalid, "/etc/hosts"},
		{"missing mask", func(s *Spec) { s.Mask = []string{"/no/such/folder"} }, nil, "hide /no/such/folder"},
		{"mask of everything", func(s *Spec) { s.Mask = []string{"/"} }, ErrInvalid, `cannot hide "/"`},
		{"environment", func(s *Spec) { s.Env = []string{"novalue"} }, ErrInvalid, "NAME=VALUE"},
		{"sysctl", func(s *Spec) { s.Sysctls = map[string]string{"../x": "1"} }, ErrInvalid, "sysctl"},
		{"two networks", func(s *Spec) { s.HostNetwork, s.JoinNetOf = true, "/x" }, ErrInvalid, "more than one"},
		{"user namespace", func(s *Spec) { s.UserNS = "host" }, ErrInvalid, "auto"},
		{"log", func(s *Spec) { s.LogPath = "/no/such/log" }, os.ErrNotExist, "open log"},
		{"join nobody", func(s *Spec) { s.JoinNetOf = "/no/such/dir" }, ErrGone, "join the network"},
		{"not a namespace", func(s *Spec) { s.NetNSPath = "/etc/passwd" }, ErrInvalid, "not a network namespace"},
		{"another namespace", func(s *Spec) { s.NetNSPath = "/proc/self/ns/pid" }, ErrInvalid, "not a network namespace"},
		{"no namespace", func(s *Spec) { s.NetNSPath = "/no/such" }, nil, "open network namespace"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			spec := newSpec(t, "true")
			c.change(&spec)
			s, err := Create(testContext(t), spec)
			if err == nil {
				s.Kill()
				t.Fatal("made")
			}
			// An error that comes from the shim has lost its errno, not its words.
			if c.sentinel != nil && c.sentinel != os.ErrNotExist && !errors.Is(err, c.sentinel) || !strings.Contains(err.Error(), c.message) {
				t.Errorf("%v, want %v with %q", err, c.sentinel, c.message)
			}
			if _, err := os.Stat(spec.Dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("directory is left behind: %v", err)
			}
		})
	}
}

func TestSecondContainerInADirectoryIsRefused(t *testing.T) {
	spec := newSpec(t, "true")
	create(t, spec)
	if _, err := Create(testContext(t), spec); !errors.Is(err, ErrStarted) {
		t.Errorf("second Create: %v", err)
	}
	if _, err := os.Stat(filepath.Join(spec.Dir, socketName)); err != nil {
		t.Errorf("the first one lost its socket: %v", err)
	}
}

func TestKillBeforeStart(t *testing.T) {
	s := create(t, newSpec(t, "true"))
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if exit, err := s.Wait(testContext(t)); err != nil || exit.Code != 137 {
		t.Errorf("%+v, %v", exit, err)
	}
	if err := s.Start(testContext(t)); !errors.Is(err, ErrNotRunning) {
		t.Errorf("Start: %v", err)
	}
}

// Who stops a container and who notes its end may be two: one closes the handle that the
// other still has.
func TestKillAfterTheEndWasNoted(t *testing.T) {
	s := create(t, newSpec(t, "true"))
	ctx := testContext(t)
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	_, err := s.Wait(ctx)
	if err = errors.Join(err, s.Ack(ctx), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Errorf("a container that has ended: %v", err)
	}
}

func TestCloseLeavesTheContainer(t *testing.T) {
	spec := newSpec(t, "sleep", "1000")
	first := create(t, spec)
	if err := first.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	second, err := Connect(testContext(t), spec.Dir)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	if _, err := second.Wait(testContext(t)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait after Close: %v", err)
	}
	if st, err := first.State(testContext(t)); err != nil || st.Status != Running {
		t.Errorf("state: %+v, %v", st, err)
	}
}

func TestConnectToNobody(t *testing.T) {
	dir := t.TempDir()
	if _, err := Connect(testContext(t), dir); !errors.Is(err, ErrGone) {
		t.Errorf("no socket: %v", err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, socketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	if _, err := Connect(testContext(t), dir); !errors.Is(err, ErrGone) {
		t.Errorf("stale socket: %v", err)
	}
}

func TestSignals(t *testing.T) {
	c := start(t, newSpec(t, sh(`trap 'echo usr1' USR1; trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 1000 & wait $!; done`)...))
	c.until("ready")
	if err := c.s.Signal(testContext(t), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	c.until("usr1")
	// What the host sends to pid 1 itself reaches the command too.
	if err := syscall.Kill(c.s.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.until("term")
	if exit, _, _ := c.finish(); exit.Code != 3 {
		t.Errorf("%+v", exit)
	}
	if err := c.s.Signal(testContext(t), 65); !errors.Is(err, ErrInvalid) {
		t.Errorf("signal 65: %v", err)
	}
}

func TestSignalsOfTheDaemonAreNotTheCommands(t *testing.T) {
	// As under nohup: ignored signals are inherited by every process that does nothing about it. 32 and 33
	// are what the C library's posix_spawn leaves ignored, as that of GNU make does.
	signal.Ignore(syscall.SIGHUP, syscall.SIGUSR1)
	defer signal.Reset(syscall.SIGHUP, syscall.SIGUSR1)
	for _, s := range []uintptr{32, 33} {
		ignore, old := kernelSigaction{handler: 1}, kernelSigaction{}
		if errno := sigaction(s, &ignore, &old); errno != 0 {
			t.Fatalf("ignore signal %d: %v", s, errno)
		}
		defer sigaction(s, &old, nil)
	}
	got := outputOf(t, newSpec(t, "grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"))
	var blocked, ignored uint64
	if _, err := fmt.Sscanf(got, "SigBlk:\t%x\nSigIgn:\t%x\n", &blocked, &ignored); err != nil {
		t.Fatalf("%q: %v", got, err)
	}
	if blocked != 0 || ignored != 0 {
		t.Errorf("blocked %x, ignored %x", blocked, ignored)
	}
}

func TestNoGoroutineIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("a container's life", func(t *testing.T) {
		spec := newSpec(t, "sleep", "1000")
		spec.OpenStdin = true
		c := start(t, spec)
		if !c.s.Alive() {
			t.Error("a running container is not alive")
		}
		execOutput(t, c.s, ExecSpec{Args: []string{"true"}, Stdin: true}, "x")
		second, err := Connect(testContext(t), spec.Dir)
		if err != nil {
			t.Fatal(err)
		}
		second.Close()
		if err := c.s.Kill(); err != nil {
			t.Fatal(err)
		}
		c.finish()
		if c.s.Alive() {
			t.Error("an ended container is alive")
		}
	})
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}
