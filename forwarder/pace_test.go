package forwarder

import (
	"testing"
	"time"
)

func TestWarningsArePaced(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	for i, c := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {0, false}, {warnEvery - 1, false}, {warnEvery, true}, {warnEvery + 1, false}} {
		if got := p.take(now.Add(c.after), warnEvery, 1); got != c.want {
			t.Errorf("event %d, after %v: %v, want %v", i, c.after, got, c.want)
		}
	}
}

func TestABurstIsPaidForLater(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	taken := func(at time.Duration) (n int) {
		for p.take(now.Add(at), measureEvery, measureBurst) {
			n++
		}
		return n
	}
	if n := taken(0); n != measureBurst {
		t.Errorf("%d at once, want %d", n, measureBurst)
	}
	if n := taken(10 * measureEvery); n != 10 {
		t.Errorf("%d after ten times, want 10", n)
	}
}
