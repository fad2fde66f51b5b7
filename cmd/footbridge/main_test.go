package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/engine/shim"
	"github.com/footbridge-net/footbridge/engine/worker"
	"github.com/footbridge-net/footbridge/tap"
)

// asCommand makes the test binary the program itself, so that tests can start
// it as a daemon.
const asCommand = "FOOTBRIDGE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	tap.Dispatch()
	shim.Dispatch()
	worker.Dispatch()
	dispatchUsher()
	if os.Getenv(brokenVariable) != "" {
		breakStart()
	}
	if os.Getenv(asCommand) != "" {
		os.Exit(newCLI().main(context.Background(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// world is one user: folders of their own, and what a command has printed.
type world struct {
	*cli
	out, err bytes.Buffer
	folder   string
}

// newWorld makes a user for whom nothing exists yet. The folder's path is
// short, because sockets' paths must be.
func newWorld(t *testing.T) *world {
	t.Helper()
	folder, err := os.MkdirTemp("", "fb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	w := &world{folder: folder}
	w.cli = &cli{
		stdin: null, stdout: &w.out, stderr: &w.err,
		environ: []string{
			"PATH=" + os.Getenv("PATH"),
			"HOME=" + folder,
			"XDG_RUNTIME_DIR=" + filepath.Join(folder, "run"),
			"XDG_STATE_HOME=" + filepath.Join(folder, "state"),
			asCommand + "=1",
		},
		now: time.Now,
	}
	return w
}

// run runs a command line and returns its exit code; what it printed is in out and err.
func (w *world) run(t *testing.T, args ...string) int {
	t.Helper()
	w.out.Reset()
	w.err.Reset()
	return w.cli.main(t.Context(), args)
}

// expect runs a command line and checks its exit code.
func (w *world) expect(t *testing.T, code int, args ...string) {
	t.Helper()
	if got := w.run(t, args...); got != code {
		t.Fatalf("footbridge %q ended with %d, want %d\nstdout: %s\nstderr: %s", args, got, code, w.out.String(), w.err.String())
	}
}
