package lifecycle

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	if *replayFlag != "" {
		tryEngine(t, 0, replay(t), true)
		return
	}
	begin := time.Now()
	goroutines, files := use()
	sequences := uint64((*opsFlag + *lengthFlag - 1) / *lengthFlag)
	var struck atomic.Int64
	var mu sync.Mutex
	answers := map[Kind]int{}
	try := func(s uint64, alone bool) {
		ops := Generate(s, *lengthFlag, engineMix)
		stage := tryEngine(t, s, ops, alone)
		struck.Add(int64(stage.strikes))
		mu.Lock()
		defer mu.Unlock()
		for k, n := range stage.done {
			answers[k] += n
		}
	}
	// Alone first, when what a sequence uses can be told.
	s := first
	for ; s < first+min(alone, sequences) && !t.Failed(); s++ {
		try(s, true)
	}
	// Most of the time is waiting for what is tried again.
	var all sync.WaitGroup
	next := make(chan uint64)
	for range atOnce {
		all.Go(func() {
			for s := range next {
				try(s, false)
			}
		})
	}
	for ; s < first+sequences && !t.Failed(); s++ {
		next <- s
	}
	close(next)
	all.Wait()
	if g, f, ok := backTo(goroutines, files); !ok && !t.Failed() {
		t.Errorf("%d goroutines and %d descriptors, %d and %d at the start", g, f, goroutines, files)
	}
	t.Logf("%d operations in %d sequences, seeds %d to %d, %d of them with a fault, in %v",
		(s-first)*uint64(*lengthFlag), s-first, first, s-1, struck.Load(), time.Since(begin).Round(time.Millisecond))
	t.Logf("done and not refused: %v", answers)
}

const (
	// alone is how many sequences run one by one.
	alone = 6
	// atOnce is how many run at once then.
	atOnce = 24
)

// tryEngine runs a sequence and reports its failure; it returns its stage.
func tryEngine(t *testing.T, seed uint64, ops []Op, alone bool) *memory {
	s, f := onEngine(t, ops, alone)
	if f != nil {
		report(t, seed, ops, f, s.log.String(), func(ops []Op) (*Failure, string) {
			s, f := onEngine(t, ops, alone)
			return f, s.log.String()
		})
	}
	return s
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

func onEngine(t *testing.T, ops []Op, alone bool) (*memory, *Failure) {
	s, err := newMemory()
	if err != nil {
		return s, &Failure{Index: -1, Problems: []string{err.Error()}}
	}
	s.alone = alone
	defer s.Close()
	return s, Run(t.Context(), s, ops)
}

// shrinkTries bounds how often a failing sequence is run again.
const shrinkTries = 150

// report shrinks a failing sequence and fails the test with what is left.
func report(t *testing.T, seed uint64, ops []Op, f *Failure, lines string, again func([]Op) (*Failure, string)) {
	t.Helper()
	if f.Index >= 0 && f.Index < len(ops) {
		ops = ops[:f.Index+1]
	}
	whole := len(ops)
	last := f
	deadline := time.Now().Add(2 * time.Minute)
	ops = Shrink(ops, shrinkTries, func(candidate []Op) int {
		if time.Now().After(deadline) {
			return 0
		}
		g, log := again(candidate)
		if g == nil || !g.Alike(f) {
			return 0
		}
		last, lines = g, log
		return g.Index + 1
	})
	var text strings.Builder
	_ = writeOps(&text, ops) // to memory
	t.Errorf("seed %d: %v\n\nshrunk from %d operations to %d (-replay FILE with these lines does them again):\n%s\nwhich end with %v\n\nthe last lines of the log:\n%s",
		seed, f, whole, len(ops), text.String(), last, lines)
}

func ExampleOp() {
	fmt.Println(Op{Kind: Connect, C: 1, N: []int{2}, Fault: "attach", Nth: 1})
	// Output: {"op":"network connect","c":1,"n":[2],"fault":"attach","nth":1}
}
