//go:build race

package sandbox

import (
	"strings"
	"sync"
	"testing"
)

func init() { roles["race"] = raceRole }

var raced int

// raceRole has two goroutines write to one variable.
func raceRole([]string) error {
	if _, err := Enter(Options{}); err != nil {
		return err
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for range 1000 {
				raced++
			}
		})
	}
	both.Wait()
	return nil
}

// The race detector can say what it finds.
func TestARaceIsTold(t *testing.T) {
	cmd := child(t, true, "race")
	if out, ws := run(t, cmd); ws.ExitStatus() != 66 || !strings.Contains(out, "WARNING: DATA RACE") || !strings.Contains(out, "raceRole") {
		t.Errorf("it ended with %v (%s) and said %q", cmd.ProcessState, Explain(cmd.Process.Pid, ws), out)
	}
}
