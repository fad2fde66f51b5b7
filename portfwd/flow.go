package portfwd

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/footbridge-net/footbridge/internal/dgram"
	"github.com/footbridge-net/footbridge/internal/nowait"
)

// A UDP flow is in two tables: its listener's, by what a client's datagram
// looks like, and the forwarder's, by what the container's answer looks like.
//
//	client 198.51.100.7:4000 -> host 192.0.2.2:8000       flowKey{client, 192.0.2.2}
//	shown  198.51.100.7:4000 -> container 10.0.0.2:80     replyKey{10.0.0.2:80, shown}
//
// The host's address is part of the first because a client may use several of
// them from one socket and expects each to answer for itself.

type flowKey struct {
	client  netip.AddrPort // without zone
	local   netip.Addr
	ifindex uint32 // tells link-local clients apart, else 0
}

type replyKey struct{ container, shown netip.AddrPort }

type flow struct {
	server    *udpServer
	container *container
	key       flowKey
	reply     replyKey

	// How to reach the client, and the local address to answer from; written once.
	name   nowait.Address
	source dgram.Source

	last atomic.Int64 // clock.now of the last datagram, either way
	both atomic.Bool  // the container has answered
}

// deadline is when the flow ends if nothing more comes.
func (fl *flow) deadline() time.Duration {
	l := &fl.server.l.forwarder.limits
	timeout := l.FlowTimeout
	if fl.both.Load() {
		timeout = l.FlowTimeoutBoth
	}
	return time.Duration(fl.last.Load()) + timeout
}

// Ports for clients whose own cannot be shown: Linux's default
// net.ipv4.ip_local_port_range, far from the gateway's own services.
const (
	firstShown = 32768
	lastShown  = 60999
)

// shownTries bounds the search for a free port. With every second one taken,
// all tries miss once in 2^64.
const shownTries = 64

// newFlow makes and enters a flow for a client. It is nil if the server is
// closing or there is no source to show.
func (f *Forwarder) newFlow(s *udpServer, key flowKey) *flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.stopped.Load() {
		return nil
	}
	reply, ok := f.chooseShown(key.client, s.l.mapping.Container)
	if !ok {
		return nil
	}
	c := f.enterFlow(s)
	if c == nil {
		return nil
	}
	fl := &flow{server: s, key: key, reply: reply, container: c}
	fl.address()
	fl.last.Store(int64(f.clock.now()))
	s.flows[key] = fl
	f.replies[reply] = fl
	f.flowsNow.Store(int64(len(f.replies)))
	s.l.counters.flows.Add(1)
	s.l.counters.flowsCreated.Add(1)
	f.sweepBy(fl.deadline())
	return fl
}

// enterFlow counts a flow of s in. If there is no room it takes the place of one
// that has little time left: of the same port if it has any, else of the same
// container, and of another only for a container that has none. f.mu is held.
func (f *Forwarder) enterFlow(s *udpServer) *container {
	to := s.l.mapping.Container.Addr()
	c, ok := f.containers.enterFlow(to)
	if ok {
		return c
	}
	var old *flow
	switch {
	case len(s.flows) > 0:
		old = leastLeft(s.flows, nil)
	case c.flows > 0:
		old = leastLeft(f.replies, c)
	default:
		old = leastLeft(f.replies, nil)
	}
	if old != nil {
		// One's own, or that of a container that has more: either way it has no room.
		f.containers.refuse(old.container, overFlows)
		f.evict(old)
		if c, ok = f.containers.enterFlow(to); ok {
			return c
		}
	}
	f.containers.refuse(c, overFlows)
	return nil
}

// chooseShown finds a source for the container to answer to that no other flow
// has. f.mu is held.
func (f *Forwarder) chooseShown(client, container netip.AddrPort) (replyKey, bool) {
	src, own, ok := f.choose(client, container.Addr())
	if !ok {
		return replyKey{}, false
	}
	key := replyKey{container, src}
	if own && f.replies[key] == nil {
		return key, true
	}
	for range shownTries {
		port := firstShown + rand.N(lastShown-firstShown+1)
		key.shown = netip.AddrPortFrom(src.Addr(), uint16(port))
		if f.replies[key] == nil {
			return key, true
		}
	}
	return replyKey{}, false
}

// evictSample is how many flows are compared when one has to go. Of 16 taken
// at random the one with the least time left is among the last quarter of the
// table in 99 cases of 100 (1 - (3/4)^16), and keeping the order of all of them
// would cost every datagram a lock.
const evictSample = 16

// evictScan bounds the search for flows of one container: it has a share of the
// table that is worth a fight.
const evictScan = 64 * evictSample

// leastLeft picks a flow that has little time left, of container c if that is not
// nil. It is nil if none was found.
func leastLeft[K comparable](m map[K]*flow, c *container) *flow {
	var least *flow
	n, scanned := 0, 0
	for _, fl := range m { // starts anywhere
		if scanned++; scanned > evictScan {
			break
		}
		if c != nil && fl.container != c {
			continue
		}
		if least == nil || fl.deadline() < least.deadline() {
			least = fl
		}
		if n++; n == evictSample {
			break
		}
	}
	return least
}

// evict makes room. f.mu is held.
func (f *Forwarder) evict(fl *flow) {
	fl.server.l.counters.flowsEvicted.Add(1)
	f.remove(fl)
}

// remove takes a flow out of both tables. f.mu is held.
func (f *Forwarder) remove(fl *flow) {
	delete(fl.server.flows, fl.key)
	delete(f.replies, fl.reply)
	f.flowsNow.Store(int64(len(f.replies)))
	fl.server.l.counters.flows.Add(-1)
	f.containers.leaveFlow(fl.container)
}

// removeAll ends all flows of a server and says that there will be no more.
// When it returns nothing uses the server's socket to answer clients.
func (f *Forwarder) removeAll(s *udpServer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.stopped.Store(true)
	for _, fl := range s.flows {
		f.remove(fl)
	}
	if len(f.replies) == 0 {
		f.stopSweep()
	}
}

// sweepMin bounds how often flows are looked at, sweepBatch for how many the
// lock is held (some 20 microseconds).
const (
	sweepMin   = time.Second
	sweepBatch = 512
)

// sweeper is when old flows are looked at. Forwarder.mu guards it.
type sweeper struct {
	timer   stopper       // nil while none is set
	at      time.Duration // the earliest end of a flow that is known, 0 for none
	number  uint64        // of the timer: one that was stopped too late is told by it
	running bool          // at is noted, the timer is set when the sweep ends
}

// sweepBy makes sure that flows are looked at when at has come. f.mu is held.
func (f *Forwarder) sweepBy(at time.Duration) {
	s := &f.sweep
	if s.at != 0 && s.at <= at {
		return
	}
	s.at = at
	if s.running {
		return
	}
	f.stopSweep()
	s.at = at
	n := s.number
	s.timer = f.clock.after(max(at-f.clock.now(), sweepMin), func() { f.sweepFlows(n) })
}

func (f *Forwarder) stopSweep() {
	s := &f.sweep
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.at = 0
	s.number++
}

// sweepFlows removes the flows whose time is over and sets the time of the
// next sweep to the earliest end of those that stay. A full table takes
// milliseconds to search, so the lock is given up now and then for new flows
// (and for the readers that queue behind them).
func (f *Forwarder) sweepFlows(number uint64) {
	s := &f.sweep
	f.mu.Lock()
	if s.number != number {
		f.mu.Unlock()
		return
	}
	s.timer, s.at, s.running = nil, 0, true
	f.mu.Unlock()

	old, next := f.findOld(f.clock.now())

	now := f.clock.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fl := range old {
		if f.replies[fl.reply] != fl {
			continue
		}
		if end := fl.deadline(); end > now { // used meanwhile
			next = earlier(next, end)
			continue
		}
		f.remove(fl)
	}
	next = earlier(next, s.at) // of flows made meanwhile
	s.running, s.at = false, 0
	if len(f.replies) > 0 && next != 0 {
		f.sweepBy(next)
	}
}

// findOld gives the flows that have ended by now and the earliest end of the
// others, 0 if there are none. Flows may come and go while it looks.
func (f *Forwarder) findOld(now time.Duration) (old []*flow, next time.Duration) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n := 0
	for _, fl := range f.replies {
		if n++; n%sweepBatch == 0 {
			f.mu.RUnlock()
			f.mu.RLock()
		}
		if end := fl.deadline(); end <= now {
			old = append(old, fl)
		} else {
			next = earlier(next, end)
		}
	}
	return old, next
}

// earlier is the lesser of two times, of which 0 is none.
func earlier(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
