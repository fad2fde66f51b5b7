package portfwd

import "time"

// Limits bound what clients can make a Forwarder hold. Zero fields mean the
// defaults given here.
type Limits struct {
	// DialTimeout is how long a connection waits for the container: 10 s, in
	// which netstack sends its SYN four times (0, 1, 3, 7 s) on a link that
	// loses nothing; a container that has not answered by then will not.
	DialTimeout time.Duration
	// HalfOpen is the number of connections of one listener that may wait for
	// the container: 256. A container that works answers in less than a
	// millisecond, so this allows some 256,000 connections a second; one that
	// hangs holds no more than that for DialTimeout each.
	HalfOpen int
	// HalfOpenTotal is the same for all listeners of the Forwarder: 1024, so
	// that at least four hanging containers leave room for the others.
	HalfOpenTotal int
	// Flows is the number of UDP flows of one listener: 16,384, about 8 MiB.
	Flows int
	// FlowsTotal is the number of UDP flows of the Forwarder: 65,536.
	FlowsTotal int
	// FlowTimeout ends a UDP flow that only one side has sent on: 30 s, as
	// the kernel's conntrack (nf_conntrack_udp_timeout).
	FlowTimeout time.Duration
	// FlowTimeoutBoth ends a UDP flow that both sides have sent on: 120 s
	// (nf_conntrack_udp_timeout_stream).
	FlowTimeoutBoth time.Duration
}

func (l Limits) withDefaults() Limits {
	def(&l.DialTimeout, 10*time.Second)
	def(&l.HalfOpen, 256)
	def(&l.HalfOpenTotal, 1024)
	def(&l.Flows, 16384)
	def(&l.FlowsTotal, 65536)
	def(&l.FlowTimeout, 30*time.Second)
	def(&l.FlowTimeoutBoth, 120*time.Second)
	return l
}

func def[T int | time.Duration](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}
