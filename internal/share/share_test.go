package share

import (
	"sync"
	"testing"
)

func TestEachLeavesSomeForOthers(t *testing.T) {
	p := New(8000)
	held := make([]int, 50)
	for i := range held {
		for p.Take(held[i]) {
			held[i]++
		}
	}
	// 7000 are for everybody.
	if held[0] != 3500 || held[1] != 1750 || held[2] != 875 {
		t.Errorf("taken one after the other: %v", held)
	}
	for i, n := range held {
		if n < few {
			t.Errorf("number %d has %d after greedy ones, want %d", i, n, few)
		}
	}
}

func TestASmallPoolIsDividedToo(t *testing.T) {
	p := New(12)
	held := make([]int, 6)
	for i := range held {
		for p.Take(held[i]) {
			held[i]++
		}
	}
	for i, want := range []int{6, 3, 2, 1, 0, 0} {
		if held[i] != want {
			t.Fatalf("taken one after the other: %v", held)
		}
	}
	p.Give()
	if !p.Take(0) || p.Take(0) {
		t.Error("one was given back, so one more has room")
	}
}

// Under the race detector.
func TestNeverMoreThanThereAre(t *testing.T) {
	p := New(10)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if p.Take(0) {
					if n := p.Used(); n > 10 {
						t.Errorf("%d are used", n)
					}
					p.Give()
				}
			}
		})
	}
	all.Wait()
	if p.Used() != 0 {
		t.Errorf("%d are used at the end", p.Used())
	}
}

func TestWhatIsGivenBackIsToldOfBySoMany(t *testing.T) {
	told := 0
	OnReturn(3, func() { told++ })
	defer OnReturn(0, nil)
	p, q := New(10), New(10)
	for range 4 {
		if !p.Take(0) || !q.Take(0) {
			t.Fatal("nothing to give")
		}
		p.Give()
		q.Give()
	}
	if told != 2 {
		t.Errorf("told %d times of 8 by threes", told)
	}
	OnReturn(0, nil)
	p.Give()
	if told != 2 {
		t.Error("told when nobody listens")
	}
}

func TestAProcessHasOpenFiles(t *testing.T) {
	if n := OpenFiles(); n < 3 || n > 1<<20 {
		t.Errorf("%d", n)
	}
}
