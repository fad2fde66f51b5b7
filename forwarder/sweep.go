package forwarder

import "time"

// Timeouts of UDP mappings and pings without traffic: those of Linux'
// connection tracking (nf_conntrack_udp_timeout, _stream, icmp_timeout).
const (
	udpTimeout       = 30 * time.Second  // nothing has come back yet
	udpStreamTimeout = 120 * time.Second // both directions have been seen
	echoTimeout      = 30 * time.Second
)

// sweepEvery is how often timeouts are looked at: a flow may live that much
// longer.
const sweepEvery = 5 * time.Second

// arm starts the sweeper. The caller holds mu.
func (f *Forwarder) arm() {
	if f.sweeper == nil {
		f.sweeper = time.AfterFunc(sweepEvery, f.sweep)
		return
	}
	f.sweeper.Reset(sweepEvery)
}

func (f *Forwarder) sweep() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.expire(time.Now())
	if len(f.mappings)+len(f.pings) > 0 {
		f.arm()
	}
}

// expire drops what has been silent for too long. The caller holds mu.
func (f *Forwarder) expire(now time.Time) {
	for k, m := range f.mappings {
		if now.After(m.deadline()) {
			f.dropMapping(k, m)
		}
	}
	for k, p := range f.pings {
		if now.After(p.deadline()) {
			f.dropPing(k, p)
		}
	}
}
