package worker

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/share"
)

const (
	// quiet is how long the worker must have had next to nothing to do before it gives memory back: bursts that
	// follow each other should find what they need.
	quiet = 3 * time.Second
	// busy is the part of a processor above which it is not quiet.
	busy = 0.02
	// worth is how much more memory than after the last time it must have: a collection costs some milliseconds.
	worth = 4 << 20
	// many flows that have ended since the last collection are worth one, too. They leave some 25 KiB each, and their
	// end needs so little memory that none may come for minutes.
	many = 256
)

// calm gives memory back to the machine when a burst is over. Go's runtime alone collects what the last connections have left
// after two minutes at the latest, and returns pages by and by: 20 s after the end of 2,000 connections 60 MiB were still
// there. With this, 2 MiB are after 3 to 6 s.
//
//	collection --> sentinel --> timer: quiet? worth it? --> collect, return pages
//	     ^              |-- is made anew             '--no--> later, or at the next collection
//	many flows ended ---'
//
// Without a burst there is neither, so nothing ticks in a worker without traffic.
//
// # Concurrency
//
// The sentinel is told of by the runtime's own goroutine, the end of flows by theirs, the timer has another; mu guards
// what they share.
type calm struct {
	quiet time.Duration
	ended atomic.Bool // many flows have, since the last time

	mu      sync.Mutex
	timer   *time.Timer
	armed   bool          // timer
	number  int           // of the sentinel that counts
	used    time.Duration // of processors, when timer was set
	floor   uint64        // what the heap had after the last time, in bytes
	emptied int           // times that memory was given back
}

// keepCalm begins to watch; there is no end but the process's.
func keepCalm(quiet time.Duration) *calm {
	c := &calm{quiet: quiet, floor: heap()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(time.Hour, c.look)
	c.timer.Stop()
	c.watch()
	share.OnReturn(many, c.flowsEnded)
	return c
}

// flowsEnded is called when many have, by one of them, which has no time for a collection that is under way: whoever
// makes it looks again.
func (c *calm) flowsEnded() {
	c.ended.Store(true)
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	if !c.armed {
		c.wait()
	}
}

// watch makes a sentinel: nobody holds it, so the next collection finds it. mu is held.
func (c *calm) watch() {
	c.number++
	// Large enough not to share its memory with anything that lives.
	sentinel := new([64]byte)
	runtime.AddCleanup(sentinel, c.collected, c.number)
}

// collected is called after a collection.
func (c *calm) collected(number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if number != c.number {
		return
	}
	c.watch()
	if !c.armed && (c.ended.Load() || heap() > c.floor+worth) {
		c.wait()
	}
}

// wait sets the timer. mu is held.
func (c *calm) wait() {
	c.armed, c.used = true, processorTime()
	c.timer.Reset(c.quiet)
}

// look gives memory back if it has been quiet.
func (c *calm) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if processorTime()-c.used > time.Duration(busy*float64(c.quiet)) {
		c.wait()
		return
	}
	c.armed = false
	if !c.ended.Swap(false) && heap() <= c.floor+worth {
		return
	}
	c.number++ // of the collections that follow nobody is to be told
	// Pools give up what they have at the second one.
	runtime.GC()
	debug.FreeOSMemory()
	c.floor = heap()
	c.emptied++
	c.watch()
	if c.ended.Load() {
		c.wait()
	}
}

// heap is what Go's heap and stacks have of the machine's memory, in bytes.
func heap() uint64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
	}
	metrics.Read(samples)
	var sum uint64
	for _, s := range samples {
		sum += s.Value.Uint64()
	}
	return sum
}

// processorTime is what this process has had of all processors.
func processorTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) != nil {
		return 0 // then it is always quiet
	}
	return time.Duration(t.Nano())
}
