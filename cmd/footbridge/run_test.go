package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/footbridge-net/footbridge/api"
)

func errNoSuch(name string) error {
	return api.Errorf(errdefs.ErrNotFound, "No such container: %s", name)
}

// A foreground run ends with the command's code, with what it wrote on the
// right streams.
func TestRunForeground(t *testing.T) {
	w := newWorld(t)
	b := &fakeBackend{command: func(_ io.Reader, stdout, stderr io.Writer) int {
		fmt.Fprintln(stdout, "to stdout")
		fmt.Fprintln(stderr, "to stderr")
		return 42
	}}
	w.serve(t, b)
	w.expect(t, 42, "run", "--name", "web", "sh", "-c", "exit 42")
	if w.out.String() != "to stdout\n" || w.err.String() != "to stderr\n" {
		t.Errorf("stdout %q, stderr %q", w.out.String(), w.err.String())
	}
	if b.name != "web" || !slices.Equal(b.created.Cmd, []string{"sh", "-c", "exit 42"}) {
		t.Errorf("asked for %q running %q", b.name, b.created.Cmd)
	}
	cwd, _ := os.Getwd()
	if b.created.WorkingDir != cwd {
		t.Errorf("working directory %q, want the caller's %q", b.created.WorkingDir, cwd)
	}
	if len(b.removed) > 0 {
		t.Errorf("removed %q, which is the daemon's to do", b.removed)
	}
}

// fullDisk is a file that takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: "out", Err: syscall.ENOSPC}
}

// Output that is lost makes a run fail, unless the command itself did.
func TestRunWhoseOutputIsLost(t *testing.T) {
	for _, test := range []struct{ command, want int }{{0, 125}, {3, 3}} {
		w := newWorld(t)
		w.stdout = fullDisk{}
		w.serve(t, &fakeBackend{command: func(_ io.Reader, stdout, _ io.Writer) int {
			fmt.Fprintln(stdout, "lost")
			return test.command
		}})
		w.expect(t, test.want, "run", "echo", "lost")
		if strings.Contains(w.err.String(), "--help") {
			t.Errorf("takes it for an error of the command line: %q", w.err.String())
		}
		if got := w.err.String(); test.command == 0 && !strings.Contains(got, "output is not complete: write out: no space left on device") {
			t.Errorf("said %q", got)
		}
	}
}

func TestRunPassesInput(t *testing.T) {
	w := newWorld(t)
	w.feed(t, "hello")
	w.serve(t, &fakeBackend{command: func(stdin io.Reader, stdout, _ io.Writer) int {
		text, err := io.ReadAll(stdin) // ends only when the end of input arrives
		fmt.Fprintf(stdout, "%s %v", text, err)
		return 0
	}})
	w.expect(t, 0, "run", "-i", "cat")
	if got := w.out.String(); got != "hello <nil>" {
		t.Errorf("the command saw %q", got)
	}
}

func TestRunDetachedPrintsTheID(t *testing.T) {
	w := newWorld(t)
	w.serve(t, &fakeBackend{})
	w.expect(t, 0, "run", "-d", "sleep", "1000")
	if got := w.out.String(); got != fakeID+"\n" {
		t.Errorf("printed %q", got)
	}
}

// A container that does not start is removed, and the exit code says why.
func TestRunThatDoesNotStart(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		code int
		hint string
	}{
		{"not found", api.Errorf(api.ErrCommandNotFound, `exec: "frobnicate": executable file not found in $PATH`), 127,
			"footbridge has no images: the first word after the options, \"frobnicate\", is the command\n"},
		{"not executable", api.Errorf(api.ErrCommandNotExecutable, `exec: "/etc/passwd": permission denied`), 126, ""},
		{"port taken", api.Errorf(errdefs.ErrConflict, "port 80 is taken by container web"), 125, ""},
	} {
		for _, how := range [][]string{{"run"}, {"run", "-d"}, {"run", "--rm"}} {
			t.Run(test.name+" "+strings.Join(how, " "), func(t *testing.T) {
				w := newWorld(t)
				b := &fakeBackend{startErr: test.err}
				w.serve(t, b)
				cid := filepath.Join(w.folder, "cid")
				w.expect(t, test.code, append(how, "--cidfile", cid, "frobnicate")...)
				want := fmt.Sprintf("footbridge: %v\n%s\nRun 'footbridge run --help' for more information\n", test.err, test.hint)
				if got := w.err.String(); got != want {
					t.Errorf("said %q, want %q", got, want)
				}
				if !slices.Equal(b.removed, []string{fakeID}) {
					t.Errorf("removed %q, want the container that did not start", b.removed)
				}
				if _, err := os.Stat(cid); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the file with its id is still there: %v", err)
				}
			})
		}
	}
}

func TestRunErrorsBeforeTheDaemon(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"run"}, 1, "footbridge: 'footbridge run' requires at least 1 argument"},
		{[]string{"run", "--nope", "x"}, 125, "unknown flag: --nope"},
		{[]string{"run", "-p", "frobnicate", "x"}, 125, "invalid containerPort: frobnicate"},
		{[]string{"run", "-p", "80000:80", "x"}, 125, "invalid hostPort: 80000"},
		{[]string{"run", "--network", "a,foo=b", "x"}, 125, `invalid argument "a,foo=b" for "--network" flag: invalid field foo`},
		{[]string{"run", "--network", "a", "--network", "a", "x"}, 125, `network "a" is specified multiple times`},
		{[]string{"run", "--network", "host", "--network", "a", "x"}, 125, "cannot attach both user-defined and non-user-defined"},
		{[]string{"run", "--network", "none", "--ip", "10.0.0.1", "x"}, 125, "has no endpoint of its own"},
		{[]string{"run", "--ip", "::1", "x"}, 125, "invalid IPv4 address: ::1"},
		{[]string{"run", "--mac-address", "x", "x"}, 125, "x is not a valid mac address"},
		{[]string{"run", "-e", "=x", "x"}, 125, "invalid environment variable: =x"},
		{[]string{"run", "--env-file", "/nonexistent", "x"}, 125, "open /nonexistent: no such file or directory"},
		{[]string{"run", "--dns", "frobnicate", "x"}, 125, "IP address is not correctly formatted: frobnicate"},
		{[]string{"run", "--add-host", "frobnicate", "x"}, 125, `bad format for add-host: "frobnicate"`},
		{[]string{"run", "--sysctl", "kernel.panic=1", "x"}, 125, "is not allowed"},
		{[]string{"run", "--stop-signal", "NOPE", "x"}, 125, "invalid signal: NOPE"},
		{[]string{"run", "--detach-keys", "ctrl-1", "x"}, 125, "invalid detach keys"},
		{[]string{"run", "-w", "relative", "x"}, 125, "needs to be an absolute path"},
		{[]string{"run", "--userns", "keep-id", "x"}, 125, "--userns: invalid USER mode"},
		{[]string{"run", "-it", "x"}, 1, "the input device is not a TTY"},
		{[]string{"exec", "-it", "c", "x"}, 1, "the input device is not a TTY"},
		{[]string{"exec", "c"}, 1, "requires at least 2 arguments"},
		{[]string{"frobnicate"}, 1, "footbridge: unknown command: footbridge frobnicate\n\nRun 'footbridge --help' for more information"},
		{[]string{"network", "frobnicate"}, 1, "footbridge: unknown command: footbridge network frobnicate"},
		{[]string{"ps", "x"}, 1, "'footbridge ps' accepts no arguments"},
		{[]string{"ps", "--nope"}, 125, "Usage:  footbridge ps [OPTIONS]\n\nRun 'footbridge ps --help' for more information"},
		{[]string{"network", "create"}, 1, "'footbridge network create' requires 1 argument"},
		{[]string{"network", "create", "--gateway", "10.0.0.1", "n"}, 1, "must have a corresponding subnet"},
		{[]string{"network", "create", "--subnet", "10.0.0.0/8", "--subnet", "10.1.0.0/16", "n"}, 1, "overlap"},
		{[]string{"network", "create", "--subnet", "10.0.0.0/24", "--gateway", "10.0.1.1", "n"}, 1, "no matching subnet for gateway 10.0.1.1"},
		{[]string{"logs", "--tail", "x", "c"}, 1, "number of lines"},
		{[]string{"logs", "--since", "x", "c"}, 1, "invalid value for \"since\""},
		{[]string{"port", "c", "80/sctpx"}, 1, "invalid proto"},
		{[]string{"inspect", "--type", "image", "c"}, 1, "container or network"},
		{[]string{"inspect", "-f", "{{.x", "c"}, 64, "template parsing error"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			w := newWorld(t)
			w.expect(t, test.code, test.args...)
			if !strings.Contains(w.err.String(), test.want) {
				t.Errorf("said %q, want %q in it", w.err.String(), test.want)
			}
			if entries, _ := os.ReadDir(w.folder); len(entries) > 0 {
				t.Errorf("left %v behind", entries)
			}
		})
	}
}

// Signals reach the container's command, and its exit code is the program's.
func TestRunForwardsSignals(t *testing.T) {
	w := newWorld(t)
	ended := make(chan struct{})
	b := &fakeBackend{onKill: func(string) { close(ended) }}
	b.command = func(_ io.Reader, stdout, _ io.Writer) int {
		// Sent until it is caught: the start is answered before signals are
		// forwarded, and in between they cancel. So send when output flows both ways.
		fmt.Fprintln(stdout, "running")
		<-ended
		return 130
	}
	w.serve(t, b)
	w.stdout = writerFunc(func(p []byte) (int, error) {
		_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		return len(p), nil
	})
	w.expect(t, 130, "run", "sleep", "1000")
	if !slices.Equal(b.killed, []string{"SIGUSR1"}) {
		t.Errorf("sent %q", b.killed)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// A signal before the start leaves nothing behind.
func TestRunInterruptedBeforeTheStart(t *testing.T) {
	w := newWorld(t)
	b := &fakeBackend{}
	blocked := &blockingStart{fakeBackend: b}
	w.serveBackend(t, blocked)
	w.expect(t, 128+int(syscall.SIGTERM), "run", "sleep", "1000")
	if !slices.Equal(b.removed, []string{fakeID}) {
		t.Errorf("removed %q, want the container that was not started", b.removed)
	}
	if !strings.Contains(w.err.String(), "interrupted by SIGTERM") {
		t.Errorf("said %q", w.err.String())
	}
}
