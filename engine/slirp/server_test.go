package slirp

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// must fails the test at the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// A socket at the path of the API makes way, whoever left it there.
func TestAnotherSocketMakesWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	other, err := net.Listen("unix", path)
	must(t, err)
	defer other.Close()
	for range 2 { // the second finds what the first has left
		l, err := listenAPI(path)
		must(t, err)
		c, err := net.Dial("unix", path)
		must(t, err)
		l.SetUnlinkOnClose(false) // as by SIGKILL
		must(t, c.Close(), l.Close())
	}
}

// What is no socket stays, and is named.
func TestWhatIsNoSocketIsNotRemoved(t *testing.T) {
	dir := t.TempDir()
	target, err := net.Listen("unix", dir+"/target")
	must(t, err)
	defer target.Close()
	for path, c := range map[string]struct {
		create func(path string) error
		kind   string
	}{
		dir + "/file":      {func(path string) error { return os.WriteFile(path, []byte("dear"), 0o600) }, "a file"},
		dir + "/empty":     {func(path string) error { return os.WriteFile(path, nil, 0o600) }, "a file"},
		dir + "/folder":    {func(path string) error { return os.Mkdir(path, 0o700) }, "a folder"},
		dir + "/to-socket": {func(path string) error { return os.Symlink("target", path) }, "a symbolic link"},
		dir + "/nowhere":   {func(path string) error { return os.Symlink("nothing", path) }, "a symbolic link"},
		dir + "/pipe":      {func(path string) error { return unix.Mkfifo(path, 0o600) }, "no socket"},
	} {
		must(t, c.create(path))
		before, err := os.Lstat(path)
		must(t, err)
		l, err := listenAPI(path)
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), path+" is there already, and is "+c.kind+": remove it") {
			t.Errorf("%s: %v", path, err)
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s is not what it was: %v", path, err)
		}
	}
	if _, err := listenAPI(dir + "/file/api.sock"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
}
