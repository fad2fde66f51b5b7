package turn

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// busy works for d.
func busy(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

func TestOneWorksAtATime(t *testing.T) {
	var working, yields atomic.Int64
	turn := New(func() {
		yields.Add(1)
		if working.Load() != 0 {
			t.Error("somebody works while others have their turn")
		}
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 10 {
				start := turn.Begin()
				if working.Add(1) != 1 {
					t.Error("two work at once")
				}
				busy(Length / 10)
				working.Add(-1)
				turn.End(start)
			}
		})
	}
	all.Wait()
	if n := yields.Load(); n < 10 {
		t.Errorf("others had %d turns in 200 pieces of work, want every tenth", n)
	}
}

func TestPassYieldsAtOnce(t *testing.T) {
	n := 0
	turn := New(func() { n++ })
	turn.Begin()
	turn.Pass()
	turn.End(turn.Begin())
	if n != 1 {
		t.Errorf("others had %d turns, want 1", n)
	}
}

func BenchmarkTurn(b *testing.B) {
	turn := New(func() {})
	b.ReportAllocs()
	for b.Loop() {
		turn.End(turn.Begin())
	}
}
