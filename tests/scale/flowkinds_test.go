package main

import (
	"slices"
	"testing"

	"github.com/footbridge-net/footbridge/internal/share"
)

func TestFlowsAreFilledUpByKinds(t *testing.T) {
	for _, c := range []struct {
		name     string
		most     []int
		wanted   int
		counts   []int
		together int
	}{
		{"a usual limit of open files", []int{156416, 208555, 1747620}, 20000, []int{20000, 2000, 2000}, 24000},
		{"one of 20,000", []int{5965, 7954, 66660}, 20000, []int{5900, 7900, 6200}, 20000},
		{"of 1,024", []int{305, 407, 3410}, 20000, []int{300, 400, 3400}, 4100},
		{"the short form", []int{5965, 7954, 66660}, 2000, []int{2000, 200, 200}, 2400},
		{"what is no multiple", []int{5965, 7954, 66660}, 1, []int{1000, 100, 100}, 1200},
	} {
		var kinds []*flowKind
		for _, n := range c.most {
			kinds = append(kinds, &flowKind{most: n})
		}
		sum := fill(kinds, c.wanted, 100)
		var counts []int
		for _, k := range kinds {
			counts = append(counts, k.count)
		}
		if !slices.Equal(counts, c.counts) || sum != c.together {
			t.Errorf("%s: %v, together %d, want %v, %d", c.name, counts, sum, c.counts, c.together)
		}
	}
}

// What is reckoned with is what a pool gives.
func TestGreedyOwnersGetTheirParts(t *testing.T) {
	for _, limit := range []int{7500, 10000, 196608} {
		const owners = 10
		p := share.New(limit)
		for i := 0; p.Take(i / owners); i++ { // in turns
		}
		if got, want := p.Used(), greedy(limit, owners); got < want || got > want+owners {
			t.Errorf("%d owners get %d of %d, want %d", owners, got, limit, want)
		}
	}
}
