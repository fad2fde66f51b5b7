package main

import (
	"slices"
	"time"
)

// point is a value at a time.
type point struct {
	at    time.Duration
	value float64
}

// slope is the Theil-Sen estimate of how much a value grows in a second: the median of the slopes between all pairs of
// points. Up to 29 of a hundred points may be anything at all without changing it much, such as what a garbage
// collection happens to leave.
func slope(points []point) float64 {
	var slopes []float64
	for i, p := range points {
		for _, q := range points[i+1:] {
			if q.at > p.at {
				slopes = append(slopes, (q.value-p.value)/(q.at-p.at).Seconds())
			}
		}
	}
	return median(slopes)
}

func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
