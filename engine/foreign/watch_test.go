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

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
)

// must fails the test at the first error.
func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// told waits for a watch to tell.
func (w *watch) told(t *testing.T, what string) {
	t.Helper()
	select {
	case <-w.changed:
	case <-time.After(10 * time.Second):
		t.Errorf("%s: nobody tells", what)
	}
}

// Whatever changes where a path leads is told of, at whichever step of it. What happens beside it is not.
func TestChangesOfAPathAreToldOf(t *testing.T) {
	for what, change := range map[string]func(t *testing.T, dir string){
		"file removed":  func(t *testing.T, dir string) { must(t, os.Remove(dir+"/c/d/file")) },
		"file replaced": func(t *testing.T, dir string) { must(t, os.Rename(dir+"/c/d/other", dir+"/c/d/file")) },
		"file moved":    func(t *testing.T, dir string) { must(t, os.Rename(dir+"/c/d/file", dir+"/c/d/gone")) },
		"directory moved": func(t *testing.T, dir string) {
			must(t, os.Rename(dir+"/c", dir+"/e"))
		},
		"link replaced": func(t *testing.T, dir string) {
			must(t, os.Symlink("c", dir+"/l"), os.Rename(dir+"/l", dir+"/a/link"))
		},
		"link removed":          func(t *testing.T, dir string) { must(t, os.Remove(dir+"/a/link")) },
		"directory of the link": func(t *testing.T, dir string) { must(t, os.Rename(dir+"/a", dir+"/b")) },
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.MkdirAll(dir+"/c/d", 0o700), os.Mkdir(dir+"/a", 0o700), os.Symlink("../c", dir+"/a/link"))
			must(t, os.WriteFile(dir+"/c/d/file", nil, 0o600), os.WriteFile(dir+"/c/d/other", nil, 0o600))
			w := watchPath(dir + "/./a/link/d/../d//file")
			defer w.stop()
			if w.every != 0 {
				t.Fatalf("looked at every %v: is %s on a file system of the machine's own?", w.every, dir)
			}
			for try := 0; ; try++ {
				more := fmt.Sprintf("more%d", try)
				must(t, os.WriteFile(dir+"/c/d/"+more, nil, 0o600), os.WriteFile(dir+"/a/"+more, nil, 0o600), os.Mkdir(dir+"/"+more, 0o700))
				select {
				case <-w.changed: // perhaps of something that was mounted on this machine just then
					if try < 5 {
						continue
					}
					t.Error("told of what happened beside the path")
				case <-time.After(50 * time.Millisecond):
				}
				break
			}
			change(t, dir)
			w.told(t, what)
		})
	}
}

// What nobody tells of is looked at.
func TestWhatNobodyTellsOfIsLookedAt(t *testing.T) {
	w := nstest.New(t, 0)
	dir := t.TempDir()
	must(t, os.Symlink(fmt.Sprintf("/proc/%d/ns/net", w.Pid), dir+"/link"), os.Symlink(dir+"/loop", dir+"/loop"))
	for path, every := range map[string]time.Duration{
		fmt.Sprintf("/proc/%d/ns/net", w.Pid):                rareInterval,
		dir + "/link":                                        rareInterval,
		fmt.Sprintf("/proc/%d/task/%d/ns/net", w.Pid, w.Pid): interval,
		fmt.Sprintf("/proc/%d/root%s", w.Pid, dir):           interval,
		fmt.Sprintf("/proc/%d/fd/0", w.Pid):                  interval,
		"/proc/self/ns/net":                                  interval,
		"/proc/1234567890/ns/net":                            interval,
		"/sys/kernel":                                        interval,
		dir + "/nothing":                                     interval,
		dir + "/loop":                                        interval,
	} {
		got := watchPath(path)
		if got.every != every {
			t.Errorf("%s: every %v, want %v", path, got.every, every)
		}
		got.stop()
	}
	if got := (Place{Process: Process{w.Pid, 1}}).watch(); got.every != 0 || got.changed != nil {
		t.Error("a process is looked at, though its end is told of")
	}
}

// mountVariable holds the path for awaitUnmount.
const mountVariable = "FOOTBRIDGE_TEST_UNMOUNT"

// awaitUnmount mounts this process's network namespace, and unmounts it while it is awaited.
func awaitUnmount(path string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := unix.Mount("/proc/self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
		return fail(fmt.Errorf("mount: %w", err))
	}
	p := Place{Net: path}
	var err error
	if p.Boot, err = boot(); err != nil {
		return fail(err)
	}
	if p.Dev, p.Ino, err = Inode(path); err != nil {
		return fail(err)
	}
	if w := p.watch(); w.every != 0 {
		return fail(fmt.Errorf("a mount is looked at every %v", w.every))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	said := make(chan error, 1)
	go func() { said <- p.Await(ctx) }()
	select {
	case err := <-said:
		return fail(fmt.Errorf("before it was unmounted: %w", err))
	case <-time.After(100 * time.Millisecond):
	}
	begin := time.Now()
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
		return fail(fmt.Errorf("umount: %w", err))
	}
	if err := <-said; !errors.Is(err, ErrGone) {
		return fail(fmt.Errorf("after it was unmounted: %w", err))
	}
	if took := time.Since(begin); took > time.Second {
		return fail(fmt.Errorf("noticed after %v", took))
	}
	return 0
}

func TestTheEndOfAMountIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mount")
	must(t, os.WriteFile(path, nil, 0o600))
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), mountVariable+"="+path)
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Many watches of one inode are one of the kernel's, which goes with the last.
func TestWatchesOfAnInodeAreShared(t *testing.T) {
	dir := t.TempDir()
	var told [2]chan struct{}
	var stops [2]func()
	for i := range told {
		told[i] = make(chan struct{}, 8)
		var err error
		stops[i], err = events.watch(dir, func() { told[i] <- struct{}{} })
		must(t, err)
	}
	count := func() int {
		events.mu.Lock()
		defer events.mu.Unlock()
		n := 0
		for _, all := range events.watches {
			n += len(all)
		}
		return n
	}
	before := count()
	stops[0]()
	if after := count(); after != before-1 {
		t.Errorf("%d watches, %d before", after, before)
	}
	must(t, os.Chmod(dir, 0o500))
	<-told[1]
	if len(told[0]) > 0 {
		t.Error("told after stop")
	}
	events.mu.Lock()
	events.event(-1, unix.IN_Q_OVERFLOW)
	events.mu.Unlock()
	<-told[1]
	stops[1]()
	if after := count(); after != before-2 {
		t.Errorf("%d watches, %d before", after, before)
	}
	must(t, os.Chmod(dir, 0o700))
	if _, err := events.watch(dir+"/nothing", func() {}); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("nothing is watched: %v", err)
	}
}
