package stack

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// How long a flow to another network lasts without a packet.
const (
	// flowNew is for a TCP connection that has not been answered, or has ended in
	// both directions: Linux' nf_conntrack_tcp_timeout_syn_sent and _time_wait.
	flowNew = 120 * time.Second
	// flowTCP is for one that is open (RFC 5382 REQ-5 asks for no less).
	flowTCP = 2*time.Hour + 4*time.Minute
	// Those of Linux for datagrams, and for pings.
	flowUDP       = 30 * time.Second
	flowUDPStream = 120 * time.Second
	flowEcho      = 30 * time.Second
)

// flowSweep is how often flows are looked at that may be over, and sweepBatch how many
// with the lock held, some 20 microseconds.
const (
	flowSweep  = 10 * time.Second
	sweepBatch = 256
)

// flowKey is a flow as the one sees it who began it. Pings have their identifier as from's
// port, and 0 as to's.
type flowKey struct {
	from, to netip.AddrPort
	proto    uint8
}

func (k flowKey) reversed() flowKey { return flowKey{from: k.to, to: k.from, proto: k.proto} }

// packetKind is what a packet is to its flow.
type packetKind uint8

const (
	kindOpen  packetKind = iota // a TCP segment that asks for a connection
	kindTCP                     // one in the midst of it
	kindFIN                     // the last in its direction
	kindRST                     // the last in both
	kindUDP                     // a datagram
	kindEcho                    // a ping
	kindReply                   // an answer to one
	kindError                   // an ICMP error about a packet of the other direction
)

// flowOf reads to which flow a packet belongs, whose transport header begins t, and as
// what. ok is false for packets that do not cross.
func flowOf(ip *packet.IP, t []byte) (k flowKey, kind packetKind, ok bool) {
	switch ip.Proto {
	case packet.ProtoTCP, packet.ProtoUDP:
		k = portsOf(ip.Src, ip.Dst, ip.Proto, t)
		if ip.Proto == packet.ProtoUDP {
			return k, kindUDP, true
		}
		return k, segmentKind(t), true
	case packet.ProtoICMP, packet.ProtoICMPv6:
		if (ip.Proto == packet.ProtoICMP) != ip.Src.Is4() {
			return k, kind, false
		}
	default:
		return k, kind, false
	}
	if src, dst, isError := packet.QuotedBy(t, ip); isError {
		if src != ip.Dst {
			return k, kind, false
		}
		proto, quoted, ok := quotedTransport(t[packet.ICMPLen:], ip.Src.Is4())
		if !ok || len(quoted) < packet.UDPLen {
			return k, kind, false
		}
		switch proto {
		case packet.ProtoTCP, packet.ProtoUDP:
			return portsOf(src, dst, proto, quoted).reversed(), kindError, true
		case ip.Proto:
			k, _, ok = echoOf(src, dst, proto, quoted)
			return k.reversed(), kindError, ok
		}
		return k, kind, false
	}
	return echoOf(ip.Src, ip.Dst, ip.Proto, t)
}

func portsOf(src, dst netip.Addr, proto uint8, t []byte) flowKey {
	return flowKey{
		from: netip.AddrPortFrom(src, binary.BigEndian.Uint16(t)),
		to:   netip.AddrPortFrom(dst, binary.BigEndian.Uint16(t[2:])), proto: proto,
	}
}

func segmentKind(t []byte) packetKind {
	const flags, fin, rst = 13, 0x01, 0x04
	switch f := t[flags]; {
	case f&rst != 0:
		return kindRST
	case isSYN(t):
		return kindOpen
	case f&fin != 0:
		return kindFIN
	}
	return kindTCP
}

func echoOf(src, dst netip.Addr, proto uint8, t []byte) (k flowKey, kind packetKind, ok bool) {
	request, reply := byte(packet.ICMPEchoRequest), byte(packet.ICMPEchoReply)
	if proto == packet.ProtoICMPv6 {
		request, reply = packet.ICMPv6EchoRequest, packet.ICMPv6EchoReply
	}
	id := binary.BigEndian.Uint16(t[4:])
	switch t[0] {
	case request:
		return flowKey{netip.AddrPortFrom(src, id), netip.AddrPortFrom(dst, 0), proto}, kindEcho, true
	case reply:
		return flowKey{netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, id), proto}, kindReply, true
	}
	return k, kind, false
}

// flow is one that another network's port from has begun.
type flow struct {
	from, to *Port
	last     atomic.Int64 // Unix nanoseconds
	state    atomic.Uint32
}

// Bits of a flow's state.
const (
	flowAnswered = 1 << iota
	flowEnded    // by whom it was begun
	flowEndedTo  // by the other
	flowReset
)

// timeout is how long the flow lasts from its last packet on.
func (f *flow) timeout(proto uint8) time.Duration {
	s := f.state.Load()
	switch {
	case proto == packet.ProtoTCP && (s&flowAnswered == 0 || s&flowReset != 0 || s&flowEnded != 0 && s&flowEndedTo != 0):
		return flowNew
	case proto == packet.ProtoTCP:
		return flowTCP
	case proto != packet.ProtoUDP:
		return flowEcho
	case s&flowAnswered != 0:
		return flowUDPStream
	}
	return flowUDP
}

// note keeps what a packet says of its flow.
func (f *flow) note(kind packetKind, end uint32) {
	f.last.Store(time.Now().UnixNano())
	switch kind {
	case kindFIN:
		f.state.Or(end)
	case kindRST:
		f.state.Or(flowReset)
	}
}

// answered notes the first packet that comes back.
func (f *flow) answered(proto uint8) {
	if f.state.Load()&flowAnswered != 0 {
		return
	}
	if f.state.Or(flowAnswered)&flowAnswered == 0 && proto == packet.ProtoTCP {
		f.from.crossing.half.Add(-1)
	}
}

// crossings count a port's flows to other networks.
type crossings struct{ tcp, half, udp, echo atomic.Int32 }

func (c *crossings) read() (tcp, udp, echo int) {
	return int(c.tcp.Load()), int(c.udp.Load()), int(c.echo.Load())
}

// take counts one more flow, if the limits allow it.
func (c *crossings) take(proto uint8, l Limits) bool {
	take := func(n *atomic.Int32, limit int) bool {
		if int(n.Add(1)) <= limit {
			return true
		}
		n.Add(-1)
		return false
	}
	switch proto {
	case packet.ProtoTCP:
		if !take(&c.half, l.CrossHalfOpen) {
			return false
		}
		if !take(&c.tcp, l.CrossTCP) {
			c.half.Add(-1)
			return false
		}
		return true
	case packet.ProtoUDP:
		return take(&c.udp, l.CrossUDP)
	}
	return take(&c.echo, l.CrossEcho)
}

func (c *crossings) give(proto uint8, f *flow) {
	switch proto {
	case packet.ProtoTCP:
		c.tcp.Add(-1)
		if f.state.Or(flowAnswered)&flowAnswered == 0 {
			c.half.Add(-1)
		}
	case packet.ProtoUDP:
		c.udp.Add(-1)
	default:
		c.echo.Add(-1)
	}
}

// crossed are the flows that came to a network from others. Two networks share it that
// have such flows, and only while they do.
type crossed struct {
	net *Network

	mu     sync.RWMutex
	flows  map[flowKey]*flow
	timer  *time.Timer
	closed bool
}

// find gives the flow between two ports, and nil for one of ports that have closed: others
// have their addresses now.
func (c *crossed) find(k flowKey, from, to *Port) *flow {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if f := c.flows[k]; f != nil && f.from == from && f.to == to {
		return f
	}
	return nil
}

// answers reports whether a packet of to's belongs to a flow that from has begun.
func (c *crossed) answers(k flowKey, kind packetKind, from, to *Port) bool {
	if kind == kindOpen || kind == kindEcho {
		return false
	}
	f := c.find(k, from, to)
	if f == nil {
		return false
	}
	if kind != kindError {
		f.note(kind, flowEndedTo)
		f.answered(k.proto)
	}
	return true
}

// goesOn reports whether a packet of from's is about a flow that it has begun.
func (c *crossed) goesOn(k flowKey, from, to *Port) bool { return c.find(k, from, to) != nil }

// begins takes a packet of from's. going is false if it belongs to no flow and begins
// none.
func (c *crossed) begins(k flowKey, kind packetKind, from, to *Port) (reason DropReason, going bool) {
	if f := c.find(k, from, to); f != nil && (kind != kindOpen || f.state.Load()&^flowAnswered == 0) {
		f.note(kind, flowEnded)
		return DropNone, true
	}
	if kind != kindOpen && kind != kindUDP && kind != kindEcho {
		return DropNone, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return DropUnknown, true
	}
	if old := c.flows[k]; old != nil { // over, or of ports that were here before
		c.drop(k, old)
	}
	if !from.crossing.take(k.proto, from.limits) {
		return DropFlows, true
	}
	f := &flow{from: from, to: to}
	f.last.Store(time.Now().UnixNano())
	if c.flows == nil {
		c.flows = map[flowKey]*flow{}
	}
	c.flows[k] = f
	if len(c.flows) == 1 {
		c.arm()
	}
	return DropNone, true
}

// drop takes a flow out of the table; c.mu is held.
func (c *crossed) drop(k flowKey, f *flow) {
	delete(c.flows, k)
	f.from.crossing.give(k.proto, f)
}

// arm sets the timer; c.mu is held.
func (c *crossed) arm() {
	if c.timer == nil {
		c.timer = time.AfterFunc(flowSweep, c.sweep)
		return
	}
	c.timer.Reset(flowSweep)
}

func (c *crossed) sweep() {
	c.expire(time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && len(c.flows) > 0 {
		c.arm()
	}
}

// expire drops flows that were silent for too long, and those of ports that have closed.
// Flows may come and go while it looks.
func (c *crossed) expire(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for k, f := range c.flows {
		if f.from.closed.Load() || f.to.closed.Load() || now.UnixNano()-f.last.Load() >= int64(f.timeout(k.proto)) {
			c.drop(k, f)
		}
		if n++; n%sweepBatch == 0 {
			c.mu.Unlock()
			c.net.turns.yield()
			c.mu.Lock()
		}
	}
}

// close ends all flows. No more come.
func (c *crossed) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	for k, f := range c.flows {
		c.drop(k, f)
	}
}
