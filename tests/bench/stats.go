package main

import "slices"

// summary is what several measurements of the same come to.
type summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// summarize returns the zero summary for no values.
func summarize(values []float64) summary {
	if len(values) == 0 {
		return summary{}
	}
	return summary{Median: median(values), Min: slices.Min(values), Max: slices.Max(values)}
}

// median of no values is 0.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// pairs divides what was measured in the same round, so that an hour in which the machine is slow counts for both.
// Rounds in which one of them is missing are left out.
func pairs(ours, theirs map[int]float64) []float64 {
	var ratios []float64
	for round, value := range ours {
		if other := theirs[round]; other > 0 {
			ratios = append(ratios, value/other)
		}
	}
	slices.Sort(ratios)
	return ratios
}
