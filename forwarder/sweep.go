package forwarder

import "time"

// Timeouts of UDP mappings and pings without traffic: those of Linux'
// connection tracking (nf_conntrack_udp_timeout, _stream, icmp_timeout), which
// containers of Docker meet.
const (
	udpTimeout = 30 * time.Second // a question, and an answer at most
	// udpStreamTimeout is for conversations: there was more than one answer. RFC 4787
	// 4.3 asks for two minutes at least; QUIC and WireGuard keep themselves alive
	// every 15 to 25 s.
	udpStreamTimeout = 120 * time.Second
	echoTimeout      = 30 * time.Second
)

// dnsTimeout is for sockets that have sent to port 53 only. Resolvers take a new one
// for each question, so that a busy one has hundreds that nobody uses any more;
// each is a descriptor and a port of the host. Ten seconds are twice what the
// C library waits for an answer (resolv.conf(5), timeout:5) before it asks again,
// and with that begins anew.
const dnsTimeout = 10 * time.Second

// dnsPort is where name servers listen.
const dnsPort = 53

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
	f.expire(f.now())
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed && len(f.mappings)+len(f.pings) > 0 {
		f.arm()
	}
}

// sweepBatch is how many flows are looked at with the lock held, some 20
// microseconds: a full table takes milliseconds.
const sweepBatch = 256

// expire drops what has been silent for too long. Flows may come and go while
// it looks.
func (f *Forwarder) expire(now time.Time) {
	var ended []closer
	f.mu.Lock()
	n := 0
	pause := func() {
		if n++; n%sweepBatch == 0 {
			f.mu.Unlock()
			f.end(ended)
			ended = ended[:0]
			f.yield()
			f.mu.Lock()
		}
	}
	for k, m := range f.mappings {
		if now.After(m.deadline()) {
			ended = append(ended, f.dropMapping(k, m))
		}
		pause()
	}
	for k, p := range f.pings {
		if now.After(p.deadline()) {
			ended = append(ended, f.dropPing(k, p))
		}
		pause()
	}
	f.mu.Unlock()
	f.end(ended)
}

// closer is a flow that has left its table.
type closer interface{ close() }

// endBatch is how many sockets are closed before others run: some 100
// microseconds.
const endBatch = 16

// end closes flows, without any lock: closing a socket takes microseconds.
func (f *Forwarder) end(flows []closer) {
	for i, c := range flows {
		c.close()
		if i%endBatch == endBatch-1 {
			f.yield()
		}
	}
}
