package nstest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Peer is a program that says a line whenever it is somewhere, and reads one before it goes on.
type Peer struct {
	PID int

	t     testing.TB
	in    io.WriteCloser
	lines *bufio.Reader
}

// Start starts a program in a folder, "" for this one. At the test's end its standard input ends,
// upon which it is to end, too.
func Start(t testing.TB, dir, program string, args ...string) *Peer {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // it says by its lines how it went
	})
	return &Peer{PID: cmd.Process.Pid, t: t, in: in, lines: bufio.NewReader(out)}
}

// Says waits for its next line, which is to be want.
func (p *Peer) Says(want string) {
	p.t.Helper()
	if line, err := p.lines.ReadString('\n'); strings.TrimSuffix(line, "\n") != want || err != nil {
		p.t.Fatalf("it says %q, want %q (%v)", line, want, err)
	}
}

// GoOn lets it go on.
func (p *Peer) GoOn() {
	p.t.Helper()
	if _, err := p.in.Write([]byte("\n")); err != nil {
		p.t.Fatal(err)
	}
}
