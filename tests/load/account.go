package load

import (
	"slices"
	"sync"
	"time"
)

const (
	// gapLimit is how long a stream may stand still without that being written down: on a busy machine 20 ms pass
	// between two turns of a process.
	gapLimit = 50 * time.Millisecond
	// memory is how long an attempt is remembered: longer than any round of faults takes.
	memory = time.Minute
	// batch is how many attempts are forgotten at once: the others have to be moved.
	batch = 4096
)

// account is what one job writes down.
type account struct {
	mu       sync.Mutex
	attempts []Attempt // those from first on are remembered
	first    uint64    // number of the first one that is
	gaps     []Gap
	breaks   []Break
	corrupt  string
	bytes    uint64
	failed   uint64
	latest   string // problem of the latest that failed
	longest  time.Duration
	progress time.Duration // a stream's last byte
}

// begin writes an attempt down and returns its number.
func (a *account) begin(now time.Duration) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.attempts) > batch && a.attempts[batch].Begin < now-memory {
		a.attempts = slices.Delete(a.attempts, 0, batch)
		a.first += batch
	}
	a.attempts = append(a.attempts, Attempt{Begin: now})
	return a.first + uint64(len(a.attempts)) - 1
}

// end writes down how an attempt ended, unless it has ended already. It says whether it had not.
func (a *account) end(number uint64, now time.Duration, problem string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if number < a.first || number >= a.first+uint64(len(a.attempts)) {
		return false
	}
	attempt := &a.attempts[number-a.first]
	if attempt.End != 0 {
		return false
	}
	attempt.End, attempt.Problem = now, problem
	a.longest = max(a.longest, now-attempt.Begin)
	if problem != "" {
		a.failed++
		a.latest = problem
	}
	return true
}

// read writes down that a stream went on.
func (a *account) read(now time.Duration, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bytes += uint64(n)
	a.stand(now)
	a.progress = now
}

// stand closes a gap. The caller holds mu.
func (a *account) stand(now time.Duration) {
	if a.progress == 0 || now-a.progress < gapLimit {
		return
	}
	a.gaps = append(a.gaps, Gap{a.progress, now})
	for len(a.gaps) > 0 && a.gaps[0].End < now-memory {
		a.gaps = a.gaps[1:]
	}
}

// broke writes down that a stream ended.
func (a *account) broke(now time.Duration, problem string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.breaks = append(a.breaks, Break{now, problem})
	a.stand(now)
	a.progress = now // an end is one, too: it does not hang
}

func (a *account) spoiled(problem string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.corrupt == "" {
		a.corrupt = problem
	}
}

func (a *account) report(j Job, from time.Duration) Report {
	now := Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	r := Report{Job: j, Corrupt: a.corrupt, Bytes: a.bytes, Progress: a.progress, Total: a.first + uint64(len(a.attempts)), Failed: a.failed, Latest: a.latest, Longest: a.longest}
	for _, attempt := range a.attempts {
		if attempt.Begin >= from {
			r.Attempts = append(r.Attempts, attempt)
		}
	}
	for _, g := range a.gaps {
		if g.End >= from {
			r.Gaps = append(r.Gaps, g)
		}
	}
	if a.progress != 0 && now-a.progress >= gapLimit {
		r.Gaps = append(r.Gaps, Gap{a.progress, now})
	}
	for _, b := range a.breaks {
		if b.At >= from {
			r.Breaks = append(r.Breaks, b)
		}
	}
	return r
}
