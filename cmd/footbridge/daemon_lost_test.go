package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/engine"
	"github.com/footbridge-net/footbridge/internal/nstest"
)

// Whether a daemon is started in a new runtime folder depends on what that of the state does: this test is the latter.
func TestADaemonElsewhere(t *testing.T) {
	w := newWorld(t)
	here := dirs{runtime: filepath.Join(w.folder, "run", "footbridge"), state: filepath.Join(w.folder, "state", "footbridge")}
	other := dirs{runtime: filepath.Join(w.folder, "other", "footbridge"), state: here.state}
	if err := here.prepare(); err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(here.state, "runtime-dir")
	if err := os.WriteFile(record, []byte(here.runtime+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect := func(what, says string) {
		t.Helper()
		err := heldElsewhere(other)
		if says == "" && err != nil || says != "" && (!errors.Is(err, errStart) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", what, err, says)
		}
		if pid := lostDaemon(other); pid != 0 {
			t.Errorf("%s: process %d would be ended, which does not call itself a daemon", what, pid)
		}
	}
	expect("none", "")
	for _, path := range []string{record, here.lock()} {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Fatal(err)
		}
	}
	expect("one that starts", "")
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusOK} {
		l, err := net.Listen("unix", here.socket())
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Server", "footbridge/0.0.1")
			w.WriteHeader(status)
		})}
		go func() { _ = server.Serve(l) }()
		if status == http.StatusOK {
			expect("one that answers", fmt.Sprintf("(pid %d) with runtime folder %s", os.Getpid(), here.runtime))
		} else {
			expect("one that says that it ends", "")
		}
		server.Close()
	}
	if err := os.RemoveAll(here.runtime); err != nil {
		t.Fatal(err)
	}
	expect("one that nobody reaches", "has lost its socket")
	if h := engine.StateHolder(here.state, socketFile); !h.Lost {
		t.Errorf("%+v, want it lost", h)
	}
}

// Nothing is said to have stopped that was not ended: when a second look finds another daemon that one counts, and none
// when it finds none.
func TestADaemonIsLookedForTwice(t *testing.T) {
	var pids [2]int
	for i := range pids {
		pids[i] = nstest.Start(t, "", "cat").PID
	}
	failure := errors.New("cannot be looked at")
	for _, test := range []struct {
		found []int // by one look after the other, -1: failure
		want  int
		err   error
	}{
		{[]int{0}, 0, nil},
		{[]int{pids[0], pids[0]}, pids[0], nil},
		{[]int{pids[0], 0}, 0, nil},
		{[]int{pids[0], pids[1], pids[1]}, pids[1], nil},
		{[]int{pids[0], -1}, 0, failure},
	} {
		looks := 0
		pid, fd, err := openDaemon(func() (int, error) {
			looks++
			if pid := test.found[looks-1]; pid >= 0 {
				return pid, nil
			}
			return 0, failure
		})
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		if pid != test.want || !errors.Is(err, test.err) || (fd >= 0) != (test.want != 0) || looks != len(test.found) {
			t.Errorf("found %v: pid %d, descriptor %d, %v after %d looks; want pid %d, %v", test.found, pid, fd, err, looks, test.want, test.err)
		}
	}
}
