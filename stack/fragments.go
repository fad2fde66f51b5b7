package stack

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// How fragments for the gateway become packets. Netstack could do it, but has one
// store for all containers of the network, so that one of them could push out the
// others' fragments. So each port has a store of its own:
//
//	fragment --> fragments.add --> incomplete: header of the first, parts by offset
//	                 |                  | too old, too many, overlapping: dropped
//	                 +-- complete ------+--> the whole packet, guarded again --> Gateway.input
//
// Between containers fragments pass as they are, unless ports are kept apart (icc.go).

// How long a packet waits for its fragments: RFC 791 3.2 proposes 15 s and Linux
// takes 30; RFC 8200 4.5 demands 60.
const (
	reassembly4 = 30 * time.Second
	reassembly6 = 60 * time.Second
)

// maxFragments is how many fragments one packet may have: as the largest one has on a
// link of 296 bytes, less than any in use. A packet of more could only be meant to
// make the search among its parts long.
const maxFragments = 256

// fragmentCost is what is accounted for a part besides its bytes, and packetCost for
// an incomplete packet: their descriptions, rounded up, in bytes.
const (
	fragmentCost = 64
	packetCost   = 512
)

// fragmentKey is what the fragments of one packet have in common (RFC 791 3.2,
// RFC 8200 4.5, which leaves out the protocol).
type fragmentKey struct {
	src, dst netip.Addr
	id       uint32
	proto    uint8
}

// part is one fragment's payload.
type part struct {
	at   int
	data []byte
}

// incomplete is a packet of which fragments are missing.
type incomplete struct {
	key      fragmentKey
	deadline time.Time
	// head is the first fragment's header, fragment header included; nil
	// before it has come. nextAt and fragmentAt are packet.IP's.
	head               []byte
	nextAt, fragmentAt int
	parts              []part // by offset, without overlaps
	have               int    // bytes of parts
	total              int    // bytes when complete; -1 before the last has come
	cost               int    // bytes accounted
}

// fragments is one port's store of incomplete packets.
type fragments struct {
	limits Limits

	mu      sync.Mutex
	waiting map[fragmentKey]*incomplete
	byAge   []*incomplete // oldest first
	cost    int
	timer   *time.Timer
	alarm   time.Time // when the timer fires
	closed  bool

	onExpiry func() // calls expire
}

// add takes a fragment: the packet body, from which ip was parsed. It gives the whole
// packet in pieces, its header first, when it is complete. dropped is how many
// fragments were given up, perhaps with this one.
func (f *fragments) add(body []byte, ip *packet.IP, now time.Time) (whole [][]byte, dropped int) {
	head := ip.HeaderLen
	if ip.FragmentAt != 0 { // extension headers behind it were cut, too
		head = ip.FragmentAt + packet.FragmentHeaderLen
	}
	data := body[head:ip.Len]
	if len(data) == 0 || (ip.More && len(data)%8 != 0) {
		return nil, 1
	}
	key := fragmentKey{src: ip.Src, dst: ip.Dst, id: ip.ID}
	wait := reassembly6
	if ip.Src.Is4() {
		key.proto, wait = ip.Proto, reassembly4
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, 1
	}
	p := f.waiting[key]
	if p == nil {
		for len(f.byAge) >= f.limits.FragmentDatagrams {
			dropped += f.forget(f.byAge[0])
		}
		p = &incomplete{key: key, deadline: now.Add(wait), total: -1}
		f.insert(p)
	}
	switch p.put(body[:head], ip, data) {
	case duplicate:
		return nil, dropped
	case contradiction: // RFC 5722; also for IPv4, as Linux does
		return nil, dropped + f.forget(p) + 1
	}
	cost := len(data) + fragmentCost
	if ip.IsFirst() {
		cost += head
	}
	p.cost += cost
	f.cost += cost
	if p.have == p.total && p.head != nil {
		whole, ok := p.assemble()
		n := f.forget(p)
		if !ok {
			return nil, dropped + n
		}
		return whole, dropped
	}
	for f.cost > f.limits.FragmentBytes && len(f.byAge) > 0 {
		dropped += f.forget(f.byAge[0])
	}
	return nil, dropped
}

func (f *fragments) insert(p *incomplete) {
	if f.waiting == nil {
		f.waiting = map[fragmentKey]*incomplete{}
	}
	p.cost += packetCost
	f.cost += packetCost
	f.waiting[p.key] = p
	f.byAge = append(f.byAge, p)
	if len(f.byAge) == 1 || p.deadline.Before(f.alarm) {
		f.arm(p.deadline)
	}
}

// arm sets the timer.
func (f *fragments) arm(at time.Time) {
	f.alarm = at
	if f.timer == nil {
		f.timer = time.AfterFunc(time.Until(at), f.onExpiry)
		return
	}
	f.timer.Reset(time.Until(at))
}

// forget gives up a packet and says of how many fragments.
func (f *fragments) forget(p *incomplete) int {
	delete(f.waiting, p.key)
	if i := slices.Index(f.byAge, p); i >= 0 {
		f.byAge = slices.Delete(f.byAge, i, i+1)
	}
	f.cost -= p.cost
	return len(p.parts)
}

// expire gives up what has waited for too long, and arms the timer for the rest. It gives
// the first fragments among it, to be quoted.
func (f *fragments) expire(now time.Time) (firsts [][]byte, dropped int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var next time.Time
	for _, p := range slices.Clone(f.byAge) {
		switch {
		case now.Before(p.deadline):
			if next.IsZero() || p.deadline.Before(next) {
				next = p.deadline
			}
			continue
		case p.head != nil:
			firsts = append(firsts, append(p.head[:len(p.head):len(p.head)], p.parts[0].data...))
		}
		dropped += f.forget(p)
	}
	if !next.IsZero() {
		f.arm(next)
	}
	return firsts, dropped
}

// held says what is waiting now: packets, and bytes accounted.
func (f *fragments) held() (packets, cost int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.byAge), f.cost
}

// close forgets everything, and all that comes later.
func (f *fragments) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.waiting, f.byAge, f.cost = nil, nil, 0
	if f.timer != nil {
		f.timer.Stop()
	}
}

// What put says of a fragment.
type fit int

const (
	fits          fit = iota
	duplicate         // the same bytes are there already
	contradiction     // with what is there
)

// put adds a fragment to its packet.
func (p *incomplete) put(head []byte, ip *packet.IP, data []byte) fit {
	at, end := ip.Offset, ip.Offset+len(data)
	i, found := slices.BinarySearchFunc(p.parts, at, func(q part, at int) int { return q.at - at })
	if found && bytes.Equal(p.parts[i].data, data) {
		if !ip.More && p.total != end {
			return contradiction
		}
		return duplicate
	}
	switch {
	case len(p.parts) >= maxFragments,
		i > 0 && p.parts[i-1].at+len(p.parts[i-1].data) > at,
		i < len(p.parts) && end > p.parts[i].at,
		p.total >= 0 && end > p.total,
		!ip.More && p.total >= 0 && end != p.total,
		!ip.More && i < len(p.parts):
		return contradiction
	}
	if !ip.More {
		p.total = end
	}
	if at == 0 {
		p.head = bytes.Clone(head)
		p.nextAt, p.fragmentAt = ip.NextAt, ip.FragmentAt
	}
	p.have += len(data)
	p.parts = slices.Insert(p.parts, i, part{at: at, data: bytes.Clone(data)})
	return fits
}

// assemble gives the whole packet in pieces, its header first, as if it had never
// been cut. ok is false if it is longer than packets may be.
func (p *incomplete) assemble() (pieces [][]byte, ok bool) {
	const longest = 0xffff
	head := bytes.Clone(p.head)
	if p.key.src.Is4() {
		if len(head)+p.total > longest {
			return nil, false
		}
		binary.BigEndian.PutUint16(head[2:4], uint16(len(head)+p.total))
		head[6], head[7], head[10], head[11] = 0, 0, 0, 0
		binary.BigEndian.PutUint16(head[10:12], ^packet.Sum(head, 0))
	} else {
		// The fragment header goes; offsets count from behind it.
		head[p.nextAt] = head[p.fragmentAt]
		head = slices.Delete(head, p.fragmentAt, p.fragmentAt+packet.FragmentHeaderLen)
		if len(head)-packet.IPv6Len+p.total > longest {
			return nil, false
		}
		binary.BigEndian.PutUint16(head[4:6], uint16(len(head)-packet.IPv6Len+p.total))
	}
	pieces = append(make([][]byte, 0, len(p.parts)+1), head)
	for _, q := range p.parts {
		pieces = append(pieces, q.data)
	}
	return pieces, true
}

// fragment takes a fragment that was sent to the gateway, and carries on with the
// whole packet when it is there.
func (g *Gateway) fragment(in *incoming, body []byte) DropReason {
	return g.net.reassemble(in, body, func(whole *incoming) DropReason {
		in.gather.flush() // it may be of the same flow
		return g.input(whole, vnet.Header{})
	})
}

// reassemble takes a fragment, and gives the whole packet to deliver when it is there.
func (n *Network) reassemble(in *incoming, body []byte, deliver func(*incoming) DropReason) DropReason {
	p := in.port
	pieces, dropped := p.fragments.add(body, &in.ip, time.Now())
	p.stats.drops[DropFragments].Add(uint64(dropped))
	if pieces == nil {
		return DropNone // counted above
	}
	length := packet.EthernetLen
	for _, piece := range pieces {
		length += len(piece)
	}
	// The longest packets are up to 13 bytes longer, with their Ethernet header, than what netstack pools.
	view := buffer.NewViewSize(max(length, maxFrame))
	b := view.AsSlice()
	size := copy(b, in.frame[:packet.EthernetLen])
	for _, piece := range pieces {
		size += copy(b[size:], piece)
	}
	var hdr [vnet.Len]byte
	whole := incoming{port: p, queue: in.queue, hdr: &hdr, frame: b[:size], view: view, source: in.source, wasCut: true}
	defer func() {
		if whole.view != nil {
			whole.view.Release()
		}
	}()
	// What was hidden by the cut is judged now.
	if reason := whole.guard(packet.EtherType(whole.frame)); reason != DropNone {
		return reason
	}
	if whole.ip.Fragment {
		return DropFragments
	}
	reason := deliver(&whole)
	in.spawned += whole.spawned
	return reason
}

// expireFragments gives up fragments that have waited for too long, and tells the
// container (RFC 792, RFC 8200 4.5).
func (p *Port) expireFragments() {
	firsts, dropped := p.fragments.expire(time.Now())
	p.stats.drops[DropFragments].Add(uint64(dropped))
	for _, first := range firsts {
		v4 := first[0]>>4 == 4
		if err := p.net.gateway.SendICMPError(netip.Addr{}, packet.ReassemblyTimeout(v4), first); err != nil {
			p.net.log.Debug("reassembly timeout not told", "port", p.name, "error", err)
		}
	}
}
