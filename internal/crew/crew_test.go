package crew

import (
	"runtime"
	"sync"
	"testing"
)

func TestEachFunctionRunsOnceAndBesideTheOthers(t *testing.T) {
	const all = 10 * Idle
	var mu sync.Mutex
	ran := make(map[int]int)
	var together, done sync.WaitGroup
	together.Add(all)
	for i := range all {
		done.Add(1)
		Go(func() {
			defer done.Done()
			together.Done()
			together.Wait() // nobody waits for another's end
			mu.Lock()
			defer mu.Unlock()
			ran[i]++
		})
	}
	done.Wait()
	for i := range all {
		if ran[i] != 1 {
			t.Fatalf("function %d ran %d times", i, ran[i])
		}
	}
	for runtime.NumGoroutine() > Idle+10 {
		runtime.Gosched()
	}
}

func TestAnIdleGoroutineIsUsedAgain(t *testing.T) {
	ran := make(chan struct{})
	for range 1000 {
		Go(func() { ran <- struct{}{} })
		<-ran
	}
	if n := idle.Load(); n > Idle {
		t.Errorf("%d are idle, at most %d should be", n, Idle)
	}
	if n := runtime.NumGoroutine(); n > Idle+10 {
		t.Errorf("%d goroutines after a thousand functions one after the other", n)
	}
}

// A short connection pays for its stack once.
func deep(n int) byte {
	var b [512]byte
	if n > 0 {
		b[n] = deep(n - 1)
	}
	return b[n]
}

func BenchmarkGo(b *testing.B) {
	done := make(chan struct{})
	f := func() { deep(12); done <- struct{}{} }
	b.Run("crew", func(b *testing.B) {
		for b.Loop() {
			Go(f)
			<-done
		}
	})
	b.Run("go", func(b *testing.B) {
		for b.Loop() {
			go f()
			<-done
		}
	})
}
