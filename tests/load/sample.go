package load

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sample is what a process uses, as the kernel tells.
type Sample struct {
	PID     int
	RSS     uint64 // bytes
	Threads int
	FDs     int           // -1: the process does not let itself be looked into
	Files   []string      // what they are, sorted, without numbers
	CPU     time.Duration // user and system, since its start; the kernel counts in hundredths of a second
}

// userHZ is the unit of CPU times in /proc: the same on every Linux that Go runs on.
const userHZ = 100

// numbers are what tells one socket, pipe or process from another.
var numbers = regexp.MustCompile(`\d+`)

func sampleProcess(pid int) (Sample, error) {
	s := Sample{PID: pid, FDs: -1}
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "VmRSS:":
			kb, err := strconv.ParseUint(fields[1], 10, 64)
			if err != nil {
				return s, fmt.Errorf("%s/status: %w", dir, err)
			}
			s.RSS = kb << 10
		case "Threads:":
			if s.Threads, err = strconv.Atoi(fields[1]); err != nil {
				return s, fmt.Errorf("%s/status: %w", dir, err)
			}
		}
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return s, err
	}
	// The name, in parentheses, may hold anything; utime and stime are the 14th and 15th field.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return s, fmt.Errorf("%s/stat has %d fields", dir, len(fields))
	}
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return s, fmt.Errorf("%s/stat: %w", dir, err)
		}
		s.CPU += time.Duration(ticks) * time.Second / userHZ
	}
	if entries, err := os.ReadDir(dir + "/fd"); err == nil {
		s.FDs = len(entries)
		for _, e := range entries {
			if target, err := os.Readlink(dir + "/fd/" + e.Name()); err == nil {
				s.Files = append(s.Files, numbers.ReplaceAllString(target, "N"))
			}
		}
		slices.Sort(s.Files)
	}
	return s, nil
}
