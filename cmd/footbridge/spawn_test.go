package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A service that runs commands is not told that the daemon is its main process.
func TestTheDaemonIsNotItsCallersService(t *testing.T) {
	w := newWorld(t)
	w.stopAtEnd(t)
	path := filepath.Join(w.folder, "notify")
	manager, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(manager)
	if err := unix.Bind(manager, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	w.environ = append(w.environ, "NOTIFY_SOCKET="+path, "LISTEN_PID=1", "LISTEN_FDS=-1", "FOOTBRIDGE_FDS=x", historyVariable+"={}")
	w.expect(t, 0, "network", "ls")
	w.expect(t, 0, "daemon", "stop")
	b := make([]byte, 1000)
	if n, _, err := unix.Recvfrom(manager, b, unix.MSG_DONTWAIT); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("it was told %q (%v)", b[:max(n, 0)], err)
	}
}

func TestABigLogIsSetAside(t *testing.T) {
	w := newWorld(t)
	w.stopAtEnd(t)
	d, err := w.dirs()
	if err == nil {
		err = d.prepare()
	}
	if err == nil {
		err = os.WriteFile(d.log(), make([]byte, maxLog+1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.expect(t, 0, "network", "ls")
	if st, err := os.Stat(d.log()); err != nil || st.Size() > maxLog/2 {
		t.Errorf("the log: %v, %v", st, err)
	}
	if st, err := os.Stat(d.log() + ".1"); err != nil || st.Size() != maxLog+1 {
		t.Errorf("the one before: %v, %v", st, err)
	}
}
