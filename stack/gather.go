package stack

import (
	"sync"

	"github.com/footbridge-net/footbridge/internal/dgram"
	"github.com/footbridge-net/footbridge/internal/packet"
)

// gather puts together what a container sends one by one: datagrams of one flow and size
// that its reader finds one behind the other, as if the container's kernel had done so.
//
//	frames:    A1  A2 A3 A4  B1   A5 A6 (no more)
//	handed on: A1  A2+A3+A4  B1   A5 A6            each + saves a call, and the receiver a wake-up
//
// A send costs the worker several times what a read does, and a send of several hardly more
// than one. Nothing waits for what may come: the first of a row is handed on at once, and what
// is held goes before the reader sleeps, ends its turn, or hands on another datagram.
//
// It belongs to the reader of one queue.
type gather struct {
	// last is the datagram before, with 0 bytes at the beginning of a row. Its slices are not kept.
	last packet.Datagram
	size int // bytes of last
	// held is what is to be handed on; its slices are in room.
	held packet.Datagram
	used int // bytes of room
	room *gatherRoom
	give func(packet.Datagram)
}

// gatherRoom has the first packet, with headers and options, and the payloads behind it: what one
// packet may have, and so one call of a socket takes.
type gatherRoom [65535]byte

var gatherRooms = sync.Pool{New: func() any { return new(gatherRoom) }}

// put hands d on to give, now or together with others. d's slices are not kept.
func (g *gather) put(d packet.Datagram, give func(packet.Datagram)) {
	n := len(d.Payload)
	row := d.SegmentSize == 0 && n > 0 && n <= g.size && sameFlow(&d, &g.last) && endsPacket(&d)
	if g.room != nil {
		if row && g.used+n <= len(g.room) {
			g.used += copy(g.room[g.used:], d.Payload)
			first := len(g.held.IP)
			g.held.Payload = g.room[first-g.size : g.used]
			g.held.SegmentSize = g.size
			if n < g.size || len(g.held.Payload) > (dgram.Together-1)*g.size {
				g.flush()
			}
			return
		}
		g.flush()
	}
	if row && n == g.size {
		g.hold(d, give)
		return
	}
	g.last, g.size = d, n
	g.last.Payload, g.last.IP = nil, nil
	if d.SegmentSize != 0 {
		g.size = 0
	}
	give(d)
}

// hold keeps d, the first of several.
func (g *gather) hold(d packet.Datagram, give func(packet.Datagram)) {
	g.room = gatherRooms.Get().(*gatherRoom)
	head := len(d.IP) - len(d.Payload)
	g.used = copy(g.room[:], d.IP)
	g.held, g.give = d, give
	g.held.IP = g.room[:g.used]
	g.held.Payload = g.room[head:g.used]
}

// sameFlow reports whether two datagrams may be sent by one call.
func sameFlow(a, b *packet.Datagram) bool {
	return a.Src == b.Src && a.Dst == b.Dst && a.TTL == b.TTL && a.TOS == b.TOS && a.DontFragment == b.DontFragment
}

// endsPacket reports whether nothing is behind the payload, which is not empty, in its packet.
func endsPacket(d *packet.Datagram) bool {
	return &d.Payload[len(d.Payload)-1] == &d.IP[len(d.IP)-1]
}

// flush hands on what is held, and reports whether that was something.
func (g *gather) flush() bool {
	if g.room == nil {
		return false
	}
	room := g.room
	g.room = nil
	g.give(g.held)
	g.held, g.give = packet.Datagram{}, nil
	gatherRooms.Put(room)
	return true
}

// rest is flush at the end of a row: what comes next is handed on at once.
func (g *gather) rest() bool {
	g.size = 0
	return g.flush()
}
