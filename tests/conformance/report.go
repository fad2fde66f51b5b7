package main

import (
	"fmt"
	"slices"
	"time"
)

// report prints the table and judges.
type report struct {
	expected []*expectation
	minor    int  // of the API's version of the Docker compared with
	all      bool // every scenario was put: what was expected and not seen is wrong

	same, known, failed int
}

// row prints one scenario.
func (r *report) row(sc scenario, differences []difference, took time.Duration) {
	var reasons []string
	var bad []difference
	for _, d := range differences {
		e := explain(r.expected, d, r.minor)
		if e == nil {
			bad = append(bad, d)
		} else if !slices.Contains(reasons, e.reason) {
			reasons = append(reasons, e.reason)
		}
	}
	switch {
	case len(bad) > 0:
		r.failed++
		fmt.Printf("%-64s %5.1fs DIFFERENT\n", sc.name, took.Seconds())
	case len(reasons) > 0:
		r.known++
		fmt.Printf("%-64s %5.1fs different: %s\n", sc.name, took.Seconds(), reasons[0])
	default:
		r.same++
		fmt.Printf("%-64s %5.1fs same\n", sc.name, took.Seconds())
		return
	}
	for i, reason := range reasons {
		if len(bad) > 0 || i > 0 {
			fmt.Printf("%-64s %6s different: %s\n", "", "", reason)
		}
	}
	if *verbose {
		for _, d := range differences {
			if !slices.Contains(bad, d) {
				fmt.Printf("      (%s)\n", d)
			}
		}
	}
	for _, d := range bad {
		fmt.Printf("   !! %s\n", d)
	}
}

// end prints the sum and returns the exit status.
func (r *report) end(took time.Duration) int {
	if r.all {
		for _, e := range r.expected {
			if e.holds(r.minor) && e.seen == 0 {
				r.failed++
				fmt.Printf("NOT DIFFERENT ANY MORE: differences.txt:%d: %s\n", e.lineRead, e.text)
			}
		}
	}
	fmt.Printf("\n%d scenarios the same, %d different for a reason, %d failures, in %v\n", r.same, r.known, r.failed, took.Round(time.Second))
	if r.failed > 0 {
		return 1
	}
	return 0
}
