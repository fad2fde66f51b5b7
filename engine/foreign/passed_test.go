package foreign

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

// passed opens the namespace of a world, as whoever passes it has.
func passed(t *testing.T, w *nstest.World) *os.File {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", w.Pid))
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// A namespace that was passed is found by whoever lives in it, and is over with the last of
// them; the path, which leads nowhere here, is no obstacle.
func TestAPassedNamespaceIsFoundByWhoLivesInIt(t *testing.T) {
	w := nstest.New(t, 0)
	p := mustResolve(t, Wish{Passed: passed(t, w), Net: "/run/nowhere/to/be/seen"})
	if !p.Passed {
		t.Fatalf("%+v was not passed", p)
	}
	path, err := p.Reach()
	if want := fmt.Sprintf("/proc/%d/ns/net", w.Pid); err != nil || path != want {
		t.Errorf("reached by %q, %v; want %s", path, err, want)
	}
	ns, err := p.Open()
	must(t, err)
	defer ns.Close() // it is held from here on, as by a daemon with interfaces in it
	said := awaiting(t, p)
	select {
	case err := <-said:
		t.Fatalf("before the end: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	w.End()
	if err := <-said; !errors.Is(err, ErrGone) {
		t.Errorf("Await: %v, want ErrGone", err)
	}
	for _, err := range []error{p.Check(), errOf(p.Reach()), errOf(p.Open())} {
		if !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "/run/nowhere/to/be/seen") {
			t.Errorf("%v, want ErrGone with the path", err)
		}
	}
}

func errOf[T any](_ T, err error) error { return err }

// A path that is seen in the mount namespace of another process only is as good, until it
// is unmounted there.
func TestAPassedNamespaceIsFoundByWhoSeesItsPath(t *testing.T) {
	w := nstest.New(t, 0)
	path := filepath.Join(t.TempDir(), "netns")
	must(t, os.WriteFile(path, nil, 0o600))
	script := fmt.Sprintf("mount --bind /proc/%d/ns/net %s; echo mounted; read line; umount %[2]s; echo unmounted; read line", w.Pid, path)
	runtime := exec.Command("nsenter", "--preserve-credentials", "-U", "-t", fmt.Sprint(w.Pid), "unshare", "-m", "sh", "-ec", script)
	in, err := runtime.StdinPipe()
	must(t, err)
	pipe, err := runtime.StdoutPipe()
	must(t, err)
	runtime.Stderr = os.Stderr
	must(t, runtime.Start())
	t.Cleanup(func() {
		_ = runtime.Process.Kill()
		_ = runtime.Wait()
	})
	out := bufio.NewReader(pipe)
	line, err := out.ReadString('\n')
	if err != nil || line != "mounted\n" {
		t.Fatalf("%q, %v", line, err)
	}
	p := mustResolve(t, Wish{Passed: passed(t, w), Net: path})
	if !p.Passed {
		t.Fatalf("%+v was not passed, though %s is seen elsewhere only", p, path)
	}
	ns, err := p.Open()
	must(t, err)
	defer ns.Close()
	said := awaiting(t, p)
	w.End()
	// Its last inhabitant is gone; it is reached by its path now.
	reached, err := p.Reach()
	if want := fmt.Sprintf("/proc/%d/root%s", runtime.Process.Pid, path); err != nil || reached != want {
		t.Errorf("reached by %q, %v; want %s", reached, err, want)
	}
	again, err := p.Open()
	must(t, err)
	must(t, again.Close())
	select {
	case err := <-said:
		t.Fatalf("with the mount still there: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	_, err = io.WriteString(in, "\n")
	must(t, err)
	select {
	case err := <-said: // at once, not after rareInterval
		if !errors.Is(err, ErrGone) {
			t.Errorf("Await: %v, want ErrGone", err)
		}
	case <-time.After(15 * time.Second):
		t.Error("nobody tells of the mount that is gone")
	}
}

// A path that is seen from here as well is what the place is known by.
func TestAPassedNamespaceWithAPathOfOursIsAtThatPath(t *testing.T) {
	w := nstest.New(t, 0)
	path := fmt.Sprintf("/proc/%d/ns/net", w.Pid)
	if p := mustResolve(t, Wish{Passed: passed(t, w), Net: path}); p.Passed || p.Net != path {
		t.Errorf("%+v, want one at %s", p, path)
	}
	if p := mustResolve(t, Wish{Passed: passed(t, w)}); !p.Passed || p.String() != "that was passed" {
		t.Errorf("%+v (%v), want one that was passed", p, p)
	}
}

// Who passes a namespace must have power over it.
func TestAPassedNamespaceIsOfWhoPassesIt(t *testing.T) {
	w, other := nstest.New(t, 0), nstest.New(t, 0)
	owner := func(w *nstest.World) Owner {
		dev, ino, err := Inode(fmt.Sprintf("/proc/%d/ns/user", w.Pid))
		must(t, err)
		return Owner{dev, ino}
	}
	p, ns, err := Resolve(Wish{Passed: passed(t, w), From: owner(w)})
	must(t, err)
	if got, err := OwnerOf(ns); err != nil || got != owner(w) {
		t.Errorf("the owner of %v is %v (%v), want %v", p, got, err, owner(w))
	}
	must(t, ns.Close())
	dev, ino, err := Inode("/proc/self/ns/user")
	must(t, err)
	if _, ns, err := Resolve(Wish{Passed: passed(t, w), From: Owner{dev, ino}}); err != nil {
		t.Errorf("from the user namespace above: %v", err)
	} else {
		must(t, ns.Close())
	}
	host, err := os.Open("/proc/self/ns/net")
	must(t, err)
	defer host.Close()
	for name, wish := range map[string]Wish{
		"another's":  {Passed: passed(t, w), From: owner(other)},
		"the host's": {Passed: host},
		"relative":   {Passed: passed(t, w), Net: "run/netns"},
	} {
		_, ns, err := Resolve(wish)
		if err == nil {
			ns.Close()
		}
		if !errors.Is(err, ErrRefused) && !errors.Is(err, ErrWish) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
}
