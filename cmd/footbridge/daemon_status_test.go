package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/internal/sandbox"
)

func TestStatusShowsTheWorker(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	held := api.Sandbox{NoNewPrivs: true, Seccomp: sandbox.SeccompFilter, Landlock: 7}
	running := api.WorkerStatus{ProcessStatus: api.ProcessStatus{PID: 8, StartedAt: now.Add(-3 * time.Minute)}, Sandbox: held}
	again := running
	again.Restarts, again.LastExit = 2, "ended by signal 9\n(SIGKILL)"
	for name, test := range map[string]struct {
		keeper int
		worker api.WorkerStatus
		want   []string
		not    string
	}{
		"one that runs":         {7, running, []string{"Worker: pid 8, 3 minutes, never restarted", "Sandbox: no_new_privs, no capabilities, seccomp filter, Landlock ABI 7"}, "Last worker"},
		"one after another":     {7, again, []string{"restarted 2 times", "Last worker: ended by signal 9 (SIGKILL)"}, "none runs"},
		"none":                  {7, api.WorkerStatus{LastExit: "killed", Restarts: 1}, []string{"Worker: none runs, restarted once", "Last worker: killed"}, "Sandbox"},
		"a version without one": {0, api.WorkerStatus{}, []string{"Daemon: running, pid 7"}, "Worker"},
	} {
		var out bytes.Buffer
		s := api.Status{PID: 7, Worker: test.worker}
		s.Keeper.PID = test.keeper
		if err := printStatus(&out, s, now); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for line := range strings.Lines(out.String()) {
			lines = append(lines, oneLine(line))
		}
		text := strings.Join(lines, "\n")
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in:\n%s", name, want, text)
			}
		}
		if strings.Contains(text, test.not) {
			t.Errorf("%s: %q is in:\n%s", name, test.not, text)
		}
	}
}
