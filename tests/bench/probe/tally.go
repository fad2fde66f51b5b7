package probe

import (
	"math"
	"math/bits"
	"time"
)

// Latencies are counted in buckets: powers of two, each divided into 64, so that a figure is at most 1.6 % too large.
const (
	subBits    = 6
	subBuckets = 1 << subBits
	buckets    = (64 - subBits + 1) * subBuckets
)

// tally is what one thread has counted.
type tally struct {
	ops, errors uint64
	sent        uint64 // of udpburst
	problem     error  // the first
	max         time.Duration
	counts      [buckets]uint32
}

func bucket(ns uint64) int {
	if ns < subBuckets {
		return int(ns)
	}
	shift := bits.Len64(ns) - subBits - 1
	return shift*subBuckets + int(ns>>shift)
}

// upper is the largest number of nanoseconds that a bucket counts.
func upper(bucket int) uint64 {
	if bucket < 2*subBuckets {
		return uint64(bucket)
	}
	shift := bucket/subBuckets - 1
	return uint64(bucket-shift*subBuckets+1)<<shift - 1
}

// done counts an operation.
func (t *tally) done(d time.Duration) {
	t.ops++
	t.max = max(t.max, d)
	t.counts[bucket(uint64(max(d, 0)))]++
}

// failed counts one that did not work.
func (t *tally) failed(err error) {
	t.errors++
	if t.problem == nil {
		t.problem = err
	}
}

// add counts in what another thread did.
func (t *tally) add(o *tally) {
	t.ops, t.errors, t.sent = t.ops+o.ops, t.errors+o.errors, t.sent+o.sent
	if t.problem == nil {
		t.problem = o.problem
	}
	t.max = max(t.max, o.max)
	for i, n := range o.counts {
		t.counts[i] += n
	}
}

// percentile is the latency that a part of all operations did not exceed.
func (t *tally) percentile(part float64) time.Duration {
	var all uint64
	for _, n := range t.counts {
		all += uint64(n)
	}
	rank := uint64(math.Ceil(part * float64(all)))
	var seen uint64
	for i, n := range t.counts {
		if seen += uint64(n); seen >= rank && seen > 0 {
			return min(time.Duration(upper(i)), t.max)
		}
	}
	return 0
}

// Result is the JSON object that a measurement ends with. Times are in microseconds.
type Result struct {
	Kind    string  `json:"kind"`
	Ops     uint64  `json:"ops"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate"` // operations a second
	P50     float64 `json:"p50_us"`
	P90     float64 `json:"p90_us"`
	P99     float64 `json:"p99_us"`
	Max     float64 `json:"max_us"`
	Errors  uint64  `json:"errors"`
	Sent    uint64  `json:"sent,omitempty"`  // by udpburst
	Problem string  `json:"error,omitempty"` // the first of the errors
}

func (t *tally) result(kind string, elapsed time.Duration) Result {
	micros := func(d time.Duration) float64 { return math.Round(float64(d)/100) / 10 }
	r := Result{
		Kind: kind, Ops: t.ops, Seconds: math.Round(elapsed.Seconds()*1000) / 1000, Errors: t.errors, Sent: t.sent,
		P50: micros(t.percentile(0.5)), P90: micros(t.percentile(0.9)), P99: micros(t.percentile(0.99)), Max: micros(t.max),
	}
	if elapsed > 0 {
		r.Rate = math.Round(float64(t.ops)/elapsed.Seconds()*10) / 10
	}
	if t.problem != nil {
		r.Problem = t.problem.Error()
	}
	return r
}
