package stack

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// Crossing leads from one network to containers of another that is open to it. Who is
// neither open nor wants to go to one that is never meets it.
//
//	a network                          one that is open (Open4, Open6)
//	Port -> Gateway.input -> Crossing --TCP SYN, datagrams, echo requests--> Port
//	Port <------------------ flow of the open network's table <------------ Port
//
// It is a router without addresses of its own: frames are passed on as they are,
// virtio header included, with one hop less and other MACs, so that neither end's
// TCP is cut and senders' addresses are kept. What begins a flow comes from the
// other network; what goes back belongs to a flow, and begins none. The zero value
// is ready.
type Crossing struct {
	// members are replaced and never changed; only those of open networks' and
	// their possible senders count, so nil means that nobody crosses.
	members atomic.Pointer[[]member]

	mu  sync.Mutex // replaces members, guards all
	all []member
}

// member is one family of a network.
type member struct {
	prefix netip.Prefix
	net    *Network
	open   bool
}

func (c *Crossing) join(n *Network) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range []member{
		{n.subnet4, n, n.opts.Open4}, {n.subnet6, n, n.opts.Open6},
	} {
		if m.prefix.IsValid() {
			c.all = append(c.all, m)
		}
	}
	c.publish()
}

func (c *Crossing) leave(n *Network) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = slices.DeleteFunc(c.all, func(m member) bool { return m.net == n })
	c.publish()
}

// publish makes c.all known to packets; c.mu is held.
func (c *Crossing) publish() {
	if !slices.ContainsFunc(c.all, func(m member) bool { return m.open }) {
		c.members.Store(nil)
		return
	}
	members := slices.Clone(c.all)
	c.members.Store(&members)
}

// way is where a packet of a network crosses to.
type way struct {
	to *Network
	// forth: it may begin a flow. back: it may belong to one that came here.
	forth, back bool
}

// find gives the way of a packet of n to dst. ok is false if no network that is open, or
// to which n is, has dst.
func (c *Crossing) find(n *Network, dst netip.Addr) (w way, ok bool) {
	if c == nil {
		return way{}, false
	}
	all := c.members.Load()
	if all == nil {
		return way{}, false
	}
	for _, m := range *all {
		if m.net == n || !m.prefix.Contains(dst) {
			continue
		}
		w = way{to: m.net, forth: m.open, back: n.openTo(dst.Is4())}
		return w, w.forth || w.back
	}
	return way{}, false
}

// openTo reports whether containers of other networks reach those of n.
func (n *Network) openTo(v4 bool) bool {
	if v4 {
		return n.opts.Open4
	}
	return n.opts.Open6
}

// cross carries a packet to another network. done is false when it is not one that
// crosses: it is then like any other for the outside.
func (g *Gateway) cross(in *incoming, h vnet.Header, body []byte, w way) (reason DropReason, done bool) {
	ip := &in.ip
	k, kind, ok := flowOf(ip, body[ip.HeaderLen:])
	if !ok {
		return DropProtocol, w.forth
	}
	to, here := w.to.find(ip.Dst)
	if w.back && here && g.net.crossed.answers(k.reversed(), kind, to.port, in.port) {
		return g.passTo(in, h, body, to, w.to), true
	}
	if !w.forth {
		return DropNone, false
	}
	if !here {
		if !w.to.gateway.owns(ip.Dst) && !w.to.gateway.isBroadcast(ip.Dst) {
			w.to.seekFor(in.port, ip.Dst)
			g.SendICMPError(netip.Addr{}, packet.HostUnreachable(ip.Src.Is4()), body)
		}
		return DropUnknown, true
	}
	if kind == kindError {
		if !w.to.crossed.goesOn(k, in.port, to.port) {
			return DropICMPError, true
		}
		return g.passTo(in, h, body, to, w.to), true
	}
	switch reason, going := w.to.crossed.begins(k, kind, in.port, to.port); {
	case reason != DropNone:
		return reason, true
	case !going:
		return DropNone, false // perhaps of a connection that the gateway has
	}
	return g.passTo(in, h, body, to, w.to), true
}

// passTo gives a packet to a container of another network.
func (g *Gateway) passTo(in *incoming, h vnet.Header, body []byte, to hop, n *Network) DropReason {
	ip := &in.ip
	v4 := ip.Src.Is4()
	// What was put together here was cut as small as its sender could.
	if !in.wasCut && wireLen(ip, h, body) > n.opts.MTU && (!v4 || body[6]&dontFragment != 0) {
		g.SendICMPError(netip.Addr{}, packet.TooBig(v4, uint32(n.opts.MTU)), body)
		return DropTooBig
	}
	copy(in.frame[0:6], to.mac[:])
	copy(in.frame[6:12], n.gateway.mac[:])
	if v4 {
		body[8]--
		body[10], body[11] = 0, 0
		binary.BigEndian.PutUint16(body[10:12], ^packet.Sum(body[:ip.HeaderLen], 0))
	} else {
		body[7]--
	}
	in.parts = [2][]byte{in.hdr[:], in.frame}
	return to.port.write(in.queue, in.parts[:])
}

// dontFragment is IPv4's flag, in the header's byte 6 (RFC 791 3.1).
const dontFragment = 0x40

// wireLen is how long the packet is on a wire, in bytes: of one that is to be segmented,
// its segments.
func wireLen(ip *packet.IP, h vnet.Header, body []byte) int {
	switch h.Kind() {
	case vnet.GSONone:
		return ip.Len
	case vnet.GSOUDPL4:
		return min(ip.Len, ip.HeaderLen+packet.UDPLen+int(h.GSOSize))
	}
	const dataOffset = 12
	return min(ip.Len, ip.HeaderLen+int(body[ip.HeaderLen+dataOffset]>>4)*4+int(h.GSOSize))
}
