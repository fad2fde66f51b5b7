package world

import (
	"strings"
	"time"
)

// TB is what a world needs of a *testing.T or *testing.B.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// New makes a world for a test and ends it with the test. The binary under test is the one that Main built.
func New(t TB) *World {
	t.Helper()
	w, err := Start(Options{Footbridge: Binary(), Share: SharedFolders()})
	if err != nil {
		t.Fatalf("%v", err)
	}
	w.tb = t
	t.Cleanup(w.Close)
	return w
}

// Host runs a command as the host's user and returns its output without the last newline. The test fails if the
// command does.
func (w *World) Host(args ...string) string { w.tb.Helper(); return w.must(Host, args) }

// Client runs a command on the remote client.
func (w *World) Client(args ...string) string { w.tb.Helper(); return w.must(Client, args) }

// Internet runs a command on the internet's machine.
func (w *World) Internet(args ...string) string { w.tb.Helper(); return w.must(Internet, args) }

// Footbridge runs the program under test as the host's user.
func (w *World) Footbridge(args ...string) string {
	w.tb.Helper()
	return w.must(Host, append([]string{w.footbridge}, args...))
}

func (w *World) must(place Place, args []string) string {
	w.tb.Helper()
	r := w.Run(place, args...)
	if r.Err != nil || r.Code != 0 {
		w.tb.Fatalf("on %s, %s: exit status %d, %v\n%s%s", place, strings.Join(args, " "), r.Code, r.Err, r.Stdout, r.Stderr)
	}
	return strings.TrimSuffix(r.Stdout, "\n")
}

// Await polls until the condition holds; the test fails with what was waited for if that takes over ten seconds.
func (w *World) Await(what string, condition func() bool) {
	w.tb.Helper()
	const limit = 10 * time.Second
	if !Poll(limit, condition) {
		w.tb.Fatalf("waited %v for %s", limit, what)
	}
}
