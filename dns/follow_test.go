package dns

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

const (
	firstServer  = "nameserver 192.0.2.1\n"
	secondServer = "nameserver 192.0.2.2\nsearch corp.example\n"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// replace puts content in path's place by renaming.
func replace(t *testing.T, path, content string) {
	t.Helper()
	write(t, path+".new", content)
	must(t, os.Rename(path+".new", path))
}

// relink makes path a link to target, in one step.
func relink(t *testing.T, target, path string) {
	t.Helper()
	must(t, os.Symlink(target, path+".new"))
	must(t, os.Rename(path+".new", path))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// following returns an Upstream of path and where its changes arrive.
func following(t *testing.T, path string) (*Upstream, <-chan Config) {
	t.Helper()
	u, err := NewUpstream(path, UpstreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	changes := make(chan Config, 16)
	u.Subscribe(func(c Config) { changes <- c })
	return u, changes
}

func wantServer(t *testing.T, changes <-chan Config, server string) {
	t.Helper()
	want := netip.AddrPortFrom(netip.MustParseAddr(server), 53)
	timeout := time.After(patience)
	for {
		select {
		case c := <-changes:
			// Between truncating and writing there may be nothing in it.
			if slices.Equal(c.Servers, []netip.AddrPort{want}) {
				return
			}
		case <-timeout:
			t.Fatalf("no change to server %s was reported", server)
		}
	}
}

func TestChangesAreFollowed(t *testing.T) {
	plain := func(t *testing.T, dir string) string {
		write(t, filepath.Join(dir, "resolv.conf"), firstServer)
		return filepath.Join(dir, "resolv.conf")
	}
	// resolv.conf -> run/resolved/stub.conf, as systemd has it
	linked := func(t *testing.T, dir string) string {
		must(t, os.MkdirAll(filepath.Join(dir, "run/resolved"), 0o755))
		write(t, filepath.Join(dir, "run/resolved/stub.conf"), firstServer)
		must(t, os.Mkdir(filepath.Join(dir, "etc"), 0o755))
		must(t, os.Symlink("../run/resolved/stub.conf", filepath.Join(dir, "etc/resolv.conf")))
		return filepath.Join(dir, "etc/resolv.conf")
	}
	// resolv.conf -> data/resolv.conf, data -> v1
	swapped := func(t *testing.T, dir string) string {
		for name, content := range map[string]string{"v1": firstServer, "v2": secondServer} {
			must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
			write(t, filepath.Join(dir, name, "resolv.conf"), content)
		}
		must(t, os.Symlink("v1", filepath.Join(dir, "data")))
		must(t, os.Symlink("data/resolv.conf", filepath.Join(dir, "resolv.conf")))
		return filepath.Join(dir, "resolv.conf")
	}
	tests := []struct {
		what   string
		setup  func(t *testing.T, dir string) string
		change func(t *testing.T, dir, path string)
	}{
		{"written in place", plain, func(t *testing.T, _, path string) { write(t, path, secondServer) }},
		{"renamed over", plain, func(t *testing.T, _, path string) { replace(t, path, secondServer) }},
		{"deleted and made again", plain, func(t *testing.T, _, path string) {
			must(t, os.Remove(path))
			write(t, path, secondServer)
		}},
		{"a link's target written", linked, func(t *testing.T, dir, _ string) {
			write(t, filepath.Join(dir, "run/resolved/stub.conf"), secondServer)
		}},
		{"a link's target renamed over", linked, func(t *testing.T, dir, _ string) {
			replace(t, filepath.Join(dir, "run/resolved/stub.conf"), secondServer)
		}},
		{"a link put elsewhere", linked, func(t *testing.T, dir, path string) {
			write(t, filepath.Join(dir, "other.conf"), secondServer)
			relink(t, "../other.conf", path)
		}},
		{"a link replaced by a file", linked, func(t *testing.T, _, path string) { replace(t, path, secondServer) }},
		{"the target's directory deleted and made again", linked, func(t *testing.T, dir, _ string) {
			must(t, os.RemoveAll(filepath.Join(dir, "run")))
			must(t, os.MkdirAll(filepath.Join(dir, "run/resolved"), 0o755))
			write(t, filepath.Join(dir, "run/resolved/stub.conf"), secondServer)
		}},
		{"the target's directory moved away", linked, func(t *testing.T, dir, _ string) {
			must(t, os.Rename(filepath.Join(dir, "run/resolved"), filepath.Join(dir, "run/old")))
			must(t, os.Mkdir(filepath.Join(dir, "run/resolved"), 0o755))
			write(t, filepath.Join(dir, "run/resolved/stub.conf"), secondServer)
		}},
		{"a linked directory swapped", swapped, func(t *testing.T, dir, _ string) { relink(t, "v2", filepath.Join(dir, "data")) }},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			dir, err := filepath.EvalSymlinks(t.TempDir())
			must(t, err)
			path := tt.setup(t, dir)
			u, changes := following(t, path)
			if got := u.Config().Servers; len(got) != 1 || got[0].String() != "192.0.2.1:53" {
				t.Fatalf("at first: %v", got)
			}
			tt.change(t, dir, path)
			wantServer(t, changes, "192.0.2.2")
			if c := u.Config(); !slices.Equal(c.Search, []string{"corp.example"}) {
				t.Errorf("search %v", c.Search)
			}
			// And it goes on: the new way is watched as the old one was.
			end, err := filepath.EvalSymlinks(path)
			must(t, err)
			replace(t, end, "nameserver 192.0.2.3\n")
			wantServer(t, changes, "192.0.2.3")
		})
	}
}

func TestFileThatComesLater(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a/b/resolv.conf")
	u, changes := following(t, path)
	if got := u.Config(); !got.equal(Config{}) {
		t.Fatalf("without a file: %+v", got)
	}
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	write(t, path, firstServer)
	wantServer(t, changes, "192.0.2.1")
}

func TestMissingFileKeepsWhatItSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write(t, path, firstServer)
	u, _ := following(t, path)
	must(t, os.Remove(path))
	u.reload()
	if got := u.Config().Servers; len(got) != 1 {
		t.Errorf("after the file is gone: %v", got)
	}
}

// Where inotify sees nothing, asking notices.
func TestChangeIsNoticedWithoutEvents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write(t, path, firstServer)
	u, changes := following(t, path)
	must(t, u.Close())
	replace(t, path, secondServer)
	u.checkFile()
	if got := u.Config().Servers[0].String(); got != "192.0.2.1:53" {
		t.Errorf("compared at once: %s", got)
	}
	u.follow.born = u.follow.born.Add(-time.Hour) // an hour later
	u.checkFile()
	wantServer(t, changes, "192.0.2.2")
	must(t, os.Remove(path))
	u.compareStamp()
	u.compareStamp()
	if len(changes) != 0 {
		t.Errorf("a change was reported: %v", <-changes)
	}
	write(t, path, firstServer)
	u.compareStamp()
	wantServer(t, changes, "192.0.2.1")
}

func TestSubscribers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write(t, path, firstServer)
	u, _ := following(t, path)
	must(t, u.Close()) // only this test reloads
	var order []string
	cancel := u.Subscribe(func(Config) { order = append(order, "a") })
	u.Subscribe(func(c Config) {
		order = append(order, "b")
		cancel()
		if got := u.Config(); !got.equal(c) {
			t.Errorf("in force is %v, reported %v", got, c)
		}
	})
	u.reload()
	if len(order) != 0 {
		t.Errorf("called without a change: %v", order)
	}
	write(t, path, secondServer)
	u.reload()
	write(t, path, firstServer)
	u.reload()
	if want := []string{"a", "b", "b"}; !slices.Equal(order, want) {
		t.Errorf("calls %v, want %v", order, want)
	}
}

func TestExplicitServersKeepTheFilesSearchList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write(t, path, secondServer)
	mine := netip.MustParseAddrPort("192.0.2.9:5353")
	u, err := NewUpstream(path, UpstreamOptions{Servers: []netip.AddrPort{mine, mine, mine, mine}})
	must(t, err)
	defer u.Close()
	c := u.Config()
	if len(c.Servers) != 3 || c.Servers[0] != mine || !slices.Equal(c.Search, []string{"corp.example"}) {
		t.Errorf("%+v", c)
	}
}

func TestTrailOfALoopEnds(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Symlink("b", filepath.Join(dir, "a")))
	must(t, os.Symlink("a", filepath.Join(dir, "b")))
	if got := trail(filepath.Join(dir, "a")); len(got) > maxLinks+1 {
		t.Errorf("%d steps", len(got))
	}
	u, _ := following(t, filepath.Join(dir, "a"))
	if got := u.Config(); !got.equal(Config{}) {
		t.Errorf("%+v", got)
	}
}
