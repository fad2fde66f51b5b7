package lifecycle

import (
	"flag"
	"os"
	"testing"
	"time"
)

var realFlag = flag.Int("real", 90, "operations on the binary")

// What a real daemon is asked for: no ports of somebody else, which this stage has no means for.
var daemonMix = func() Mix {
	w := map[Kind]int{}
	for k, n := range often {
		w[k] = n
	}
	w[HostBind], w[HostFree], w[Worker], w[Reopen] = 0, 0, 8, 6
	faults := map[Kind][]string{}
	for _, k := range []Kind{NetCreate, NetRemove, Create, Start, Stop, Kill, Restart, Remove, Connect, Disconnect, Rename} {
		faults[k] = []string{killKeeper}
	}
	return Mix{Faults: faults, FaultEvery: 16, Deadly: true, Weights: w}
}()

// The same with the binary and real containers, whose processes are killed as well: shims, the worker, the keeper.
func TestDaemonAgreesWithTheModel(t *testing.T) {
	first := seed(t)
	begin := time.Now()
	d := newDaemon(t)
	ops := Generate(first, *realFlag, daemonMix)
	if *replayFlag != "" {
		ops = replay(t)
	}
	// What is used after a first time is what may be used after every time.
	warm := min(len(ops), 40)
	for i, part := range [][]Op{ops[:warm], ops} {
		if f := Run(t.Context(), d, part); f != nil {
			log, _ := os.ReadFile(d.log.Name())
			t.Fatalf("seed %d, -real %d: %v\n\nthe daemon's log:\n%s", first, *realFlag, f, log[max(0, len(log)-4000):])
		}
		if i > 0 {
			if bad := d.Grown(t.Context()); len(bad) > 0 {
				t.Errorf("seed %d: after everything was removed: %v", first, bad)
			}
		} else if err := d.Mark(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d operations, seed %d, in %v", warm+len(ops), first, time.Since(begin).Round(time.Millisecond))
}
