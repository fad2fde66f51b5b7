package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/footbridge-net/footbridge/engine"
)

// lostDaemon returns the pid of the daemon that has the state folder and that nobody can reach: somebody has removed its
// runtime folder. 0 if there is none.
func lostDaemon(d dirs) int {
	h := engine.StateHolder(d.state, socketFile)
	if !h.Lost || !isDaemon(h.PID) {
		return 0
	}
	return h.PID
}

// isDaemon reports whether a process is this user's, and calls itself what a daemon does, whatever its file is called.
func isDaemon(pid int) bool {
	process := fmt.Sprintf("/proc/%d/", pid)
	if _, err := os.Readlink(process + "exe"); err != nil { // another user's
		return false
	}
	name, err := os.ReadFile(process + "comm")
	return err == nil && strings.TrimSpace(string(name)) == daemonName
}

// heldElsewhere returns why no daemon can be started in a runtime folder that has never had one: the state's has another.
// It is asked before anything is made there. One that starts or ends is waited for by the daemon that is started, and one
// that does not answer as long as a daemon waits for another in its own folder.
func heldElsewhere(d dirs) error {
	if _, err := os.Lstat(d.lock()); err == nil {
		return nil
	}
	if other := engine.RecordedRuntimeDir(d.state); other == "" || other == d.runtime {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	h := engine.StateHolder(d.state, socketFile)
	if !h.Lost && !h.Answers(ctx) {
		return nil
	}
	return fmt.Errorf("%w: state folder %s: %w", errStart, d.state, h.Explain(d.runtime))
}
