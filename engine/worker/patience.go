package worker

import "time"

const (
	// defaultPatience bounds a request, and a start. Both take milliseconds; a machine
	// that swaps may take seconds. A worker that takes longer is taken for dead.
	defaultPatience = 10 * time.Second
	// patienceShare is how fast spent patience comes back: as this part of the time.
	// One that is always nearly too slow would otherwise hold everything up that asks
	// it, for ever.
	patienceShare = 4
	// swift costs no patience, and is what is always left: a worker that is brought up
	// gets thousands of requests.
	swift = 100 * time.Millisecond
)

// patience is with one worker, over all its requests. The Supervisor's lock guards it.
type patience struct {
	full, left time.Duration
	since      time.Time // when left was right
}

func newPatience(full time.Duration) patience {
	return patience{full: full, left: full, since: time.Now()}
}

// begin gives the time that a request may take which begins now.
func (p *patience) begin(now time.Time) time.Duration {
	p.left = min(p.left+now.Sub(p.since)/patienceShare, p.full)
	p.since = now
	return max(p.left, swift)
}

// end takes what the request has cost.
func (p *patience) end(now time.Time) {
	p.left -= max(now.Sub(p.since)-swift, 0)
	p.since = now
}
