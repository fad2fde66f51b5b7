package dhcp

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// Lifetimes. A lease is renewed at its half.
const (
	// ownLease is for an endpoint's own address, which is its own as long as there is
	// an endpoint: the lease has no end to wait for, and clients are left asleep.
	ownLease = 12 * time.Hour
	// poolLease is how long a machine that has gone keeps an address from others.
	poolLease = time.Hour
	// offerTime is how long an offer is kept for its client to take it up.
	offerTime = time.Minute
	// declineTime is how long an address is left alone that a client has found in use.
	declineTime = 10 * time.Minute
)

// maxMessage bounds a client's message, in bytes. Real ones have 300 to 600; the bound is
// an Ethernet frame's, and keeps what is nested inside options shallow.
const maxMessage = 1500

// Options of a Server.
type Options struct {
	// Gateway4 and Gateway6 are the gateway's addresses with their subnets' lengths;
	// zero where the network does not have the family.
	Gateway4, Gateway6 netip.Prefix
	// GatewayMAC and LinkLocal are the gateway's.
	GatewayMAC packet.MAC
	LinkLocal  netip.Addr
	MTU        int  // bytes
	Internal   bool // the gateway leads nowhere
	// DHCP turns on DHCPv4 and DHCPv6, as far as there are addresses.
	DHCP bool
	// Pool4 and Pool6 are for stations behind endpoints; zero = none. First4 and Last4 are
	// the same as Pool4 for ranges that are no prefix.
	Pool4, Pool6  netip.Prefix
	First4, Last4 netip.Addr
	// DNS4 and DNS6 are where names are asked for; zero = at the gateway. NoDNS: nowhere.
	DNS4, DNS6 netip.Addr
	NoDNS      bool
}

// Endpoint is who may ask.
type Endpoint struct {
	MAC          packet.MAC
	Addr4, Addr6 netip.Addr // zero: none of the family
	Hostname     string     // "" = none
	Search       []string   // domains
	Nested       bool       // stations of other MACs are behind it
	// Lends: the endpoint itself gets addresses as those behind it do, and has none of its
	// own. It is the only one, and all addresses are for it.
	Lends bool
}

// Stations are those behind the endpoint that a question comes from.
type Stations interface {
	// Free reports whether the station of that MAC may have the address: the switch
	// would take it from it, and nobody else has it.
	Free(packet.MAC, netip.Addr) bool
	// Lend gives it the address until then, TakeBack ends that.
	Lend(packet.MAC, netip.Addr, time.Time)
	TakeBack(packet.MAC, netip.Addr)
}

// Question is a message of a client.
type Question struct {
	Endpoint packet.MAC // behind whose port the client is
	Station  packet.MAC // the client's: the source of the frame
	Src      netip.Addr // of the packet
	Message  []byte
	Stations Stations
}

// Answer is a datagram for the client, and for nobody else.
type Answer struct {
	Src, Dst netip.AddrPort
	MAC      packet.MAC
	Message  []byte
}

// Server answers on one network.
type Server struct {
	opts Options

	mu           sync.Mutex
	endpoints    map[packet.MAC]Endpoint
	pool4, pool6 *pool
}

// New makes a Server that knows no endpoint.
func New(o Options) *Server {
	s := &Server{
		opts: o, endpoints: map[packet.MAC]Endpoint{},
		pool4: newPool(o.Pool4), pool6: newPool(o.Pool6),
	}
	if o.First4.IsValid() {
		s.pool4 = newRange(o.First4, o.Last4)
	}
	return s
}

// Add makes an endpoint known. It reports whether none was with its MAC.
func (s *Server) Add(e Endpoint) bool {
	e.Search = slices.DeleteFunc(slices.Clone(e.Search), func(d string) bool { _, ok := dnsName(d); return !ok })
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.endpoints[e.MAC]; ok {
		return false
	}
	s.endpoints[e.MAC] = e
	s.pool4.whole, s.pool6.whole = e.Lends, e.Lends
	return true
}

// Remove forgets an endpoint, with the leases of those behind it.
func (s *Server) Remove(m packet.MAC) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.endpoints, m)
	s.pool4.removeAll(m)
	s.pool6.removeAll(m)
}

// client is who asks, as the server knows it. s.mu is held while there is one.
type client struct {
	*Question
	endpoint Endpoint
	own      bool       // it is the endpoint itself
	addr     netip.Addr // then its address of the family; may be invalid
	pool     *pool      // else where its lease is from
}

// who says who asks; ok is false for one that gets nothing. s.mu is held.
func (s *Server) who(q *Question, v4 bool) (c client, ok bool) {
	c = client{Question: q}
	if c.endpoint, ok = s.endpoints[q.Endpoint]; !ok || len(q.Message) > maxMessage {
		return c, false
	}
	c.own = q.Station == q.Endpoint && !c.endpoint.Lends
	c.addr, c.pool = c.endpoint.Addr4, s.pool4
	if !v4 {
		c.addr, c.pool = c.endpoint.Addr6, s.pool6
	}
	if c.own {
		return c, c.addr.IsValid()
	}
	c.addr = netip.Addr{}
	return c, c.endpoint.Nested
}

// offer gives the address that the client would have, and keeps it for it: the one it
// wants, if it may have it. It is invalid if there is none.
func (c *client) offer(want netip.Addr) netip.Addr {
	if c.own {
		return c.addr
	}
	return c.pool.offer(c.holder(), want, c.free)
}

// commit gives the client the address that it asks for, and says until when; ok is false
// if it may not have it.
func (c *client) commit(a netip.Addr) (left time.Duration, ok bool) {
	if c.own {
		return ownLease, a == c.addr
	}
	old, had := c.pool.of(c.holder())
	if !c.pool.commit(c.holder(), a, c.free) {
		return 0, false
	}
	if had && old != a { // who goes from address to address has one
		c.Stations.TakeBack(c.Station, old)
	}
	c.Stations.Lend(c.Station, a, time.Now().Add(poolLease))
	return poolLease, true
}

// release ends what the client has.
func (c *client) release(a netip.Addr) {
	if !c.own && c.pool.release(c.holder(), a) {
		c.Stations.TakeBack(c.Station, a)
	}
}

// decline leaves alone for a while what the client has been given and found in use.
func (c *client) decline(a netip.Addr) {
	if !c.own && c.pool.decline(c.holder(), a) {
		c.Stations.TakeBack(c.Station, a)
	}
}

func (c *client) holder() holder { return holder{c.Question.Endpoint, c.Station} }

func (c *client) free(a netip.Addr) bool { return c.Stations.Free(c.Station, a) }
