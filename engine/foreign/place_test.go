package foreign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/nstest"
	"github.com/footbridge-net/footbridge/tap"
)

// mustResolve finds a namespace.
func mustResolve(t *testing.T, w Wish) Place {
	t.Helper()
	p, ns, err := Resolve(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	return p
}

// awaiting returns what Await has to say.
func awaiting(t *testing.T, p Place) <-chan error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	said := make(chan error, 1)
	go func() { said <- p.Await(ctx) }()
	return said
}

func TestAPlaceIsFoundAgain(t *testing.T) {
	w := nstest.New(t, 0)
	path := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(fmt.Sprintf("/proc/%d/ns/net", w.Pid), path); err != nil {
		t.Fatal(err)
	}
	for _, wish := range []Wish{
		{PID: w.Pid},
		{Net: fmt.Sprintf("/proc/%d/ns/net", w.Pid)},
		{Net: path, User: fmt.Sprintf("/proc/%d/ns/user", w.Pid)},
	} {
		p := mustResolve(t, wish)
		if err := p.Check(); err != nil {
			t.Errorf("%v: %v", p, err)
		}
		dev, ino, err := Inode(path)
		if err != nil || dev != p.Dev || ino != p.Ino {
			t.Errorf("%v: inode %d of %d, want %d of %d (%v)", p, p.Ino, p.Dev, ino, dev, err)
		}
		ns, err := p.Open()
		if err != nil {
			t.Errorf("%v: %v", p, err)
			continue
		}
		ns.Close()
	}
}

func TestWhatIsNoPlaceIsRefused(t *testing.T) {
	w := nstest.New(t, 0)
	net, self := fmt.Sprintf("/proc/%d/ns/net", w.Pid), os.Getpid()
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		wish Wish
		kind error
		text string
	}{
		{Wish{}, ErrWish, "either a process or a path"},
		{Wish{PID: w.Pid, Net: net}, ErrWish, "either a process or a path"},
		{Wish{Net: "ns/net"}, ErrWish, "absolute"},
		{Wish{Net: net, User: "ns/user"}, ErrWish, "absolute"},
		{Wish{PID: -1}, ErrGone, "-1 is no process"},
		{Wish{PID: ended.Process.Pid}, ErrGone, "no such process"},
		{Wish{PID: w.Pid, Start: 1}, ErrGone, "another one than was named"},
		{Wish{PID: w.Pid, Holder: Process{self, 1}}, ErrGone, "process that holds"},
		{Wish{PID: self}, ErrRefused, "host's own network namespace"},
		{Wish{Net: "/proc/self/ns/net"}, ErrRefused, "host's own network namespace"},
		{Wish{PID: 1}, ErrRefused, ""},
		{Wish{Net: file}, ErrWish, "not a network namespace"},
		{Wish{Net: "/dev/null"}, ErrWish, "not a network namespace"},
		{Wish{Net: fmt.Sprintf("/proc/%d/ns/uts", w.Pid)}, ErrWish, "not a network namespace"},
		{Wish{Net: file + "s"}, ErrGone, "no such file"},
		{Wish{Net: file + "/s"}, ErrGone, "no such file"},
		{Wish{Net: loop}, ErrWish, "leads nowhere"},
		{Wish{Net: "/" + strings.Repeat("x", 300)}, ErrWish, "leads nowhere"},
		{Wish{Net: net, User: file}, ErrWish, "does not belong to the user namespace"},
		{Wish{Net: net, User: "/proc/self/ns/user"}, ErrWish, "does not belong to the user namespace"},
		{Wish{Net: net, User: file + "s"}, ErrGone, "no user namespace"},
	} {
		_, ns, err := Resolve(c.wish)
		if err == nil {
			ns.Close()
		}
		if !errors.Is(err, c.kind) || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%+v: %v, want %v: ...%s", c.wish, err, c.kind, c.text)
		}
	}
}

// What was named is gone: its process has ended, its path leads elsewhere, its holder has
// ended. Nothing else is an end.
func TestAnEndIsNoticed(t *testing.T) {
	for name, test := range map[string]struct {
		wish func(w *nstest.World, path string, holder *exec.Cmd) Wish
		end  func(t *testing.T, w, other *nstest.World, path string, holder *exec.Cmd)
	}{
		"process": {
			func(w *nstest.World, _ string, _ *exec.Cmd) Wish { return Wish{PID: w.Pid} },
			func(_ *testing.T, w, _ *nstest.World, _ string, _ *exec.Cmd) { w.End() },
		},
		"process of the path": {
			func(w *nstest.World, _ string, _ *exec.Cmd) Wish {
				return Wish{Net: fmt.Sprintf("/proc/%d/ns/net", w.Pid)}
			},
			func(_ *testing.T, w, _ *nstest.World, _ string, _ *exec.Cmd) { w.End() },
		},
		"link": {
			func(_ *nstest.World, path string, _ *exec.Cmd) Wish { return Wish{Net: path} },
			func(t *testing.T, _, other *nstest.World, path string, _ *exec.Cmd) {
				next := path + "2"
				if err := errors.Join(os.Symlink(fmt.Sprintf("/proc/%d/ns/net", other.Pid), next), os.Rename(next, path)); err != nil {
					t.Fatal(err)
				}
			},
		},
		"no file": {
			func(_ *nstest.World, path string, _ *exec.Cmd) Wish { return Wish{Net: path} },
			func(t *testing.T, _, _ *nstest.World, path string, _ *exec.Cmd) {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			},
		},
		"plain file": {
			func(_ *nstest.World, path string, _ *exec.Cmd) Wish { return Wish{Net: path} },
			func(t *testing.T, _, _ *nstest.World, path string, _ *exec.Cmd) {
				if err := errors.Join(os.WriteFile(path+"2", nil, 0o600), os.Rename(path+"2", path)); err != nil {
					t.Fatal(err)
				}
			},
		},
		"holder": {
			func(w *nstest.World, _ string, holder *exec.Cmd) Wish {
				p, _ := Find(holder.Process.Pid)
				return Wish{PID: w.Pid, Holder: p}
			},
			func(t *testing.T, _, _ *nstest.World, _ string, holder *exec.Cmd) {
				if err := holder.Process.Kill(); err != nil { // and nobody waits for it: a zombie
					t.Fatal(err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, other := nstest.New(t, 0), nstest.New(t, 0)
			path := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(fmt.Sprintf("/proc/%d/ns/net", w.Pid), path); err != nil {
				t.Fatal(err)
			}
			holder := exec.Command("sleep", "infinity")
			if err := holder.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = holder.Process.Kill()
				_ = holder.Wait()
			})
			p := mustResolve(t, test.wish(w, path, holder))
			// The namespace is held, as it is by whoever has interfaces in it.
			ns, err := p.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer ns.Close()
			said := awaiting(t, p)
			select {
			case err := <-said:
				t.Fatalf("before the end: %v", err)
			case <-time.After(2 * interval):
			}
			begin := time.Now()
			test.end(t, w, other, path, holder)
			if err := <-said; !errors.Is(err, ErrGone) {
				t.Errorf("%v, want ErrGone", err)
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("noticed after %v", took)
			}
			if err := p.Check(); !errors.Is(err, ErrGone) {
				t.Errorf("afterwards: %v, want ErrGone", err)
			}
			if name != "holder" {
				if _, err := p.Open(); !errors.Is(err, ErrGone) {
					t.Errorf("opened again: %v, want ErrGone", err)
				}
			}
		})
	}
}

// The end of a process is noticed at once, not at the next look.
func TestTheEndOfAProcessIsNoticedAtOnce(t *testing.T) {
	w := nstest.New(t, 0)
	p := mustResolve(t, Wish{PID: w.Pid})
	exited, stop := p.Process.exits()
	select {
	case <-exited:
		t.Fatal("it has not ended")
	default:
	}
	if err := syscall.Kill(w.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-exited
	stop()
	_, stop = Process{PID: os.Getpid()}.exits()
	stop() // returns, though the process lives
}

// A place of another boot means nothing: numbers and inodes are given again.
func TestAPlaceOfAnotherBootIsGone(t *testing.T) {
	w := nstest.New(t, 0)
	p := mustResolve(t, Wish{PID: w.Pid})
	p.Boot = "another"
	if err := p.Check(); !errors.Is(err, ErrGone) {
		t.Errorf("%v, want ErrGone", err)
	}
	if _, err := p.Open(); !errors.Is(err, ErrGone) {
		t.Errorf("%v, want ErrGone", err)
	}
}

// Await leaves nothing behind.
func TestAwaitCloses(t *testing.T) {
	w := nstest.New(t, 0)
	self, err := Find(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	p := mustResolve(t, Wish{PID: w.Pid, Holder: self})
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := p.Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestParseStat(t *testing.T) {
	line := func(name, state, threads, start string) string {
		return fmt.Sprintf("77 (%s) %s 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 %s 0 %s 1000 200", name, state, threads, start)
	}
	for text, want := range map[string]string{
		line("sleep", "S", "1", "4711"):             "4711 false",
		line("a) Z 1 2 3 (b", "R", "3", "12"):       "12 false",
		line("gone", "Z", "1", "4711"):              "4711 true",
		line("gone", "X", "0", "4711"):              "4711 true",
		line("first thread gone", "Z", "2", "4711"): "4711 false",
		line("many", "Z", "10", "4711"):             "4711 false",
		line("x", "S", "1", "minus"):                "error",
		"77 (x) S 1 2":                              "error",
		"":                                          "error",
	} {
		start, over, err := parseStat([]byte(text))
		got := fmt.Sprint(start, " ", over)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestAVerdictDoesNotNameAPackage(t *testing.T) {
	_, cause := plain(tap.Namespaces{}, fmt.Errorf("tap: open x: %w", os.ErrPermission))
	err := as(ErrRefused, "it cannot be opened: %w; attach as the user who made it", cause)
	if err.Error() != "it cannot be opened: open x: permission denied; attach as the user who made it" || !errors.Is(err, ErrRefused) || !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v", err)
	}
	if _, err := plain(tap.Namespaces{}, nil); err != nil {
		t.Errorf("no error is %v", err)
	}
}

// What looks like a package's name in a path is the user's.
func TestAPathIsToldAsItWasGiven(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tap: ")
	loop, gone := filepath.Join(dir, "tap: loop"), filepath.Join(dir, "tap: gone")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Symlink(loop, loop)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		gone: "no network namespace at " + gone + ": no such file or directory",
		loop: "the path of the network namespace leads nowhere: open network namespace " + loop + ": too many levels of symbolic links",
	} {
		if _, _, err := Resolve(Wish{Net: path}); err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}
