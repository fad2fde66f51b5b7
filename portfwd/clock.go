package portfwd

import "time"

// clock is the time of UDP flows; tests have one that they turn by hand.
type clock interface {
	// now is monotonic and starts anywhere.
	now() time.Duration
	// after calls f once on a goroutine of its own.
	after(d time.Duration, f func()) stopper
}

type stopper interface{ Stop() bool }

type systemClock struct{ start time.Time }

func newSystemClock() systemClock { return systemClock{start: time.Now()} }

func (c systemClock) now() time.Duration { return time.Since(c.start) }

func (c systemClock) after(d time.Duration, f func()) stopper { return time.AfterFunc(d, f) }
