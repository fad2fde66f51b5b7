package shim

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

// A process whose container ended while it was launched has been killed with it;
// one that was never asked for does not run.
func TestStartInAnEndingContainer(t *testing.T) {
	for _, test := range []struct {
		name string
		id   int
		gone bool // before the request
		want error
	}{
		{"an exec", 1, false, nil},
		{"an exec after the end", 1, true, ErrNotRunning},
		{"the command", 0, false, ErrNotRunning},
	} {
		conn, theirs, err := socketPair()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		p, err := newProcess(test.id, false, false, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := &server{init: &initProcess{conn: conn}, procs: map[int]*process{p.id: p}, drains: map[int]func(){}, gone: test.gone}
		if !test.gone {
			// What pid 1 does: it takes the request, and ends without an answer.
			pid1, err := fileConn(theirs)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				defer pid1.Close()
				var req initRequest
				if err := readMessage(pid1, maxRequest, &req); err != nil {
					t.Error(err)
				}
				s.mu.Lock()
				drain := s.drains[p.id]
				s.mu.Unlock()
				p.end(Exit{Code: 137}, drain)
			}()
		}
		if err := s.start(p, &launchRequest{Args: []string{"x"}}); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// In lists of processes a container's are called what they are.
func TestNamesOfTheProcesses(t *testing.T) {
	c := start(t, newSpec(t, "sleep", "1000"))
	for pid, want := range map[int]string{c.s.PID(): initName, parentOf(t, c.s.PID()): shimName} {
		if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err != nil || string(comm) != want+"\n" {
			t.Errorf("pid %d is called %q (%v), want %s", pid, comm, err, want)
		}
	}
	if err := c.s.Kill(); err != nil {
		t.Fatal(err)
	}
	c.finish()
}
