package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Read gives what /proc tells of a process: the State of all its threads together,
// of each part the weakest. Landlock and Notes are not there: the process itself
// knows them, from Enter.
//
// The error is one of fs when the process is gone, or not to be seen: with /proc
// mounted with hidepid, that of another user's or of an undumpable process.
func Read(pid int) (State, error) {
	folder := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(folder)
	if err != nil {
		return State{}, fmt.Errorf("sandbox of process %d: %w", pid, err)
	}
	all := State{NoNewPrivs: true, Seccomp: SeccompFilter}
	seen := 0
	for _, t := range threads {
		text, err := os.ReadFile(folder + "/" + t.Name() + "/status")
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		}
		var s State
		if err == nil {
			s, err = parseStatus(text)
		}
		if err != nil {
			return State{}, fmt.Errorf("sandbox of process %d: %w", pid, err)
		}
		seen++
		all.NoNewPrivs = all.NoNewPrivs && s.NoNewPrivs
		all.Capabilities |= s.Capabilities
		if weaker(s.Seccomp, all.Seccomp) {
			all.Seccomp = s.Seccomp
		}
	}
	if seen == 0 {
		return State{}, fmt.Errorf("sandbox of process %d: %w", pid, fs.ErrNotExist)
	}
	return all, nil
}

// weaker: strict is the strongest, and no filter weaker than one.
func weaker(a, b string) bool {
	strength := map[string]int{SeccompOff: 0, SeccompFilter: 1, SeccompStrict: 2}
	return strength[a] < strength[b]
}

// parseStatus reads a thread's status file, proc_pid_status(5).
func parseStatus(text []byte) (State, error) {
	var s State
	found := make(map[string]bool)
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		var err error
		switch key {
		case "CapInh", "CapPrm", "CapEff", "CapAmb":
			var set uint64
			set, err = strconv.ParseUint(value, 16, 64)
			s.Capabilities |= set
		case "NoNewPrivs":
			s.NoNewPrivs = value == "1"
		case "Seccomp":
			switch value {
			case "0":
				s.Seccomp = SeccompOff
			case "1":
				s.Seccomp = SeccompStrict
			case "2":
				s.Seccomp = SeccompFilter
			default:
				err = fmt.Errorf("mode %q", value)
			}
		default:
			continue
		}
		if err != nil {
			return State{}, fmt.Errorf("%s: %w", key, err)
		}
		found[key] = true
	}
	if len(found) != 6 {
		return State{}, fmt.Errorf("%d of the 6 lines that are wanted are there", len(found))
	}
	return s, lines.Err()
}
