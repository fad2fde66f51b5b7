package worker

import (
	"testing"
	"time"
)

func TestPatienceIsSpentAndComesBack(t *testing.T) {
	now := time.Now()
	p := patience{full: 10 * time.Second, left: 10 * time.Second, since: now}
	request := func(takes time.Duration) time.Duration {
		may := p.begin(now)
		now = now.Add(takes)
		p.end(now)
		return may
	}
	for range 10_000 {
		if may := request(50 * time.Millisecond); may != 10*time.Second {
			t.Fatalf("quick ones cost: %v", may)
		}
	}
	request(6100 * time.Millisecond)
	if may := request(4 * time.Second); may != 4*time.Second {
		t.Errorf("%v", may)
	}
	if may := request(swift); may != swift {
		t.Errorf("what is left at the end: %v", may)
	}
	now = now.Add(12 * time.Second)
	if may := p.begin(now); may < 3*time.Second || may > 3200*time.Millisecond {
		t.Errorf("a quarter of 12 s: %v", may)
	}
	now = now.Add(time.Hour)
	if may := p.begin(now); may != 10*time.Second {
		t.Errorf("after an hour: %v", may)
	}
}
