package engine

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

// lock makes a file and has a lock on it, as a daemon on its folders' files, until the test is over.
func lock(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatalf("lock %s: %v", path, err)
	}
}

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// answer is what a daemon does to who asks whether it is there.
func answer(t *testing.T, path string) {
	t.Helper()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", "footbridge/0.0.1")
	})}
	l := listen(t, path)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
}

// Nobody can reach a daemon whose runtime folder was removed. It is another thing to have no socket yet, or a folder
// somewhere else. This test is the daemon.
func TestWhoHoldsAState(t *testing.T) {
	dir := t.TempDir()
	state, run, away := filepath.Join(dir, "state"), filepath.Join(dir, "run"), filepath.Join(dir, "away")
	socket, lockPath, record := filepath.Join(run, "sock"), filepath.Join(run, LockFile), filepath.Join(state, runtimeName)
	for _, folder := range []string{state, run} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	recorded := func(runtime string) error { return os.WriteFile(record, []byte(runtime+"\n"), 0o600) }
	touch := func(path string) error { return os.WriteFile(path, nil, 0o600) }

	want := Holder{RuntimeDir: run}
	for _, step := range []struct {
		what string
		do   func() error
		now  func()
	}{
		{"nobody", func() error { return recorded(run) }, func() {}},
		{"one that nothing is known of but its lock on the state", func() error { lock(t, record); return nil }, func() { want.PID = os.Getpid() }},
		{"one that starts", func() error { lock(t, lockPath); return nil }, func() {}},
		{"one that starts after one elsewhere", func() error { return recorded(away) }, func() {}},
		{"its folder was moved", func() error { return errors.Join(recorded(run), os.Rename(run, away)) }, func() { want.RuntimeDir = away }},
		{"and removed", func() error { return os.RemoveAll(away) }, func() { want.RuntimeDir, want.Lost = run, true }},
		{"somebody has made it again", func() error { return errors.Join(os.Mkdir(run, 0o700), touch(lockPath)) }, func() {}},
		{"a service manager has its socket", func() error { return touch(socket) }, func() { want.Lost = false }},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		step.now()
		if got := StateHolder(state, "sock"); got.PID != want.PID || got.RuntimeDir != want.RuntimeDir || got.Lost != want.Lost {
			t.Errorf("%s: %+v, want %+v", step.what, got, want)
		}
	}
}

// A daemon whose runtime folder is in a mount namespace of its own is not lost, as others of that namespace reach it.
func TestAHolderInAnotherMountNamespace(t *testing.T) {
	dir := t.TempDir()
	record := filepath.Join(dir, runtimeName)
	if err := errors.Join(os.WriteFile(record, []byte(dir+"/run/footbridge\n"), 0o600), os.Mkdir(dir+"/run", 0o700)); err != nil {
		t.Fatal(err)
	}
	daemon := nstest.Start(t, dir, "unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", `
		mount -t tmpfs none run
		mkdir run/footbridge
		exec 8<>`+runtimeName+` 9>run/footbridge/`+LockFile+`
		flock -n 8
		flock -n 9
		echo there
		read x
		rm -r run/footbridge
		echo gone
		read x`)
	for _, lost := range []bool{false, true} {
		daemon.Says(map[bool]string{false: "there", true: "gone"}[lost])
		if h := StateHolder(dir, "sock"); h.PID != daemon.PID || h.Lost != lost {
			t.Errorf("%+v, want pid %d and lost %v", h, daemon.PID, lost)
		}
		daemon.GoOn()
	}
}
