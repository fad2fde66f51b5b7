package main

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func series(n int, value func(i int) float64) []point {
	points := make([]point, n)
	for i := range points {
		points[i] = point{time.Duration(i) * time.Second, value(i)}
	}
	return points
}

func TestSlopeFindsALeakBehindAGarbageCollector(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	// What a collector leaves of a few MiB; over a hundred samples it may pass for a growth of 2 MB, and no more.
	saw := func(i int) float64 { return float64(i%17)*4e5 + r.Float64()*1e6 }
	if got := slope(series(100, saw)); math.Abs(got) > 2e4 {
		t.Errorf("a heap that only breathes grows by %.0f bytes a second", got)
	}
	if got := slope(series(100, func(i int) float64 { return saw(i) + 8e4*float64(i) })); math.Abs(got-8e4) > 2e4 {
		t.Errorf("a leak of 80000 bytes a second is taken for %.0f", got)
	}
	spikes := func(i int) float64 {
		if i > 80 && i < 95 {
			return 1e9
		}
		return saw(i)
	}
	if got := slope(series(100, spikes)); math.Abs(got) > 6e4 {
		t.Errorf("a spike is taken for growth of %.0f bytes a second", got)
	}
	if got := slope(nil); got != 0 {
		t.Errorf("nothing grows by %.0f", got)
	}
}

func TestWhatIsKeptIsTold(t *testing.T) {
	before := sample{files: 5, processes: 3}
	if got := kept(before, sample{files: 5, processes: 2}); len(got) != 0 {
		t.Errorf("less than before is called kept: %v", got)
	}
	if got := kept(before, sample{files: 6, processes: 3}); len(got) != 1 {
		t.Errorf("one file more: %v", got)
	}
}
