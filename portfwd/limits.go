package portfwd

import "time"

// Limits bound what clients can make a Forwarder hold. Zero fields mean the
// defaults given here.
type Limits struct {
	// Container are those of each container that has none of its own; see
	// SetLimits.
	Container ContainerLimits
	// DialTimeout is how long a connection waits for the container: 10 s, in
	// which netstack sends its SYN four times (0, 1, 3, 7 s) on a link that
	// loses nothing; a container that has not answered by then will not.
	DialTimeout time.Duration
	// HalfOpenTotal is the number of connections that may wait for any
	// container: 1024, so that at least four hanging containers leave room for
	// the others. It is shared as package share says.
	HalfOpenTotal int
	// FlowsTotal is the number of UDP flows of the Forwarder: 65,536, about
	// 32 MiB. It is shared as package share says; who asks for more loses one of
	// his own.
	FlowsTotal int
	// FlowTimeout ends a UDP flow that only one side has sent on: 30 s, as
	// the kernel's conntrack (nf_conntrack_udp_timeout).
	FlowTimeout time.Duration
	// FlowTimeoutBoth ends a UDP flow that both sides have sent on: 120 s
	// (nf_conntrack_udp_timeout_stream).
	FlowTimeoutBoth time.Duration
}

// ContainerLimits bound what the clients of one container's published ports, all
// of them together, can make a Forwarder hold. Zero fields mean the defaults
// given here.
type ContainerLimits struct {
	// HalfOpen is the number of connections that may wait for the container:
	// 256. A container that works answers in less than a millisecond, so this
	// allows some 256,000 connections a second; one that hangs holds no more
	// than that for DialTimeout each.
	HalfOpen int
	// Connections is the number of TCP connections: 57,344, as many as a
	// container may have to the outside. On a usual machine the Budget gives
	// less.
	Connections int
	// Flows is the number of UDP flows: 16,384, about 8 MiB.
	Flows int
}

func (l Limits) withDefaults() Limits {
	l.Container = l.Container.or(ContainerLimits{HalfOpen: 256, Connections: 57344, Flows: 16384})
	def(&l.DialTimeout, 10*time.Second)
	def(&l.HalfOpenTotal, 1024)
	def(&l.FlowsTotal, 65536)
	def(&l.FlowTimeout, 30*time.Second)
	def(&l.FlowTimeoutBoth, 120*time.Second)
	return l
}

// or gives l with zero fields taken from d.
func (l ContainerLimits) or(d ContainerLimits) ContainerLimits {
	def(&l.HalfOpen, d.HalfOpen)
	def(&l.Connections, d.Connections)
	def(&l.Flows, d.Flows)
	return l
}

func def[T int | time.Duration](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}
