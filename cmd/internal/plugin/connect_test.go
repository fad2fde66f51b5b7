package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/footbridge-net/footbridge/api"
)

func TestTheSocketIsWhereTheCommandLineLooks(t *testing.T) {
	for dir, want := range map[string]string{
		"/run/user/7": "/run/user/7/footbridge/footbridge.sock",
		"relative":    fmt.Sprintf("/tmp/footbridge-%d/footbridge.sock", outerUID()),
		"":            fmt.Sprintf("/tmp/footbridge-%d/footbridge.sock", outerUID()),
	} {
		if got := Socket(func(string) string { return dir }); got != want {
			t.Errorf("XDG_RUNTIME_DIR=%s: %s, want %s", dir, got, want)
		}
	}
}

func TestMapsOfUserNamespaces(t *testing.T) {
	const machine, podman = "         0          0 4294967295\n", "0 1000 1\n1 100000 65536\n"
	for _, c := range []struct {
		text     string
		uid, out int
		all      bool
	}{
		{machine, 1000, 1000, true},
		{podman, 0, 1000, false},
		{podman, 7, 100006, false},
		{podman, 70000, 70000, false},
		{"", 5, 5, false},
		{"nonsense\n0 1000", 5, 5, false},
	} {
		if got := mappedTo(c.text, c.uid); got != c.out {
			t.Errorf("%q: %d is %d outside, want %d", c.text, c.uid, got, c.out)
		}
		if got := coversAll(c.text); got != c.all {
			t.Errorf("%q is the machine's: %v", c.text, got)
		}
	}
}

// What the command line says when it cannot start a daemon is told.
func TestADaemonThatCannotBeStarted(t *testing.T) {
	dir := t.TempDir()
	o := Options{Getenv: func(string) string { return filepath.Join(dir, "run") }, self: filepath.Join(dir, "lib/cni/plugin")}
	if _, err := Connect(t.Context(), Options{Getenv: o.Getenv, Existing: true}); !errors.Is(err, api.ErrNoDaemon) {
		t.Errorf("Connect to what is there: %v", err)
	}
	if InRuntime() { // where it would not be tried
		return
	}
	t.Setenv("PATH", dir)
	if _, err := Connect(t.Context(), o); !errors.Is(err, api.ErrNoDaemon) || !strings.Contains(err.Error(), "nor in PATH") {
		t.Errorf("without a command line: %v", err)
	}
	t.Setenv("CNI_COMMAND", "ADD")
	script := "#!/bin/sh\necho \"no folder, $CNI_COMMAND$*\" >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "footbridge"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Connect(t.Context(), o); !errors.Is(err, api.ErrNoDaemon) || !strings.Contains(err.Error(), "no folder, network exists bridge") {
		t.Errorf("with one that fails: %v", err)
	}
}

func TestWhatIsNoNamespaceIsNotPassed(t *testing.T) {
	client := api.New(filepath.Join(t.TempDir(), "s"))
	for _, path := range []string{"/etc/passwd", "/nowhere", "/proc/self/ns/uts"} {
		if _, err := Attach(context.Background(), client, path, api.NamespaceRequest{}); !errors.Is(err, ErrNoNamespace) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want ErrNoNamespace", path, err)
		}
	}
	if _, err := Attach(context.Background(), client, "/proc/self/ns/net", api.NamespaceRequest{}); !errors.Is(err, api.ErrNoDaemon) {
		t.Errorf("without a daemon: %v", err)
	}
}

func TestStartingOutsideTakesAServiceManager(t *testing.T) {
	for _, dir := range []string{"", "relative", t.TempDir()} {
		if err := startOutside(t.Context(), Options{Getenv: func(string) string { return dir }, self: t.TempDir() + "/plugin"}); err == nil {
			t.Errorf("XDG_RUNTIME_DIR=%s: started", dir)
		}
	}
}
