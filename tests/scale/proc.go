package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process uses, as the kernel tells.
type Usage struct {
	PID      int
	Program  string // argv[0] without its folder
	PSS      int    // bytes, of which those shared with n others count 1/n
	RSS      int    // bytes
	FDs      int    // open; -1 where that is not to be seen
	Threads  int
	CPU      time.Duration // of its threads that live
	Children time.Duration // of its children that it has waited for
	Switches int           // times that its threads have slept or been made to wait
	Written  int           // bytes that it has written, also to what is in memory
}

// LookArgs name processes.
type LookArgs struct {
	PIDs     []int
	Programs []string // and all whose argv[0] is one of these
	Memory   bool     // PSS as well, which takes the kernel long
}

// Look tells what processes use. Those that end meanwhile are left out.
func (a *Actor) Look(args LookArgs, usages *[]Usage) error {
	pids := slices.Clone(args.PIDs)
	if len(args.Programs) > 0 {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return err
		}
		for _, e := range entries {
			if pid, err := strconv.Atoi(e.Name()); err == nil && slices.Contains(args.Programs, programOf(pid)) {
				pids = append(pids, pid)
			}
		}
	}
	for _, pid := range pids {
		u, err := lookAt(pid, args.Memory)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		*usages = append(*usages, u)
	}
	return nil
}

// programOf is the first word of a process's command line.
func programOf(pid int) string {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	name, _, _ := strings.Cut(string(b), "\x00")
	return filepath.Base(name)
}

func lookAt(pid int, memory bool) (Usage, error) {
	u := Usage{PID: pid, FDs: -1, Program: programOf(pid)}
	dir := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u, err
	}
	if u.Children, err = childrenTime(string(stat)); err != nil {
		return u, fmt.Errorf("%s/stat: %w", dir, err)
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return u, err
	}
	u.RSS = 1024 * field(string(status), "VmRSS:")
	u.Threads = field(string(status), "Threads:")
	if memory {
		rollup, err := os.ReadFile(dir + "/smaps_rollup")
		if err != nil {
			return u, err
		}
		u.PSS = 1024 * field(string(rollup), "Pss:")
	}
	if io, err := os.ReadFile(dir + "/io"); err == nil {
		u.Written = field(string(io), "wchar:")
	}
	tasks, err := os.ReadDir(dir + "/task")
	if err != nil {
		return u, err
	}
	for _, t := range tasks {
		status, err := os.ReadFile(dir + "/task/" + t.Name() + "/status")
		if err != nil {
			continue // a thread that ended
		}
		u.Switches += switches(string(status))
		schedule, err := os.ReadFile(dir + "/task/" + t.Name() + "/schedstat")
		if err != nil {
			continue
		}
		u.CPU += onProcessor(string(schedule))
	}
	if entries, err := os.ReadDir(dir + "/fd"); err == nil {
		u.FDs = len(entries)
	}
	return u, nil
}

// field finds a number in text of the form "Name:   123 kB".
func field(text, name string) int {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == name {
			n, _ := strconv.Atoi(words[1])
			return n
		}
	}
	return 0
}

// switches adds up those of a thread's status file.
func switches(status string) int {
	return field(status, "voluntary_ctxt_switches:") + field(status, "nonvoluntary_ctxt_switches:")
}

// onProcessor is the first number of a schedstat file.
func onProcessor(text string) time.Duration {
	first, _, _ := strings.Cut(text, " ")
	n, _ := strconv.ParseInt(first, 10, 64)
	return time.Duration(n)
}

// childrenTime is what a stat file says of the children that were waited for; in hundredths of a second, on every Linux
// that Go runs on.
func childrenTime(stat string) (time.Duration, error) {
	// The name, in parentheses, may hold anything; cutime and cstime are the 16th and 17th field.
	words := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(words) < 15 {
		return 0, fmt.Errorf("%d fields", len(words))
	}
	var sum time.Duration
	for _, word := range words[13:15] {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n) * time.Second / 100
	}
	return sum, nil
}
