package main

import (
	"slices"
	"testing"
)

func TestMedianOfAnEvenNumberIsBetweenTheMiddleTwo(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{7}, 7}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 100, 2}, 3}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.values, got, c.want)
		}
	}
	if got := summarize([]float64{3, 1, 2}); got != (summary{Median: 2, Min: 1, Max: 3}) {
		t.Errorf("summary of 3, 1, 2: %+v", got)
	}
	if got := summarize(nil); got != (summary{}) {
		t.Errorf("summary of nothing: %+v", got)
	}
}

func TestOnlyMeasurementsOfTheSameRoundArePairs(t *testing.T) {
	ours := map[int]float64{0: 10, 1: 30, 2: 8}
	theirs := map[int]float64{0: 5, 2: 16, 3: 1}
	if got := pairs(ours, theirs); !slices.Equal(got, []float64{0.5, 2}) {
		t.Errorf("pairs are %v, want 0.5 and 2", got)
	}
	if got := pairs(ours, map[int]float64{0: 0}); len(got) != 0 {
		t.Errorf("divided by nothing: %v", got)
	}
}
