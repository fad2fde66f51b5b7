package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ticksPerSecond is the unit of /proc/stat: USER_HZ, 100 on every architecture that Go knows.
const ticksPerSecond = 100

// busy returns the seconds that all processors of the machine together have worked since it started.
//
// The whole machine, because that alone is the same for all: a kernel bridge works in soft interrupts and on its callers'
// account, slirp4netns in its own process, a splice nearly nowhere. The price is that whatever else runs is counted,
// and that the programs at both ends are, which are the same for all.
func busy() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("reading how long the processors have worked: %w", err)
	}
	return parseBusy(string(text))
}

// parseBusy adds up the first line of /proc/stat, without what was spent waiting (proc_stat(5)).
func parseBusy(text string) (float64, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q, not with a line of all processors", line)
	}
	const idle, iowait, steal = 4, 5, 8
	ticks := 0
	for i, field := range fields[1:] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		// What follows steal is time of guests, which is in the user's already.
		if i+1 != idle && i+1 != iowait && i+1 < steal {
			ticks += n
		}
	}
	return float64(ticks) / ticksPerSecond, nil
}

// parseSwitches sums up how often the threads of a process have given up the processor, from their /proc/PID/task/*/status
// one after the other.
func parseSwitches(statuses string) (int, error) {
	sum := 0
	for line := range strings.Lines(statuses) {
		name, value, _ := strings.Cut(line, ":")
		if name != "voluntary_ctxt_switches" {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil {
			return 0, fmt.Errorf("%q: %w", line, err)
		}
		sum += n
	}
	return sum, nil
}
