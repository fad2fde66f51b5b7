package lifecycle

import (
	"slices"
	"testing"
)

// A failure that needs three operations out of many is shrunk to these three.
func TestShrinkFindsWhatIsNeeded(t *testing.T) {
	var ops []Op
	for i := range 200 {
		ops = append(ops, Op{Kind: Start, C: i, Fault: "attach", Nth: 1})
	}
	tries := 0
	fails := func(ops []Op) int {
		tries++
		needed := []int{17, 90, 151}
		for i, op := range ops {
			if len(needed) > 0 && op.C == needed[0] {
				needed = needed[1:]
			}
			if len(needed) == 0 {
				return i + 1
			}
		}
		return 0
	}
	got := Shrink(ops, 150, fails)
	if !slices.EqualFunc(got, []int{17, 90, 151}, func(op Op, c int) bool { return op.C == c && op.Fault == "" }) {
		t.Errorf("shrunk to %v", got)
	}
	tries = 0
	if Shrink(ops, 5, fails); tries > 5 {
		t.Errorf("%d tries", tries)
	}
}

// The same seed is the same operations.
func TestSequencesAreReplayable(t *testing.T) {
	a, b := Generate(7, 300, engineMix), Generate(7, 300, engineMix)
	if !slices.EqualFunc(a, b, func(a, b Op) bool { return a.String() == b.String() }) {
		t.Error("seed 7 gives two sequences")
	}
}
