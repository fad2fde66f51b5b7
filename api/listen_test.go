package api

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// leaveSocket leaves a socket behind as a daemon does that was killed.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func serveHTTP(t *testing.T, path string, h http.HandlerFunc) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
}

func TestListenMakesPrivateDirectoryAndSocket(t *testing.T) {
	dir := filepath.Join(shortDir(t), "footbridge")
	path := filepath.Join(dir, "footbridge.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o700, path: fs.ModeSocket | 0o600} {
		st, err := os.Lstat(name)
		if err != nil || st.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, st.Mode(), err, want)
		}
	}
	if _, err := Listen(path); !errors.Is(err, ErrSocketInUse) {
		t.Errorf("a second daemon: %v; want ErrSocketInUse", err)
	}
	l.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v; want the socket gone", err)
	}
}

func TestListenReplacesOnlyDeadSockets(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	leaveSocket(t, path)
	l, err := Listen(path)
	if err != nil {
		t.Fatalf("over a dead socket: %v", err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); !errors.Is(err, ErrSocketPath) {
		t.Errorf("over a file: %v; want ErrSocketPath", err)
	}
	if b, err := os.ReadFile(path); string(b) != "precious" {
		t.Errorf("the file has %q, %v", b, err)
	}
}

func TestListenRefusesBadPaths(t *testing.T) {
	dir := shortDir(t)
	for _, path := range []string{"", "@abstract", "\x00abstract", filepath.Join(dir, strings.Repeat("x", 108-len(dir)))} {
		if _, err := Listen(path); !errors.Is(err, ErrSocketPath) {
			t.Errorf("%q: %v; want ErrSocketPath", path, err)
		}
	}
	longest := filepath.Join(dir, strings.Repeat("x", 107-len(dir)-1))
	l, err := Listen(longest)
	if err != nil {
		t.Fatalf("a path of %d bytes: %v", len(longest), err)
	}
	l.Close()
	if _, err := Listen(filepath.Join(dir, "no", "such", "s")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a parent: %v", err)
	}
}

func TestUnsafeDirectories(t *testing.T) {
	base := shortDir(t)
	mk := func(name string, mode fs.FileMode) string {
		p := filepath.Join(base, name)
		if err := os.Mkdir(p, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := mk("good", 0o700)
	link := filepath.Join(base, "link")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := mk("open", 0o777)
	inOpen := filepath.Join(open, "d")
	sticky := mk("sticky", fs.ModeSticky|0o777)
	inSticky := filepath.Join(sticky, "d")
	for _, d := range []string{inOpen, inSticky} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// The root directory belongs to root; as root, a directory given away stands for it.
	others := "/"
	if os.Geteuid() == 0 {
		others = mk("others", 0o700)
		if err := os.Chown(others, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		dir, why string
		ok       bool
	}{
		{good, "", true},
		{inSticky, "", true},
		{link, "symbolic link", false},
		{file, "not a directory", false},
		{mk("group", 0o710), "chmod 700", false},
		{mk("world", 0o705), "chmod 700", false},
		{inOpen, "chmod +t", false},
		{others, "belongs to uid", false},
	} {
		err := CheckDir(tt.dir)
		if tt.ok && err != nil {
			t.Errorf("%s: %v", tt.dir, err)
		}
		if !tt.ok && (!errors.Is(err, ErrUnsafeDir) || !strings.Contains(err.Error(), tt.why)) {
			t.Errorf("%s: %v; want ErrUnsafeDir that says %q", tt.dir, err, tt.why)
		}
		if _, err := Listen(filepath.Join(tt.dir, "s")); !tt.ok && err == nil {
			t.Errorf("Listen in %s worked", tt.dir)
		}
	}
	if err := CheckDir(filepath.Join(base, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
}
