package main

import (
	"fmt"
	"slices"
	"time"
)

// row is what came of one fault.
type row struct {
	fault     fault
	tried     int
	disturbed int // rounds of which the times say nothing, because the machine itself stood still
	lost      []string
	recovered []time.Duration // of each round: until the slowest probe worked again, or the longest delay
}

// maxSentences bounds what is told of one fault: the first things are what the others follow from.
const maxSentences = 20

// lose writes down what was lost in this round.
func (r *row) lose(format string, args ...any) {
	if len(r.lost) < maxSentences {
		r.lost = append(r.lost, fmt.Sprintf("round %d: ", r.tried)+fmt.Sprintf(format, args...))
	}
}

// limit is what the times of the row are held to.
func (r *row) limit() time.Duration {
	if r.fault.unseen != nil {
		return r.fault.delay
	}
	return r.fault.limit()
}

// line is the row as it is printed.
func (r *row) line() string {
	verdict := "ok"
	if len(r.lost) > 0 {
		verdict = "LOST"
	}
	times := [4]string{"-", "-", "-", "-"}
	if len(r.recovered) > 0 {
		for i, d := range []time.Duration{percentile(r.recovered, 50), percentile(r.recovered, 99), slices.Max(r.recovered), r.limit()} {
			times[i] = d.Round(time.Millisecond).String()
		}
	}
	if r.disturbed > 0 {
		verdict += fmt.Sprintf(" (%d without times: the machine stood still)", r.disturbed)
	}
	return fmt.Sprintf("%-62s %6d %5d %9s %9s %9s %9s  %s", r.fault.name, r.tried, len(r.lost), times[0], times[1], times[2], times[3], verdict)
}

// percentile returns the smallest of the values that p of a hundred do not exceed.
func percentile(values []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
