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
		if got := p.take(now.Add(c.after)); got != c.want {
			t.Errorf("event %d, after %v: %v, want %v", i, c.after, got, c.want)
		}
	}
}
