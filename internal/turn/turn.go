package turn

import (
	"sync"
	"time"
)

// Length is how long a container's goroutines together may work before everybody
// else who is ready gets a turn. It bounds what one container adds to another's
// latency; to yield costs some 3 us.
const Length = 100 * time.Microsecond

// Turn is one container's.
type Turn struct {
	yield func()

	mu    sync.Mutex
	spent time.Duration // since the last yield
}

// New makes a Turn. yield lets everybody else run who is ready.
func New(yield func()) *Turn { return &Turn{yield: yield} }

// Begin waits until it is the caller's turn. What it gives is for End.
func (t *Turn) Begin() (start time.Time) {
	t.mu.Lock()
	return time.Now()
}

// Rested is called between Begin and End by whoever has just been woken by the poller,
// and has waited for it: all others who were ready have been woken, too.
func (t *Turn) Rested() { t.spent = 0 }

// End ends what Begin began.
func (t *Turn) End(start time.Time) {
	t.spent += time.Since(start)
	if t.spent >= Length {
		t.pass()
	}
	t.mu.Unlock()
}

// Pass is End for whoever has made others ready that have work to do for the
// same container: they have their turn first.
func (t *Turn) Pass() {
	t.pass()
	t.mu.Unlock()
}

// pass lets others run while nobody else of the container is ready. t.mu is held.
func (t *Turn) pass() {
	t.spent = 0
	t.yield()
}
