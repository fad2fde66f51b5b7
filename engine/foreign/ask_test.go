package foreign

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nstest"
	"github.com/footbridge-net/footbridge/tap"
)

// A question without an answer is left behind, costs one thread however often it is asked again, and keeps nobody else
// from asking about something else.
func TestWhoDoesNotAnswerIsLeftBehind(t *testing.T) {
	a := newAsker(50*time.Millisecond, 8)
	calls, answer, dropped := 0, make(chan struct{}), make(chan int)
	silent := func() (int, error) {
		calls++
		<-answer
		return 7, nil
	}
	for range 3 {
		if got, err := ask(a, "/silent", silent, func(v int) { dropped <- v }); !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), "/silent") || got != 0 {
			t.Fatalf("%d, %v, want ErrSilent with the path", got, err)
		}
	}
	if got, err := ask(a, "/talkative", func() (int, error) { return 8, nil }, nil); got != 8 || err != nil {
		t.Errorf("about something else: %d, %v", got, err)
	}
	if _, err := ask(a, "/failing", func() (int, error) { return 0, unix.ENOENT }, nil); !errors.Is(err, unix.ENOENT) {
		t.Errorf("an error is an answer: %v", err)
	}
	close(answer)
	if got := <-dropped; got != 7 || calls != 1 {
		t.Errorf("%d came late, of %d questions, want 7 of one", got, calls)
	}
	if got, err := ask(a, "/silent", func() (int, error) { return 9, nil }, nil); got != 9 || err != nil {
		t.Errorf("once it answers again: %d, %v", got, err)
	}
	if len(a.open) != 0 || len(a.room) != 0 {
		t.Errorf("%d questions are open, in %d places", len(a.open), len(a.room))
	}
}

// There are no more questions at once than there is room for.
func TestQuestionsAreBounded(t *testing.T) {
	const most = 3
	a := newAsker(20*time.Millisecond, most)
	answer, ended := make(chan struct{}), make(chan int, most)
	for i := range most {
		if _, err := ask(a, fmt.Sprint(i), func() (int, error) { <-answer; return i, nil }, func(v int) { ended <- v }); !errors.Is(err, ErrSilent) {
			t.Fatal(err)
		}
	}
	never := func() (int, error) { t.Error("one more was asked"); return 0, nil }
	if _, err := ask(a, "more", never, nil); !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), "while 3 file systems do not answer") {
		t.Errorf("without room: %v", err)
	}
	close(answer)
	for range most {
		<-ended
	}
	if got, err := ask(a, "more", func() (int, error) { return 1, nil }, nil); got != 1 || err != nil {
		t.Errorf("with room again: %d, %v", got, err)
	}
}

// drain waits until no question is open.
func (a *asker) drain() {
	for {
		a.mu.Lock()
		open := slices.Collect(maps.Values(a.open))
		a.mu.Unlock()
		if len(open) == 0 {
			return
		}
		<-open[0].over
	}
}

// silentVariable holds the folder for beSilent.
const silentVariable = "FOOTBRIDGE_TEST_SILENT"

// beSilent mounts a file system over a folder, which this process serves by never answering, until its input ends.
func beSilent(folder string) int {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Mount("silent", folder, "fuse", unix.MS_NODEV|unix.MS_NOSUID, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("silent")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// container is a process in namespaces of its own, which runs a script and then, in another network namespace, beSilent.
type container struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func newContainer(t *testing.T, folder, script string) *container {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	c := &container{Cmd: exec.Command("sh", "-ec", script+"\nexec unshare --net "+exe)}
	c.Env = append(os.Environ(), silentVariable+"="+folder)
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	c.in, err = c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	c.out = bufio.NewReader(out)
	must(t, c.Start())
	t.Cleanup(func() {
		_ = c.in.Close() // all whom it has not answered are told that it is gone
		_ = c.Wait()
	})
	return c
}

func (c *container) says(t *testing.T, want string) {
	t.Helper()
	if line, err := c.out.ReadString('\n'); err != nil || line != want+"\n" {
		t.Fatalf("it says %q, %v; want %s", line, err, want)
	}
}

// wantSilent makes sure that nothing is known of a place with a path of its own, and of one that was passed.
func wantSilent(t *testing.T, named, passed Place) {
	t.Helper()
	self := fmt.Sprintf("/proc/%d/ns/net", os.Getpid())
	for what, err := range map[string]error{
		"Check of a path":   named.Check(),
		"Open of a path":    errOf(named.Open()),
		"Resolve of a path": errOf2(Resolve(Wish{Net: named.Net})),
		"a user namespace":  checkOwner(namespaces(t), named.Net, self),
		"Reach":             errOf(passed.Reach()),
		"Check":             passed.Check(),
		"Open":              errOf(passed.Open()),
	} {
		if !errors.Is(err, ErrSilent) || errors.Is(err, ErrGone) {
			t.Errorf("%s: %v, want ErrSilent", what, err)
		}
	}
	if w := named.watch(); w.every != interval || w.changed != nil {
		t.Errorf("what does not answer is looked at every %v", w.every)
	}
}

// namespaces are those of a world.
func namespaces(t *testing.T) tap.Namespaces {
	t.Helper()
	ns, err := tap.OpenNamespaces(nstest.New(t, 0).Pid)
	must(t, err)
	t.Cleanup(func() { _ = ns.Close() })
	return ns
}

// Whatever follows a path that others named asks for it: while a question about it is open, all go without an answer.
func TestWhoeverFollowsAPathAsks(t *testing.T) {
	defer func(before *asker) { paths = before }(paths)
	paths = newAsker(20*time.Millisecond, 8)
	w := nstest.New(t, 0)
	path := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(fmt.Sprintf("/proc/%d/ns/net", w.Pid), path))
	named := mustResolve(t, Wish{Net: path})
	file := passed(t, w)
	passed := mustResolve(t, Wish{Passed: file, Net: "/run/nowhere/to/be/seen"})
	w.End() // nobody is in it
	answer := make(chan struct{})
	defer close(answer)
	for _, about := range []string{path, passed.about(passed.Net)} {
		_, err := ask(paths, about, func() (int, error) { <-answer; return 0, nil }, func(int) {})
		if !errors.Is(err, ErrSilent) {
			t.Fatal(err)
		}
	}
	wantSilent(t, named, passed)
}

// Nobody waits for ever for a file system that a container serves (FUSE): neither at a path that was named, nor
// where a namespace that was passed is looked for.
func TestAFileSystemThatNeverAnswersHoldsNobody(t *testing.T) {
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Logf("no file system can be served here: %v", err)
		return
	} else {
		must(t, f.Close())
	}
	defer func(before *asker) { paths = before }(paths)
	paths = newAsker(100*time.Millisecond, 8)

	folder := t.TempDir()
	path := filepath.Join(folder, "netns")
	must(t, os.WriteFile(path, nil, 0o600))
	// It has the namespace at that path, and nobody is in it; then it covers the path.
	c := newContainer(t, folder, "mount --bind /proc/self/ns/net "+path+"; echo bound; read line")
	c.says(t, "bound")
	seen := fmt.Sprintf("/proc/%d/root%s", c.Process.Pid, path)
	file, err := os.Open(seen)
	must(t, err)
	defer file.Close()
	named := mustResolve(t, Wish{Net: seen})
	_, err = io.WriteString(c.in, "\n")
	must(t, err)
	c.says(t, "silent")

	passed := mustResolve(t, Wish{Passed: file, Net: path})
	if !passed.Passed {
		t.Fatalf("%+v was not passed", passed)
	}
	wantSilent(t, named, passed)
	for _, p := range []Place{named, passed} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		if err := p.Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Await %v: %v; that nothing is known is no end", p, err)
		}
		cancel()
	}
	if len(paths.room) != 2 {
		t.Errorf("%d threads wait, want one for each place", len(paths.room))
	}

	// Whoever does not have the namespace is not asked, whatever it serves at that path.
	must(t, c.in.Close(), c.Wait())
	paths.drain()
	other := newContainer(t, folder, "")
	other.says(t, "silent")
	if _, err := passed.Reach(); !errors.Is(err, ErrGone) {
		t.Errorf("with a bystander that does not answer: %v, want ErrGone", err)
	}
}

func errOf2[T, U any](_ T, _ U, err error) error { return err }
