package shim

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// With too few files allowed, for the engine or for the shim, a container is made or refused with the reason, and
// nothing is left. One that runs is neither lost nor taken for ended, and with files again all is as before.
func TestFewFiles(t *testing.T) {
	const variable = "SHIM_TEST_FEW_FILES"
	if os.Getenv(variable) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestFewFiles$", "-test.v="+map[bool]string{true: "true", false: "false"}[testing.Verbose()])
		cmd.Env = append(os.Environ(), variable+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		} else if testing.Verbose() {
			t.Logf("%s", out)
		}
		return
	}
	ctx := testContext(t)
	outputOf(t, newSpec(t, "true")) // what is opened once is open from here on
	var usual unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &usual); err != nil {
		t.Fatal(err)
	}
	allow := func(files int) {
		t.Helper()
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(files), Max: usual.Max}); err != nil {
			t.Fatal(err)
		}
	}
	fillHoles(t)
	before := openFiles(t)
	refused := 0
	for files := before; ; files++ {
		if files > before+100 {
			t.Fatal("a container needs more than 100 files")
		}
		spec := newSpec(t, "sleep", "1000")
		allow(files)
		s, err := Create(ctx, spec)
		allow(int(usual.Cur))
		if err == nil {
			end(t, ctx, s)
			break
		}
		refused++
		if !strings.Contains(err.Error(), "too many open files") {
			t.Errorf("with %d files: %v", files, err)
		}
		if left, _ := filepath.Glob(filepath.Join(spec.Dir, "*")); len(left) > 0 {
			t.Errorf("with %d files: left %v", files, left)
		}
		if now := openFiles(t); now != before {
			t.Fatalf("with %d files: %d files are open, %d before", files, now, before)
		}
	}
	if refused < 5 {
		t.Errorf("refused %d times only", refused)
	}

	s, err := Create(ctx, newSpec(t, sh("sleep 1000")...))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	fillHoles(t)
	allow(openFiles(t))
	for name, ask := range map[string]func() error{
		"state":   func() error { _, err := s.State(ctx); return err },
		"signal":  func() error { return s.Signal(ctx, unix.SIGURG) },
		"connect": func() error { _, err := Connect(ctx, s.Dir()); return err },
		"exec":    func() error { _, err := s.Exec(ctx, ExecSpec{Args: []string{"true"}}); return err },
		"attach":  func() error { _, err := s.Attach(ctx, AttachOptions{Stdout: true}); return err },
	} {
		if err := ask(); !errors.Is(err, unix.EMFILE) || errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, want %v", name, err, unix.EMFILE)
		}
	}
	allow(int(usual.Cur))
	if st, err := s.State(ctx); err != nil || st.Status != Running {
		t.Errorf("%+v, %v", st, err)
	}
	end(t, ctx, s)
}

func end(t *testing.T, ctx context.Context, s *Shim) {
	t.Helper()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Ack(ctx), s.Close()); err != nil {
		t.Fatal(err)
	}
}

// fillHoles leaves no descriptor free below the highest one.
func fillHoles(t *testing.T) {
	t.Helper()
	for highest := openFiles(t) - 1; ; {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if fd > highest {
			unix.Close(fd)
			return
		}
	}
}

// openFiles is one more than the highest descriptor that is open, which is what the limit bounds.
func openFiles(t *testing.T) int {
	t.Helper()
	var highest int
	for fd := range 4096 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			highest = fd
		}
	}
	return highest + 1
}

func TestAShimWithoutFilesSaysWhatToDo(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE} {
		if err := shimError(&os.PathError{Op: "fork/exec", Path: "/x", Err: errno}); !errors.Is(err, errno) || !strings.Contains(err.Error(), "`ulimit -n`") {
			t.Errorf("%v", err)
		}
	}
	if err := shimError(syscall.EACCES); !errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), "ulimit") {
		t.Errorf("%v", err)
	}
}
