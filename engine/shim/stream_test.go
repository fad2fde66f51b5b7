package shim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

func terminal(t *testing.T, script string) *session {
	spec := newSpec(t, sh(script)...)
	spec.TTY, spec.OpenStdin = true, true
	return start(t, spec)
}

func TestTerminal(t *testing.T) {
	c := terminal(t, `test -t 0 && test -t 1 && test -t 2 && echo terminal
		ps -o tty= -p $$ | grep -q pts && echo controlling
		trap 'stty size; exit 4' WINCH
		trap 'echo interrupted' INT
		echo ready
		while :; do read line && echo "read $line"; done`)
	c.until("terminal")
	c.until("controlling")
	c.until("ready")
	c.send("hello\n")
	c.until("read hello")
	c.send("\x03") // Ctrl-C
	c.until("interrupted")
	if err := c.s.Resize(testContext(t), 132, 43); err != nil {
		t.Fatal(err)
	}
	c.send("\n") // the shell runs traps after its read
	c.until("43 132")
	if exit, _, _ := c.finish(); exit.Code != 4 {
		t.Errorf("%+v", exit)
	}
}

func TestTerminalSizeBeforeStart(t *testing.T) {
	spec := newSpec(t, "stty", "size")
	spec.TTY = true
	s := create(t, spec)
	ctx := testContext(t)
	if err := s.Resize(ctx, 100, 30); err != nil {
		t.Fatal(err)
	}
	stream, err := s.Attach(ctx, AttachOptions{Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(stream.Stdout); err != nil || string(b) != "30 100\r\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestJobControl(t *testing.T) {
	spec := newSpec(t, "bash", "--norc", "-i")
	spec.TTY, spec.OpenStdin = true, true
	spec.Env = append(spec.Env, "PS1=$ ", "HOME=/", "HISTFILE=", "TERM=dumb")
	c := start(t, spec)
	// The echo of what is typed must not be taken for output, hence the sums.
	c.send("echo begin$((1+1))\n")
	c.until("begin2")
	c.send("sh -c 'echo foreground$((1+1)); exec sleep 1000'\n")
	c.until("foreground2")
	c.send("\x1a") // Ctrl-Z
	c.until("Stopped")
	c.send("jobs; bg; kill %1; wait; echo end$((1+1))\n")
	c.until("end2")
	c.send("exit 9\n")
	if exit, out, _ := c.finish(); exit.Code != 9 || strings.Contains(out, "no job control") {
		t.Errorf("%+v %q", exit, out)
	}
}

func TestStdinOnce(t *testing.T) {
	spec := newSpec(t, "cat")
	spec.OpenStdin, spec.StdinOnce = true, true
	c := start(t, spec)
	c.send("some text")
	c.stream.Stdin.Close()
	if exit, out, _ := c.finish(); exit.Code != 0 || out != "some text" {
		t.Errorf("%+v %q", exit, out)
	}
}

// Input does not end because the engine died: the next one's client goes on.
func TestStdinOnceOutlivesTheEngine(t *testing.T) {
	spec := newSpec(t, "cat")
	spec.OpenStdin, spec.StdinOnce = true, true
	c := start(t, spec)
	c.send("before\n")
	if got := c.line(); got != "before" {
		t.Fatalf("%q", got)
	}
	// What the kernel does at a process's end; nothing is said.
	if err := errors.Join(c.stream.Stdin.(*input).File.Close(), c.stream.conn.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := c.s.Attach(testContext(t), AttachOptions{Stdin: true, Stdout: true})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := io.WriteString(again.Stdin, "after"); err != nil {
		t.Fatal(err)
	}
	if err := again.Stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := io.ReadAll(again.Stdout); err != nil || string(out) != "after" {
		t.Errorf("%q, %v", out, err)
	}
	if exit, err := c.s.Wait(testContext(t)); err != nil || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
}

func TestStdinStaysOpenWithoutOnce(t *testing.T) {
	spec := newSpec(t, sh(`read a; echo $a; read b; echo $b`)...)
	spec.OpenStdin = true
	c := start(t, spec)
	c.send("first\n")
	if got := c.line(); got != "first" {
		t.Fatalf("%q", got)
	}
	c.stream.Stdin.Close()
	again, err := c.s.Attach(testContext(t), AttachOptions{Stdin: true})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := io.WriteString(again.Stdin, "second\n"); err != nil {
		t.Fatal(err)
	}
	if got := c.line(); got != "second" {
		t.Fatalf("%q", got)
	}
}

func TestNoStdin(t *testing.T) {
	s := create(t, newSpec(t, "cat"))
	if _, err := s.Attach(testContext(t), AttachOptions{Stdin: true}); !errors.Is(err, ErrInvalid) {
		t.Errorf("attach to closed input: %v", err)
	}
	if err := s.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if exit, err := s.Wait(testContext(t)); err != nil || exit.Code != 0 {
		t.Errorf("cat of /dev/null: %+v, %v", exit, err)
	}
}

func TestLog(t *testing.T) {
	spec := newSpec(t, sh(`echo one; echo two >&2; head -c 20000 /dev/zero | tr '\0' x; echo; printf '<&>\377'; exec true`)...)
	outputOf(t, spec)
	b, err := os.ReadFile(spec.LogPath)
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]string{}
	lines := 0
	for line := range strings.Lines(string(b)) {
		var e struct {
			Log, Stream string
			Time        time.Time
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if !strings.HasPrefix(line, `{"log":"`) || time.Since(e.Time) > time.Hour || len(e.Log) > maxLine {
			t.Errorf("entry %.100q", line)
		}
		text[e.Stream] += e.Log
		lines++
	}
	if text["stdout"] != "one\n"+strings.Repeat("x", 20000)+"\n<&>\ufffd" || text["stderr"] != "two\n" || lines != 5 {
		t.Errorf("%d lines, stdout %.200q, stderr %q", lines, text["stdout"], text["stderr"])
	}
}

func TestSlowClientIsCutOff(t *testing.T) {
	const lines = 400000 // 2.7 MB: more than a pipe and its client's buffer
	spec := newSpec(t, sh(fmt.Sprintf("seq %d; echo done >&2", lines))...)
	s := create(t, spec)
	ctx := testContext(t)
	slow, err := s.Attach(ctx, AttachOptions{Stdout: true, Patience: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if exit, err := s.Wait(ctx); err != nil || exit.Code != 0 {
		t.Fatalf("the container was held up: %+v, %v", exit, err)
	}
	b, err := io.ReadAll(slow.Stdout)
	if err != nil || len(b) == 0 || bytes.Contains(b, []byte(fmt.Sprintf("\n%d\n", lines))) {
		t.Errorf("the slow client got %d bytes, %v", len(b), err)
	}
	var logged int
	for _, suffix := range []string{".2", ".1", ""} {
		b, err := os.ReadFile(spec.LogPath + suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		logged += bytes.Count(b, []byte(`"stream":"stdout"`))
	}
	if logged != lines {
		t.Errorf("%d of %d lines logged", logged, lines)
	}
}

func TestFastClientGetsEverything(t *testing.T) {
	const size = 32 << 20
	spec := newSpec(t, "head", "-c", fmt.Sprint(size), "/dev/zero")
	spec.LogPath = ""
	_, out, _ := start(t, spec).finish()
	if len(out) != size {
		t.Errorf("%d of %d bytes", len(out), size)
	}
}

func TestAbsentClientsCostNothing(t *testing.T) {
	spec := newSpec(t, sh(`read x; echo "$x"; ls /proc/self/fd | wc -l`)...)
	spec.OpenStdin = true
	c := start(t, spec)
	keeper := parentOf(t, c.s.PID())
	before := countFDs(t, keeper)
	for range 20 {
		s, err := c.s.Attach(testContext(t), AttachOptions{Stdin: true, Stdout: true, Stderr: true})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	for deadline := time.Now().Add(patience); countFDs(t, keeper) > before; {
		if time.Now().After(deadline) {
			t.Fatalf("the shim holds %d descriptors, %d before", countFDs(t, keeper), before)
		}
		if _, err := c.s.State(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	c.send("still here\n")
	c.until("still here")
}

func countFDs(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
