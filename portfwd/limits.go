package portfwd

import (
	"syscall"
	"time"
)

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
	// Connections is the number of connections on all Forwarders that share a
	// Registry: half of the process's limit of open files when it is first
	// needed. The other half stays for TAPs, outgoing flows and names, which
	// clients from outside must not be able to use up. One container gets as
	// many as are left, so half if it is alone, and never takes the last ones.
	Connections int
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
	if l.Connections <= 0 {
		l.Connections = openFiles() / 2
	}
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

// openFiles is the process's limit of open files (the Go runtime has raised the
// soft limit to the hard one at start).
func openFiles() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 1024 // POSIX's usual soft limit
	}
	return int(min(r.Cur, 1<<20)) // "unlimited" is not a number to reckon with
}
