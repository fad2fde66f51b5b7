package portfwd

import "sync/atomic"

// Stats are a Listener's counters since it was made. Those of the other
// protocol stay 0.
type Stats struct {
	// TCP.
	Connections uint64 // accepted, whatever became of them
	Active      int    // connected to the container now
	HalfOpen    int    // waiting for the container now
	Spliced     uint64 // of Connections, joined to the container inside the kernel
	Refused     uint64 // reset because the container refused
	TimedOut    uint64 // reset because the container did not answer
	Unreachable uint64 // reset for other reasons of the network

	AcceptErrors    uint64 // pauses for want of file descriptors or memory
	DropHalfOpen    uint64 // reset over ContainerLimits.HalfOpen or HalfOpenTotal
	DropConnections uint64 // reset over ContainerLimits.Connections or what the Budget leaves

	// UDP. Bytes are payload.
	Flows        int // now
	FlowsCreated uint64
	FlowsEvicted uint64 // gave their place to a newer one
	DatagramsIn  uint64 // to the container
	DatagramsOut uint64 // to clients
	BytesIn      uint64
	BytesOut     uint64

	DropSource   uint64 // no source to show, or a client that cannot be answered
	DropNotToUs  uint64 // broadcast and multicast
	DropIn       uint64 // the network refused it
	DropOut      uint64 // the host's socket refused it
	SocketErrors uint64 // reading failed
}

// counters is Stats as it is counted.
type counters struct {
	halfOpen, active                                       atomic.Int64
	connections, spliced, refused, timedOut, unreachable   atomic.Uint64
	acceptErrors, dropHalfOpen, dropConnections            atomic.Uint64
	flows                                                  atomic.Int64
	flowsCreated, flowsEvicted                             atomic.Uint64
	datagramsIn, datagramsOut, bytesIn, bytesOut           atomic.Uint64
	dropSource, dropNotToUs, dropIn, dropOut, socketErrors atomic.Uint64
}

// Stats reads the counters, each by itself.
func (l *Listener) Stats() Stats {
	c := &l.counters
	return Stats{
		Connections:     c.connections.Load(),
		Active:          int(c.active.Load()),
		HalfOpen:        int(c.halfOpen.Load()),
		Spliced:         c.spliced.Load(),
		Refused:         c.refused.Load(),
		TimedOut:        c.timedOut.Load(),
		Unreachable:     c.unreachable.Load(),
		AcceptErrors:    c.acceptErrors.Load(),
		DropHalfOpen:    c.dropHalfOpen.Load(),
		DropConnections: c.dropConnections.Load(),
		Flows:           int(c.flows.Load()),
		FlowsCreated:    c.flowsCreated.Load(),
		FlowsEvicted:    c.flowsEvicted.Load(),
		DatagramsIn:     c.datagramsIn.Load(),
		DatagramsOut:    c.datagramsOut.Load(),
		BytesIn:         c.bytesIn.Load(),
		BytesOut:        c.bytesOut.Load(),
		DropSource:      c.dropSource.Load(),
		DropNotToUs:     c.dropNotToUs.Load(),
		DropIn:          c.dropIn.Load(),
		DropOut:         c.dropOut.Load(),
		SocketErrors:    c.socketErrors.Load(),
	}
}
