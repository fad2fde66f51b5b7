package load

import (
	"slices"
	"testing"
)

func TestDifferences(t *testing.T) {
	got := Differences([]string{"a", "b", "b", "c"}, []string{"b", "a", "d"})
	if want := []string{"+d", "-b", "-c"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Differences([]string{"a", "b"}, []string{"b", "a"}); len(got) != 0 {
		t.Errorf("another order makes the differences %v", got)
	}
}
