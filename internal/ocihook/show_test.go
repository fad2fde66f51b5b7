package ocihook

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

func init() {
	// show FILE ROOT NAME LOOK: in a mount namespace of its own, whose root is mounted as runtimes do; says what is at LOOK.
	nstest.Register("show", func(args []string) (string, error) {
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return "", err
		}
		if err := unix.Mount(args[1], args[1], "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return "", err
		}
		if err := ShowFile(args[0], args[1], args[2]); err != nil {
			return "", err
		}
		b, err := os.ReadFile(args[3])
		return string(b), err
	})
}

// roots are root folders, and where etc/hosts is found in them afterwards; "" where there is no place for it.
var roots = map[string]struct {
	make  func(root string) error
	place string
}{
	"a file":    {func(r string) error { return os.WriteFile(r+"/etc/hosts", []byte("old"), 0o600) }, "etc/hosts"},
	"nothing":   {func(string) error { return nil }, "etc/hosts"},
	"no folder": {func(r string) error { return os.Remove(r + "/etc") }, "etc/hosts"},
	"a link":    {func(r string) error { return os.Symlink("/run/hosts", r+"/etc/hosts") }, "run/hosts"},
	"upwards":   {func(r string) error { return os.Symlink("../../../../../../run/hosts", r+"/etc/hosts") }, "run/hosts"},
	"folder elsewhere": {func(r string) error {
		return errors.Join(os.Remove(r+"/etc"), os.Mkdir(r+"/usr", 0o755), os.Symlink("/usr", r+"/etc"))
	}, "usr/hosts"},
	"astray":  {func(r string) error { return os.Symlink("/nowhere/hosts", r+"/etc/hosts") }, ""},
	"circles": {func(r string) error { return os.Symlink("hosts", r+"/etc/hosts") }, ""},
	"no place": {func(r string) error {
		return errors.Join(os.Remove(r+"/etc"), os.WriteFile(r+"/etc", nil, 0o600))
	}, ""},
	"process": {func(r string) error { return os.Symlink("/proc/self/root/etc/hosts", r+"/etc/hosts") }, ""},
}

func makeRoot(t *testing.T, fill func(root string) error) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	for _, dir := range []string{"etc", "run"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := fill(root); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestAFileIsShownInTheRootFolderOnly(t *testing.T) {
	w := nstest.New(t, 0)
	for name, c := range roots {
		root := makeRoot(t, c.make)
		file := filepath.Join(t.TempDir(), "shown")
		if err := os.WriteFile(file, []byte("shown"), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := w.Call("show", file, root, "etc/hosts", filepath.Join(root, c.place))
		switch {
		case c.place == "" && (err == nil || !strings.Contains(err.Error(), ErrNoPlace.Error())):
			t.Errorf("%s: %q, %v, want no place", name, got, err)
		case c.place != "" && (err != nil || got != "shown"):
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if b, err := os.ReadFile(filepath.Join(root, "etc/hosts")); name == "a file" && (err != nil || string(b) != "old") {
			t.Errorf("%s: %q, %v: the folder itself has changed", name, b, err)
		}
	}
}

func TestAPlaceIsMadeInTheRootFolderOnly(t *testing.T) {
	for name, c := range roots {
		root := makeRoot(t, c.make)
		err := MakePlace(root, "etc/hosts")
		if c.place == "" {
			if !errors.Is(err, ErrNoPlace) {
				t.Errorf("%s: %v, want ErrNoPlace", name, err)
			}
			continue
		}
		b, rerr := os.ReadFile(filepath.Join(root, c.place))
		if err != nil || rerr != nil || len(b) > 0 && name != "a file" {
			t.Errorf("%s: %v, %v, %q", name, err, rerr, b)
		}
	}
	if err := MakePlace(filepath.Join(t.TempDir(), "nowhere"), "etc/hosts"); err == nil || errors.Is(err, ErrNoPlace) {
		t.Errorf("no root folder: %v", err)
	}
}
