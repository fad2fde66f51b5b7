package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
)

// terminals returns the two ends of a pseudo-terminal.
func terminals(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	return master, slave
}

func settings(t *testing.T, f *os.File) unix.Termios {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *state
}

func TestMakeRawAndRestore(t *testing.T) {
	_, slave := terminals(t)
	before := settings(t, slave)
	restore, err := makeRaw(slave)
	if err != nil {
		t.Fatal(err)
	}
	if raw := settings(t, slave); raw.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 {
		t.Errorf("the terminal still handles keys: %#x", raw.Lflag)
	}
	restore()
	restore() // every way out calls it, some twice
	if after := settings(t, slave); after != before {
		t.Errorf("the terminal is not as before:\n%+v\n%+v", after, before)
	}
}

// On a terminal every key reaches the command, the size follows, and the
// terminal is as before afterwards, whatever the exit code.
func TestRunOnATerminal(t *testing.T) {
	w := newWorld(t)
	master, slave := terminals(t)
	if err := pty.Setsize(slave, &pty.Winsize{Rows: 33, Cols: 77}); err != nil {
		t.Fatal(err)
	}
	before := settings(t, slave)
	w.stdin = slave
	w.cli.stdout = &output{file: slave}
	resized := make(chan api.TTYSize, 8)
	b := &fakeBackend{onResize: func(size api.TTYSize) { resized <- size }}
	b.command = func(stdin io.Reader, stdout, _ io.Writer) int {
		// The terminal's size comes when everything else is ready.
		if size := <-resized; size != (api.TTYSize{Height: 33, Width: 77}) {
			t.Errorf("resized to %v", size)
		}
		if raw := settings(t, slave); raw.Lflag&unix.ICANON != 0 {
			t.Error("the terminal is not raw while the command runs")
		}
		if _, err := io.WriteString(stdout, "ready\r\n"); err != nil {
			t.Error(err)
		}
		key := make([]byte, 1)
		if _, err := io.ReadFull(stdin, key); err != nil || key[0] != 3 {
			t.Errorf("the command read %q (%v), want ctrl-c", key, err)
		}
		return 7
	}
	w.serve(t, b)
	go func() {
		line, err := bufio.NewReader(master).ReadString('\n')
		if err != nil || !strings.Contains(line, "ready") {
			t.Errorf("the terminal showed %q (%v)", line, err)
		}
		_, _ = master.Write([]byte{3})
	}()
	w.expect(t, 7, "run", "-it", "sh")
	if after := settings(t, slave); after != before {
		t.Errorf("the terminal is not as before:\n%+v\n%+v", after, before)
	}
	if b.created.HostConfig.ConsoleSize != [2]uint{33, 77} {
		t.Errorf("asked for a terminal of %v", b.created.HostConfig.ConsoleSize)
	}
}

// The detach keys leave the command running, and the terminal as before.
func TestRunDetachKeys(t *testing.T) {
	w := newWorld(t)
	master, slave := terminals(t)
	before := settings(t, slave)
	w.stdin = slave
	running := make(chan struct{})
	t.Cleanup(func() { close(running) })
	b := &fakeBackend{command: func(stdin io.Reader, stdout, _ io.Writer) int {
		_, _ = io.WriteString(stdout, "ready")
		<-running
		return 0
	}}
	w.serve(t, b)
	shown := make(chan struct{})
	w.cli.stdout = writerFunc(func(p []byte) (int, error) { close(shown); return len(p), nil })
	go func() {
		<-shown
		_, _ = master.Write([]byte{'x', 0x10, 0x11}) // ctrl-p, ctrl-q
	}()
	w.expect(t, 0, "run", "-it", "sh")
	if got := w.err.String(); got != "read escape sequence\n" {
		t.Errorf("said %q", got)
	}
	if after := settings(t, slave); after != before {
		t.Errorf("the terminal is not as before")
	}
	if len(b.removed)+len(b.killed) > 0 {
		t.Errorf("removed %q, killed %q", b.removed, b.killed)
	}
}

func TestDetachReader(t *testing.T) {
	for _, test := range []struct {
		keys, input, passed string
		detached            bool
	}{
		{"\x10\x11", "abc", "abc", false},
		{"\x10\x11", "ab\x10\x11cd", "ab", true},
		{"\x10\x11", "\x10a\x10\x11", "\x10a", true},
		{"\x10\x11", "\x10\x10\x11", "\x10", true},
		{"\x10\x11", "a\x10", "a\x10", false},
		{"aab", "aaab", "a", true},
		{"abac", "ababac", "ab", true},
		{"a", "xa", "x", true},
	} {
		// One byte at a time and all at once give the same.
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(test.input),
			"bytes": &oneByte{strings.NewReader(test.input)},
		} {
			passed, err := io.ReadAll(newDetachReader(r, []byte(test.keys)))
			if string(passed) != test.passed || errors.Is(err, errDetached) != test.detached {
				t.Errorf("keys %q, input %q (%s): passed %q, %v; want %q, detached %v",
					test.keys, test.input, name, passed, err, test.passed, test.detached)
			}
		}
	}
}

type oneByte struct{ r io.Reader }

func (o *oneByte) Read(b []byte) (int, error) { return o.r.Read(b[:1]) }

func TestParseDetachKeys(t *testing.T) {
	for text, want := range map[string]string{
		"ctrl-p,ctrl-q": "\x10\x11",
		"a":             "a",
		"ctrl-@":        "\x00",
		"ctrl-[,ctrl-_": "\x1b\x1f",
		"CTRL-A,b":      "\x01b",
		"":              "",
	} {
		if got, err := parseDetachKeys(text); err != nil || string(got) != want {
			t.Errorf("%q is %q (%v), want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"ctrl-", "ctrl-1", "ab", ",", "ctrl-p,"} {
		if got, err := parseDetachKeys(text); err == nil {
			t.Errorf("%q is %q, want an error", text, got)
		}
	}
}
