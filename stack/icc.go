package stack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// How ports are kept apart (Options.NoICC). Nothing that one port sends goes to
// another, to one station or to a group, but what exceptions name:
//
//	From --TCP, UDP, SCTP to ports First..Last----> To
//	From <--from these ports; no new connection---- To
//	From <--ICMP errors about either--------------> To
//
// They are judged packet by packet, by addresses, protocol and port alone. Of flows only
// those of UDP are remembered (spoken), which does not say by itself what is an answer. A packet in fragments is put together first, in the
// sender's own store, and judged and passed on as a whole: there is no other way
// to know the port of a fragment.
//
// Neighbours are seen all the same: ARP and neighbour discovery are answered from the
// table, which no other port hears of. Where Guards would have a question passed on,
// the gateway asks instead.

// ErrException is returned for an Exception that could never apply.
var ErrException = errors.New("not an exception between two addresses")

// protoSCTP is SCTP's number (IANA). Its ports stand where TCP's do.
const protoSCTP = 132

// maxExceptions bounds those of one owner: as many as a container with a hundred links
// to others of forty ranges of ports.
const maxExceptions = 4096

// Exception lets one container reach ports of another on a network whose ports are kept
// apart, and the answers come back. Both addresses are the containers' own, and
// not what they have by a Guard.
type Exception struct {
	From, To    netip.Addr
	Proto       uint8  // packet.ProtoTCP, packet.ProtoUDP or 132, SCTP
	First, Last uint16 // ports of To
}

func (x *Exception) check() error {
	switch {
	case !x.From.IsValid() || x.From.Is4() != x.To.Is4() || x.From == x.To || x.From.Is4In6(),
		x.Proto != packet.ProtoTCP && x.Proto != packet.ProtoUDP && x.Proto != protoSCTP,
		x.First == 0 || x.Last < x.First:
		return fmt.Errorf("%s to %s, protocol %d, ports %d to %d: %w", x.From, x.To, x.Proto, x.First, x.Last, ErrException)
	}
	return nil
}

// pair is who reaches whom.
type pair struct{ from, to netip.Addr }

// exceptions are all of a network's.
type exceptions struct {
	// table is replaced and never changed; nil when there is none.
	table atomic.Pointer[map[pair][]Exception]

	mu      sync.Mutex // replaces table, guards owners
	byOwner map[string][]Exception
}

// SetExceptions makes the exceptions of an owner those of list, instead of what it had.
// They hold at once, and whether or not somebody has the addresses; without
// Options.NoICC they have no effect. It returns ErrException, and has changed nothing
// then.
func (n *Network) SetExceptions(owner string, list []Exception) error {
	if len(list) > maxExceptions {
		return fmt.Errorf("%d exceptions, at most %d: %w", len(list), maxExceptions, ErrException)
	}
	for i := range list {
		if err := list[i].check(); err != nil {
			return err
		}
	}
	e := &n.exceptions
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.byOwner == nil {
		e.byOwner = map[string][]Exception{}
	}
	if len(list) == 0 {
		delete(e.byOwner, owner)
	} else {
		e.byOwner[owner] = slices.Clone(list)
	}
	if len(e.byOwner) == 0 {
		e.table.Store(nil)
		return nil
	}
	t := map[pair][]Exception{}
	for _, owner := range slices.Sorted(maps.Keys(e.byOwner)) {
		for _, x := range e.byOwner[owner] {
			p := pair{x.From, x.To}
			t[p] = append(t[p], x)
		}
	}
	e.table.Store(&t)
	return nil
}

// known reports whether there is an exception between two addresses, in either direction.
func (e *exceptions) known(a, b netip.Addr) bool {
	t := e.table.Load()
	return t != nil && (len((*t)[pair{a, b}]) > 0 || len((*t)[pair{b, a}]) > 0)
}

// between reports whether there is an exception between two ports.
func (e *exceptions) between(p, q *Port) bool {
	for _, a := range p.addrs {
		for _, b := range q.addrs {
			if a.Is4() == b.Is4() && e.known(a, b) {
				return true
			}
		}
	}
	return false
}

// apart carries a frame from a port to another one on a network without ICC.
func (n *Network) apart(in *incoming, to *Port) DropReason {
	ip := &in.ip
	// An exception is about who sends and who is meant, not about who happens to be
	// at the frame's MAC.
	if !in.port.owns(ip.Src) || !to.owns(ip.Dst) || !n.exceptions.known(ip.Src, ip.Dst) {
		return DropICC
	}
	if ip.Fragment {
		body := in.frame[packet.EthernetLen:][:ip.Len]
		if !packet.HeaderValid(body, ip) {
			return DropMalformed
		}
		return n.reassemble(in, body, func(whole *incoming) DropReason { return n.apart(whole, to) })
	}
	if !n.exceptions.allow(in, to) {
		return DropICC
	}
	in.parts = [2][]byte{in.hdr[:], in.frame}
	return to.write(in.queue, in.parts[:])
}

// allow reports whether exceptions let a whole packet through to a port.
func (e *exceptions) allow(in *incoming, to *Port) bool {
	ip := &in.ip
	t := in.frame[packet.EthernetLen:][ip.HeaderLen:ip.Len]
	src, dst, isError := packet.QuotedBy(t, ip)
	if !isError {
		allowed, back := e.allowTransport(ip.Src, ip.Dst, ip.Proto, t)
		switch {
		case !allowed || ip.Proto != packet.ProtoUDP:
			return allowed
		case back:
			return to.spoken.knows(portsOf(ip.Src, ip.Dst, ip.Proto, t).reversed(), time.Now())
		}
		in.port.spoken.remember(portsOf(ip.Src, ip.Dst, ip.Proto, t), time.Now())
		return true
	}
	// An error goes to who has sent the packet, and comes from whom it was for: no
	// router is in between.
	if src != ip.Dst || dst != ip.Src {
		return false // both invalid where it quotes nothing
	}
	proto, quoted, ok := quotedTransport(t[packet.ICMPLen:], ip.Src.Is4())
	if !ok {
		return false
	}
	allowed, _ := e.allowTransport(src, dst, proto, quoted)
	return allowed
}

// allowTransport reports whether a packet from src to dst may pass whose transport header
// begins t, and whether only as an answer, from who is reached to who reaches.
func (e *exceptions) allowTransport(src, dst netip.Addr, proto uint8, t []byte) (allowed, back bool) {
	table := e.table.Load()
	if table == nil || len(t) < 4 {
		return false, false
	}
	from, to := binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])
	for _, x := range (*table)[pair{src, dst}] {
		if x.Proto == proto && x.First <= to && to <= x.Last {
			return true, false
		}
	}
	if begins(proto, t) {
		return false, false // an answer begins no connection
	}
	for _, x := range (*table)[pair{dst, src}] {
		if x.Proto == proto && x.First <= from && from <= x.Last {
			return true, true
		}
	}
	return false, false
}

// begins reports whether t, a transport header, asks for a connection.
func begins(proto uint8, t []byte) bool {
	const sctpHeader, sctpInit = 12, 1
	switch proto {
	case packet.ProtoTCP:
		return isSYN(t)
	case protoSCTP:
		return len(t) > sctpHeader && t[sctpHeader] == sctpInit // INIT is alone in its packet (RFC 9260 6.10)
	}
	return false
}

// quotedTransport gives the beginning of the transport header in the packet that an ICMP
// error quotes.
func quotedTransport(q []byte, v4 bool) (proto uint8, t []byte, ok bool) {
	if !v4 {
		if len(q) < packet.IPv6Len {
			return 0, nil, false
		}
		return q[6], q[packet.IPv6Len:], true // behind extension headers it is nothing known
	}
	if len(q) < packet.IPv4Len {
		return 0, nil, false
	}
	n := int(q[0]&0xf) * 4
	const offset = 0x1fff
	if n < packet.IPv4Len || len(q) < n || binary.BigEndian.Uint16(q[6:8])&offset != 0 {
		return 0, nil, false
	}
	return q[9], q[n:], true
}
