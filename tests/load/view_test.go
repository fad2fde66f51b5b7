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

func TestADocumentIsFlattened(t *testing.T) {
	got := flatten(nil, "c", []any{map[string]any{"A": "x", "Counters": map[string]any{"n": 1}}, 2.0})
	if want := []string{"c[0].A = x", "c[1] = 2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
