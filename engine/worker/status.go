package worker

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/sandbox"
)

// Status is what is known of the worker.
type Status struct {
	PID       int // 0: none runs
	StartedAt time.Time
	Restarts  int
	// LastExit says how the last worker ended, or why it could not be started. It is empty without one, and after
	// one that was ended because no network needed it: without PID, it says that there should have been one.
	LastExit string
	Memory   uint64 // resident, in bytes
	Self     Self
	Sandbox  api.Sandbox
}

// Status asks the worker and the kernel.
func (s *Supervisor) Status() Status {
	var self Self
	s.ask(opSelf, "", &self)
	if self.Descriptors = s.openFiles(); self.Descriptors == 0 {
		s.ask(opFiles, "", &self.Descriptors)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Restarts: s.restarts, LastExit: s.lastExit}
	if s.live != nil {
		st.PID, st.StartedAt, st.Memory, st.Self = s.live.pid, s.live.started, Resident(s.live.pid), self
		st.Self.Version = clean(self.Version)
		// What holds it the kernel tells; that Landlock does it keeps to itself.
		held, err := sandbox.Read(s.live.pid)
		st.Sandbox = api.Sandbox{
			NoNewPrivs: held.NoNewPrivs, Capabilities: held.Capabilities, Seccomp: held.Seccomp, Landlock: self.Landlock,
		}
		for _, note := range self.Notes {
			st.Sandbox.Notes = append(st.Sandbox.Notes, clean(note))
		}
		if err != nil {
			st.Sandbox.Notes = append(st.Sandbox.Notes, err.Error())
		}
	}
	return st
}

// openFiles is how many files the worker has open, as the kernel tells; 0 where it does not.
func (s *Supervisor) openFiles() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		return 0
	}
	// From Linux 6.2 on the folder's size is their number. A /proc with hidepid shows none.
	info, err := os.Stat(fmt.Sprintf("/proc/%d/fd", s.live.pid))
	if err != nil {
		return 0
	}
	return int(info.Size())
}

// Resident is the memory that a process has, in bytes; 0 when it is gone.
func Resident(pid int) uint64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}

// explain says in words how a worker ended.
func explain(pid int, ws syscall.WaitStatus) string {
	switch {
	case sandbox.Killed(ws):
		return sandbox.Explain(pid, ws)
	case ws.Signaled():
		return fmt.Sprintf("ended by signal %d (%s)", ws.Signal(), unix.SignalName(ws.Signal()))
	}
	return fmt.Sprintf("ended by itself with status %d", ws.ExitStatus())
}

// textLimit bounds a text of the worker's, in bytes.
const textLimit = 1 << 10

// clean makes a text fit for a terminal and a log: bounded, printable.
func clean(s string) string {
	if len(s) > textLimit {
		s = s[:textLimit]
	}
	return printable(s)
}

// printable makes one line that does nothing to a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
