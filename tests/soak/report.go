package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/footbridge-net/footbridge/tests/world"
)

// How much memory may seem to grow, over the samples that count and from one idle measurement to the other. Go's
// collector lets a heap double before it works, and keeps what it has got for a while, so a process with a live heap of
// 10 MiB swings by 8 without a leak. A leak of 16 KiB in each round of churn is more than this after ten minutes.
const (
	growthBytes = 8 << 20
	growthShare = 0.25 // of the median
)

// settled is the part of the samples that does not count: heaps and tables still reach their size.
const settled = 1.0 / 3

// report prints the table and what failed, and returns the exit status.
func (s *soak) report() int {
	if len(s.samples) > 0 && len(s.failures) == 0 {
		for _, line := range kept(s.baseline, s.final) {
			s.fail("kept after everything was removed: %s", line)
		}
	}
	fmt.Printf("\n%-20s %12s %12s %12s %12s %16s\n", "", "idle before", "median", "highest", "idle after", "growth in run")
	for column := 1; column < len(columns); column++ {
		s.printColumn(column)
	}
	fmt.Println()
	for i, churn := range churns {
		fmt.Printf("%d rounds of %s\n", s.cycles[i], churn.name)
	}
	for _, kind := range slices.Sorted(maps.Keys(s.attempts)) {
		if n := s.attempts[kind]; n > 0 {
			fmt.Printf("%d %s\n", n, kind)
		}
	}
	if len(s.failures) == 0 {
		fmt.Println("\nNothing failed, nothing was kept.")
		return 0
	}
	fmt.Println()
	for _, failure := range s.failures {
		fmt.Println("FAILED:", failure)
	}
	log := s.stage.World.Run(world.Host, "sh", "-c", "tail -n 60 $XDG_RUNTIME_DIR/footbridge/daemon.log").Stdout
	fmt.Fprintf(os.Stderr, "\nwhat the daemon says:\n%s", log)
	return 1
}

func (s *soak) printColumn(column int) {
	name := columns[column]
	var values []float64
	var points []point
	for i, sample := range s.samples {
		value := float64(sample.values()[column])
		values = append(values, value)
		if float64(i) >= settled*float64(len(s.samples)) {
			points = append(points, point{sample.at, value})
		}
	}
	if len(points) == 0 {
		return
	}
	middle := median(values)
	growth := slope(points) * (points[len(points)-1].at - points[0].at).Seconds()
	show := func(v float64) string { return fmt.Sprintf("%.0f", v) }
	before, after := float64(s.baseline.values()[column]), float64(s.final.values()[column])
	if memory := strings.HasSuffix(name, "_rss"); memory {
		show = func(v float64) string { return fmt.Sprintf("%.1f MiB", v/(1<<20)) }
		limit := max(growthBytes, growthShare*middle)
		if growth > limit {
			s.fail("%s grew by %s over the samples, more than %s", name, show(growth), show(limit))
		}
		if after-before > limit {
			s.fail("%s is %s after everything was removed and was %s before, more than %s over", name, show(after), show(before), show(limit))
		}
	}
	fmt.Printf("%-20s %12s %12s %12s %12s %16s\n", name, show(before), show(middle),
		show(slices.Max(values)), show(after), show(growth))
}
