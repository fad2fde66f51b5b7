package worker

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOutputIsBoundedAndMarked(t *testing.T) {
	var log strings.Builder
	now := time.Now()
	o := newOutput(&log)
	o.now, o.filled = func() time.Time { return now }, now
	s := &stream{out: o}
	write := func(text string) {
		t.Helper()
		if n, err := s.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	write("a line\nhalf of ")
	write("another\n\n\x1b[31mred\rover\xff\n")
	write("the last")
	s.flush()
	want := "worker: a line\nworker: half of another\nworker:  [31mred over?\nworker: the last\n"
	if got := log.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for range 3 {
		write(strings.Repeat("x", outputBurst))
	}
	if n := log.Len(); n > outputBurst || n < outputBurst/2 {
		t.Errorf("%d bytes", n)
	}
	for line := range strings.Lines(log.String()) {
		if !strings.HasPrefix(line, outputMark) || len(line) > 2*outputLine {
			t.Fatalf("a line of %d bytes: %.100q", len(line), line)
		}
	}
	log.Reset()
	now = now.Add(time.Hour)
	s.flush()
	write("later\n")
	if got := log.String(); !strings.Contains(got, "bytes left out") || !strings.HasSuffix(got, "worker: later\n") {
		t.Errorf("%q", got)
	}
	log.Reset()
	now = now.Add(1000 * time.Hour)
	write(strings.Repeat("x\n", outputBurst))
	if n := log.Len(); n > outputBurst {
		t.Errorf("%d bytes after a long time", n)
	}
}

// What a worker writes to is not what the keeper writes to.
func TestWorkersHaveALogOfTheirOwn(t *testing.T) {
	s := newSupervisor(t, Options{})
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.NewPlane(netSpec()); err != nil {
		t.Fatal(err)
	}
	pid := s.Status().PID
	for fd := range 3 {
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
		if err != nil { // not dumpable: its descriptors are not even its user's to see
			if !os.IsPermission(err) {
				t.Error(err)
			}
			continue
		}
		if !strings.HasPrefix(to, "pipe:") && to != "/dev/null" {
			t.Errorf("descriptor %d is %s", fd, to)
		}
	}
	// The last words of one that crashes arrive.
	var log strings.Builder
	s.mu.Lock()
	s.output.mu.Lock()
	s.output.to = &log
	s.output.mu.Unlock()
	s.mu.Unlock()
	if err := unix.Kill(pid, unix.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next worker", func() bool { st := s.Status(); return st.PID != 0 && st.PID != pid })
	s.output.mu.Lock()
	defer s.output.mu.Unlock()
	if !strings.Contains(log.String(), outputMark+"SIGQUIT: quit") || !strings.Contains(log.String(), outputMark+"goroutine ") {
		t.Errorf("%.500q", log.String())
	}
}
