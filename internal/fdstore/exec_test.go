package fdstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

func init() {
	roles["hand over"] = handOver
	roles["take over"] = takeOver
	roles["main thread"] = mainThread
	roles["limit"] = keepLimit
}

// Enough names for more text than an environment variable takes.
const (
	manyPipes     = 500
	someListeners = 20
	// startLimit is more than the tests' descriptors, and less than Go raises it to.
	startLimit = 1234
)

func longName(i int) string { return fmt.Sprintf("pipe.%d.%s", i, strings.Repeat("x", 240)) }

// The new program, in the same process, finds everything: bytes in pipes, clients in
// the queues of listeners, locks. It finds nothing else.
func TestExec(t *testing.T) {
	cmd := program(t, "hand over", fmt.Sprintf("ulimit -S -n %d;", startLimit))
	lock := filepath.Join(t.TempDir(), "lock")
	cmd.Env = append(cmd.Env, "LOCK="+lock)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := fmt.Sprintf("taken over in process %d\n", cmd.Process.Pid); string(out) != want {
		t.Errorf("it said %q, want %q", out, want)
	}
}

// handOver fills a store, then becomes takeOver, while other threads open, start and
// close things.
func handOver() error {
	// What the test itself was started with goes no further.
	if err := unix.CloseRange(first, 1<<20, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return err
	}
	s, err := Open()
	if err != nil {
		return err
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for i := range manyPipes {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "in pipe %d", i)
		w.Close()
		if err := put(s, longName(i), r); err != nil {
			return err
		}
	}
	for i := range someListeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		c, err := net.Dial("tcp", l.Addr().String()) // stays in the queue
		if err != nil {
			return err
		}
		fmt.Fprintf(c, "to listener %d", i)
		if i%2 == 0 {
			c.Close()
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			return err
		}
		l.Close()
		if err := put(s, Name("listener", strconv.Itoa(i)), f); err != nil {
			return err
		}
	}
	lock, err := os.OpenFile(os.Getenv("LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	if err := put(s, "lock", lock); err != nil {
		return err
	}
	if _, err := os.Open("/proc/self/status"); err != nil { // stays open, and must not go over
		return err
	}
	for range 3 {
		go churn()
	}
	env := append(os.Environ(), "LISTEN_PID=1", "LISTEN_FDS=1", "NOTIFY_SOCKET=/nonsense")
	for range 50 {
		if err := s.Exec(Program{Path: "/nonsense", Args: []string{"x"}, Env: env, OpenFiles: startLimit}); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("executing what is not there: %w", err)
		}
	}
	os.Setenv(roleVariable, "take over")
	os.Setenv("LIMIT", fmt.Sprint(limit.Cur))
	return s.Exec(Program{Path: "/proc/self/exe", Args: []string{"test"}, Env: os.Environ(), OpenFiles: startLimit})
}

func put(s *Store, name string, f *os.File) error {
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		return err
	}
	f.Close()
	h := fdpass.NewHandle(fd)
	defer h.Close()
	return s.Put(name, h)
}

// churn keeps the runtime busy: its poller, its threads, forks.
func churn() {
	for {
		r, w, err := os.Pipe()
		if err != nil {
			continue
		}
		go func() { time.Sleep(time.Microsecond); w.Close() }()
		_, _ = io.ReadAll(r)
		r.Close()
		_ = exec.Command("true").Run()
	}
}

func takeOver() error {
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "LISTEN_") || strings.HasPrefix(kv, "NOTIFY_SOCKET") {
			return fmt.Errorf("%s is in the environment", kv)
		}
	}
	s, err := Open()
	if err != nil {
		return err
	}
	if text := os.Getenv(tableVariable); text != "" {
		return fmt.Errorf("%s=%s is left in the environment", tableVariable, text)
	}
	if n := len(s.Names()); n != manyPipes+someListeners+1 {
		return fmt.Errorf("%d names", n)
	}
	known := map[int]bool{0: true, 1: true, 2: true}
	for name, h := range s.held {
		known[h.FD()] = true
		if !closeOnExec(h.FD()) {
			return fmt.Errorf("%s would be inherited by what is started", name)
		}
	}
	open, err := descriptors()
	if err != nil {
		return err
	}
	for fd, what := range open {
		if !known[fd] && !runtimes(what) {
			return fmt.Errorf("descriptor %d is open: %s", fd, what)
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || fmt.Sprint(limit.Cur) != os.Getenv("LIMIT") {
		return fmt.Errorf("the limit of open files is %d (%w), was %s", limit.Cur, err, os.Getenv("LIMIT"))
	}
	if err := checkStartLimit(); err != nil {
		return err
	}
	for i := range manyPipes {
		h, ok := s.Get(longName(i))
		if !ok {
			return fmt.Errorf("pipe %d is lost", i)
		}
		f := os.NewFile(uintptr(h.Take()), "pipe")
		b, err := io.ReadAll(f)
		f.Close()
		if want := fmt.Sprintf("in pipe %d", i); err != nil || string(b) != want {
			return fmt.Errorf("%q (%w), want %q", b, err, want)
		}
	}
	for i := range someListeners {
		h, ok := s.Get(Name("listener", strconv.Itoa(i)))
		if !ok {
			return fmt.Errorf("listener %d is lost", i)
		}
		f := os.NewFile(uintptr(h.Take()), "listener")
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return err
		}
		c, err := l.Accept()
		if err != nil {
			return err
		}
		b, err := io.ReadAll(c)
		if want := fmt.Sprintf("to listener %d", i); err != nil || string(b) != want {
			return fmt.Errorf("%q (%w), want %q", b, err, want)
		}
		c.Close()
		l.Close()
	}
	other, err := os.Open(os.Getenv("LOCK"))
	if err != nil {
		return err
	}
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("the lock is not held: %w", err)
	}
	if err := s.Remove("lock"); err != nil {
		return err
	}
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("the lock is held by somebody else: %w", err)
	}
	fmt.Printf("taken over in process %d\n", os.Getpid())
	return s.Close()
}

// After an Exec that failed every descriptor is as it was, no thread is left, and what
// is closed then is closed: a port is free at once.
func TestExecThatFails(t *testing.T) {
	s := &Store{held: map[string]*fdpass.Handle{}}
	defer s.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := put(s, "pipe", w); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("no program\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.CloseRange(first, 1<<20, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	echo := echoing(t)
	before, err := descriptors()
	if err != nil {
		t.Fatal(err)
	}
	threads := len(must(filepath.Glob("/proc/self/task/*"))(t))
	for i := range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		path, want := "/nonsense", error(unix.ENOENT)
		if i%2 == 0 {
			path, want = script, unix.ENOEXEC
		}
		if err := s.Exec(Program{Path: path, Args: []string{"x"}}); !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
		address := l.Addr().String()
		l.Close()
		if l, err = net.Listen("tcp", address); err != nil {
			t.Fatalf("the port is still taken: %v", err)
		}
		l.Close()
		echo()
	}
	now, err := descriptors()
	if err != nil {
		t.Fatal(err)
	}
	for fd, what := range now {
		if before[fd] != what && !runtimes(what) {
			t.Errorf("descriptor %d is %q, was %q", fd, what, before[fd])
		}
		if fd > 2 && !closeOnExec(fd) {
			t.Errorf("descriptor %d (%s) would be inherited", fd, what)
		}
	}
	// The runtime makes and keeps some as it needs them.
	if n := len(must(filepath.Glob("/proc/self/task/*"))(t)); n > threads+20 {
		t.Errorf("%d threads, %d before", n, threads)
	}
	if _, err := unix.Write(s.held["pipe"].FD(), []byte("x")); err != nil {
		t.Errorf("what is stored is of no use: %v", err)
	}
}

// Go raises its limit of open files at start, and gives the one before to what it
// executes. A failed Exec changes neither.
func TestExecThatFailsKeepsTheLimit(t *testing.T) {
	if out, err := program(t, "limit", fmt.Sprintf("ulimit -S -n %d;", startLimit)).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func keepLimit() error {
	s := &Store{held: map[string]*fdpass.Handle{}}
	before, err := openFiles(nil)
	if err != nil {
		return err
	}
	if before.Cur == startLimit {
		return errors.New("the limit was not raised")
	}
	if err := s.Exec(Program{Path: "/nonsense", Args: []string{"x"}, OpenFiles: 100}); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if after, err := openFiles(nil); err != nil || after != before {
		return fmt.Errorf("the limit is %v (%w), was %v", after, err, before)
	}
	if err := checkStartLimit(); err != nil {
		return err
	}
	if n, err := StartLimit(); err != nil || n != startLimit {
		return fmt.Errorf("started with the limit %d (%w)", n, err)
	}
	return nil
}

// checkStartLimit looks at the limit that programs get which are started.
func checkStartLimit() error {
	out, err := exec.Command("sh", "-c", "ulimit -n").Output()
	if err != nil || string(out) != fmt.Sprintf("%d\n", startLimit) {
		return fmt.Errorf("a program that is started has the limit %s (%w)", out, err)
	}
	return nil
}

// echoing returns a function that sends a byte around through the runtime's poller.
func echoing(t *testing.T) func() {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	c := must(net.Dial("tcp", l.Addr().String()))(t)
	peer := must(l.Accept())(t)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(struct{ io.Writer }{peer}, struct{ io.Reader }{peer}) }) // without a pipe of splice(2)
	t.Cleanup(func() {
		c.Close()
		wg.Wait()
		peer.Close()
		l.Close()
	})
	return func() {
		t.Helper()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// The first thread does not end with its goroutine, so it is not the one.
func TestTheFirstThreadIsKept(t *testing.T) {
	if out, err := program(t, "main thread", "").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func mainThread() error {
	if unix.Gettid() != os.Getpid() {
		return errors.New("the test is not on the first thread")
	}
	tid := 0
	onThread(func() { tid = unix.Gettid() })
	if tid == 0 || tid == os.Getpid() {
		return fmt.Errorf("it ran on thread %d", tid)
	}
	for { // its end, which must come
		if _, err := os.Stat("/proc/self/task/" + strconv.Itoa(tid)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		runtime.Gosched()
	}
}
