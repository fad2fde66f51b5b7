package lifecycle

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// seedVariable is the seed, where it cannot be given as a flag.
const seedVariable = "FOOTBRIDGE_LIFECYCLE_SEED"

var (
	seedFlag   = flag.Uint64("seed", 0, "seed of the operations, to do those of an earlier run again; 0 takes a fixed one, and "+seedVariable+" stands for it")
	opsFlag    = flag.Int("ops", 10000, "operations on the engine")
	lengthFlag = flag.Int("length", 250, "operations of one sequence; each begins with a fresh install")
	replayFlag = flag.String("replay", "", "file with a sequence, as a failure prints it, to run instead")
)

// seed is the run's first seed.
func seed(t *testing.T) uint64 {
	t.Helper()
	if *seedFlag != 0 {
		return *seedFlag
	}
	if text := os.Getenv(seedVariable); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
		return n
	}
	return 1
}

var engineMix = Mix{Faults: steps, FaultEvery: 4}

// Whatever is asked for, whatever fails meanwhile, and wherever the daemon is killed, the engine's state is that of the
// model, and nothing is left of anything.
func TestEngineAgreesWithTheModel(t *testing.T) {
	first := seed(t)
	begin := time.Now()
	done, sequences := 0, 0
	for s := first; done < *opsFlag; s++ {
		ops := Generate(s, min(*lengthFlag, *opsFlag-done), engineMix)
		if *replayFlag != "" {
			ops = replay(t)
		}
		if f := onEngine(t, ops); f != nil {
			report(t, s, ops, f, func(ops []Op) *Failure { return onEngine(t, ops) })
		}
		done += len(ops)
		sequences++
		if *replayFlag != "" {
			break
		}
	}
	t.Logf("%d operations in %d sequences, seeds %d to %d, in %v", done, sequences, first, first+uint64(sequences)-1, time.Since(begin).Round(time.Millisecond))
}

func replay(t *testing.T) []Op {
	f, err := os.Open(*replayFlag)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ops, err := readOps(f)
	if err != nil {
		t.Fatal(err)
	}
	return ops
}

var lastLog string

func onEngine(t *testing.T, ops []Op) *Failure {
	s := newMemory(t)
	defer s.Close()
	f := Run(context.Background(), s, ops)
	if f != nil {
		lastLog = s.log.String()
	}
	return f
}

// shrinkTries bounds how often a failing sequence is run again.
const shrinkTries = 150

// report shrinks a failing sequence and fails the test with what is left.
func report(t *testing.T, seed uint64, ops []Op, f *Failure, again func([]Op) *Failure) {
	t.Helper()
	if f.Index >= 0 && f.Index < len(ops) {
		ops = ops[:f.Index+1]
	}
	whole := len(ops)
	last, lines := f, lastLog
	deadline := time.Now().Add(2 * time.Minute)
	ops = Shrink(ops, shrinkTries, func(candidate []Op) int {
		if time.Now().After(deadline) {
			return 0
		}
		g := again(candidate)
		if g == nil || !g.Alike(f) {
			return 0
		}
		last, lines = g, lastLog
		return g.Index + 1
	})
	var text strings.Builder
	if err := writeOps(&text, ops); err != nil {
		t.Fatal(err)
	}
	t.Fatalf("seed %d: %v\n\nshrunk from %d operations to %d (-replay FILE with these lines does them again):\n%s\nwhich end with %v\n\nthe last lines of the log:\n%s",
		seed, f, whole, len(ops), text.String(), last, lines)
}

func ExampleOp() {
	fmt.Println(Op{Kind: Connect, C: 1, N: []int{2}, Fault: "attach", Nth: 1})
	// Output: {"op":"network connect","c":1,"n":[2],"fault":"attach","nth":1}
}
