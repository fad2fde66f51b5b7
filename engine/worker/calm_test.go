package worker

import (
	"runtime"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/share"
)

// awaitCalm looks until a condition holds.
func awaitCalm(t *testing.T, c *calm, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		ok := holds()
		c.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s; the heap has %d KiB, at the last time %d, given back %d times", what, heap()>>10, c.floor>>10, c.emptied)
		}
	}
}

// burst is memory that was used and is not any more.
func burst(size int) {
	var all [][]byte
	for range size >> 16 {
		all = append(all, make([]byte, 1<<16))
	}
	runtime.GC() // as happens in a burst
	runtime.KeepAlive(all)
}

// given reports whether memory was given back for the n-th time, or there is nothing to give: Go's own scavenger may have
// been faster. c.mu is held.
func given(c *calm, n int) bool {
	return !c.armed && (c.emptied >= n || heap() <= c.floor+worth)
}

func TestMemoryIsGivenBackAfterABurst(t *testing.T) {
	runtime.GC()
	before := heap()
	c := keepCalm(20 * time.Millisecond)
	for i := range 3 {
		burst(64 << 20)
		awaitCalm(t, c, "memory to be given back", func() bool { return given(c, i+1) && heap() < before+16<<20 })
	}
}

func TestACollectionWithoutABurstGivesNothingBack(t *testing.T) {
	c := keepCalm(time.Millisecond)
	c.mu.Lock()
	c.floor += 64 << 20
	first := c.number
	c.mu.Unlock()
	runtime.GC()
	awaitCalm(t, c, "the next sentinel", func() bool { return c.number > first })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed || c.emptied > 0 {
		t.Errorf("waits: %v, given back %d times", c.armed, c.emptied)
	}
}

func TestABusyWorkerKeepsItsMemory(t *testing.T) {
	c := keepCalm(20 * time.Millisecond)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				runtime.Gosched()
			}
		}
	}()
	burst(64 << 20)
	awaitCalm(t, c, "the timer", func() bool { return c.armed })
	for begin := time.Now(); time.Since(begin) < 200*time.Millisecond; runtime.Gosched() {
		c.mu.Lock()
		emptied := c.emptied
		c.mu.Unlock()
		if emptied > 0 {
			t.Fatalf("memory was given back %v after a burst of a worker that is busy", time.Since(begin))
		}
	}
	close(stop)
	<-done
	awaitCalm(t, c, "memory to be given back", func() bool { return given(c, 1) })
}

// What flows leave at their end is given back, though nothing else happens.
func TestMemoryIsGivenBackWhenManyFlowsHaveEnded(t *testing.T) {
	defer share.OnReturn(0, nil)
	runtime.GC()
	before := heap()
	flows := make([]byte, 64<<20)
	for i := range flows {
		flows[i] = 1
	}
	c := keepCalm(20 * time.Millisecond) // knows the memory of the flows for what is needed
	runtime.KeepAlive(flows)
	p := share.New(2 * many)
	for range many {
		if !p.Take(0) {
			t.Fatal("no flow")
		}
		p.Give()
	}
	awaitCalm(t, c, "memory to be given back", func() bool { return given(c, 1) && heap() < before+16<<20 })
}
