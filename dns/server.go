package dns

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	miekg "github.com/miekg/dns"

	"github.com/footbridge-net/footbridge/internal/quota"
	"github.com/footbridge-net/footbridge/internal/share"
)

// Options describe a network's [Server].
type Options struct {
	// NetworkName is for log lines.
	NetworkName string
	// Zone knows the containers' names. nil: nobody has a name here (the default
	// network).
	Zone Zone
	// Upstream is asked about everything else. nil: nothing is ever forwarded
	// (an internal network), whatever Client says.
	Upstream *Upstream
	// Hosts are names of the machine that the network is on, lower-case, without
	// trailing dot. A container of such a name comes first, and addresses do not lead
	// back to them.
	Hosts map[string][]netip.Addr
	// Subnets are the network's own. An address inside them that no container
	// has is not asked about upstream.
	Subnets []netip.Prefix
	// Client says what is different for the container with that address. nil:
	// nothing is, for nobody. It is called for each question and must not block.
	Client func(src netip.Addr) Client
	// Limits bound what containers may use up.
	Limits Limits
	// Owner gives the address by which a container is known to limits, for any
	// of its addresses. nil: each address is a container.
	Owner func(netip.Addr) netip.Addr
	// Yield lets others run. Whoever has been busy for long with connections
	// that are always ready calls it. nil means runtime.Gosched.
	Yield func()
	// Logger is for what is worth knowing. nil: nothing is logged.
	Logger *slog.Logger
}

// Client is one container's own view of names.
type Client struct {
	// Zones are those of the container's other networks, asked in this order
	// after the server's own: a container sees the names of all its networks.
	Zones []Zone
	// Aliases are names that this container alone has for others, lower-case, without
	// trailing dot. They come before all zones.
	Aliases map[string]Alias
	// Hosts are names of the container's own hosts file, lower-case, without trailing dot,
	// with their addresses. They come after all zones. A name without an address of one
	// family has none: nobody else is asked for it, but for records other than addresses.
	Hosts map[string][]netip.Addr
	// Upstream replaces the network's for this container (its own --dns). nil:
	// the network's.
	Upstream *Upstream
}

// Alias is another name for what a zone calls Name (lower-case). Where the zone does
// not know that name the alias is none.
type Alias struct {
	Zone Zone
	Name string
}

// Server answers the questions of one network's containers.
type Server struct {
	opts    Options
	limits  Limits
	log     *slog.Logger
	stats   counters
	clients clients

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	closers map[io.Closer]struct{} // listeners and connections
}

// Stats count what a [Server] did since it was made.
type Stats struct {
	Queries   uint64 // messages that were answered or forwarded
	Names     uint64 // answered from a zone
	Forwarded uint64 // sent upstream
	Failed    uint64 // of these, without any server's answer (SERVFAIL)
	Refused   uint64 // over a limit, connections too
	Malformed uint64 // answered FORMERR, NOTIMP or BADVERS
}

type counters struct {
	queries, names, forwarded, failed, refused, malformed atomic.Uint64
}

// New returns a server. It listens nowhere: hand it datagrams and listeners.
func New(o Options) (*Server, error) {
	s := &Server{
		opts:    o,
		limits:  o.Limits.withDefaults(),
		log:     o.Logger,
		closers: make(map[io.Closer]struct{}),
	}
	s.opts.Subnets = slices.Clone(o.Subnets)
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.log = s.log.With("network", o.NetworkName)
	if s.opts.Yield == nil {
		s.opts.Yield = runtime.Gosched
	}
	s.clients = clients{
		forwards:    share.New(s.limits.Forwards),
		connections: share.New(s.limits.Connections),
		all: quota.New(quota.Options[*client, ClientLimits]{
			New: func() *client { return new(client) }, Limits: s.limits.Client, Owner: o.Owner, Yield: s.opts.Yield,
		}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	return Stats{
		Queries:   s.stats.queries.Load(),
		Names:     s.stats.names.Load(),
		Forwarded: s.stats.forwarded.Load(),
		Failed:    s.stats.failed.Load(),
		Refused:   s.stats.refused.Load(),
		Malformed: s.stats.malformed.Load(),
	}
}

// scratch is what one question needs while it is answered.
type scratch struct {
	q     query
	out   []byte
	addrs []netip.Addr
}

var scratches = sync.Pool{New: func() any {
	return &scratch{out: make([]byte, 0, ownUDPSize)}
}}

func getScratch() *scratch {
	sc := scratches.Get().(*scratch)
	sc.q, sc.out = query{}, sc.out[:0]
	return sc
}

func putScratch(sc *scratch) {
	sc.q.msg, sc.q.question = nil, nil // the caller's memory
	scratches.Put(sc)
}

// HandleDatagram takes one UDP payload that a container sent to port 53. It does
// not block: questions about containers are answered through reply before it
// returns, others later from another goroutine. reply is called once or never, and
// gets bytes that are valid during the call, as msg is during this one.
func (s *Server) HandleDatagram(src netip.AddrPort, msg []byte, reply func([]byte)) {
	if s.ctx.Err() != nil {
		return
	}
	sc := getScratch()
	defer putScratch(sc)
	from := src.Addr().Unmap()
	if up, done := s.answer(sc, from, msg, false); !done {
		s.forward(sc, up, from, false, reply, nil)
	}
	if len(sc.out) > 0 {
		reply(sc.out)
	}
}

// answer does what can be done without asking anybody. done false means: to be
// forwarded to up. done with an empty sc.out means: not to be answered.
func (s *Server) answer(sc *scratch, src netip.Addr, msg []byte, tcp bool) (up *Upstream, done bool) {
	q := &sc.q
	switch v := q.read(msg); v {
	case silence:
		return nil, true
	case good:
	default:
		s.stats.queries.Add(1)
		s.stats.malformed.Add(1)
		s.refuse(sc, int(v))
		return nil, true
	}
	s.stats.queries.Add(1)

	var client Client
	if s.opts.Client != nil {
		client = s.opts.Client(src)
	}
	if s.answerName(sc, client, tcp) {
		s.stats.names.Add(1)
		return nil, true
	}
	if s.opts.Upstream == nil {
		r := newReply(sc.out, q, ownUDPSize, bitAA)
		sc.out = r.finish(miekg.RcodeNameError)
		return nil, true
	}
	if client.Upstream != nil {
		return client.Upstream, false
	}
	return s.opts.Upstream, false
}

// answerName answers from the zones, or returns false.
func (s *Server) answerName(sc *scratch, client Client, tcp bool) bool {
	if sc.q.keyLen == 0 {
		return false
	}
	name := sc.q.name()
	if addrs, ok := s.lookup(name, sc.q.qtype, client); ok {
		s.writeAddrs(sc, addrs, tcp)
		return true
	}
	addr, ok := parseArpa(name)
	if !ok {
		return false
	}
	for zone := range s.zones(client.Zones) {
		if target, ok := zone.Reverse(addr); ok {
			r := s.own(sc, tcp)
			if sc.q.qtype == miekg.TypePTR {
				if err := r.ptr(target); err != nil {
					s.log.Warn("a container's name cannot be written as a PTR record", "name", target, "address", addr, "error", err)
				}
			}
			sc.out = r.finish(miekg.RcodeSuccess)
			return true
		}
	}
	for _, p := range s.opts.Subnets {
		if p.Contains(addr) {
			r := s.own(sc, tcp)
			sc.out = r.finish(miekg.RcodeNameError)
			return true
		}
	}
	return false
}

// lookup finds a name that is known here to have what is asked for, or not to have it.
func (s *Server) lookup(name string, qtype uint16, client Client) ([]netip.Addr, bool) {
	if a, ok := client.Aliases[name]; ok && a.Zone != nil {
		if addrs, ok := a.Zone.Lookup(a.Name); ok {
			return addrs, true
		}
	}
	for zone := range s.zones(client.Zones) {
		if addrs, ok := zone.Lookup(name); ok {
			return addrs, true
		}
	}
	if qtype == miekg.TypeA || qtype == miekg.TypeAAAA {
		if addrs, ok := client.Hosts[name]; ok {
			return addrs, true
		}
	}
	addrs, ok := s.opts.Hosts[name]
	return addrs, ok
}

// zones are the server's own zone, then the client's others.
func (s *Server) zones(others []Zone) func(yield func(Zone) bool) {
	return func(yield func(Zone) bool) {
		if s.opts.Zone != nil && !yield(s.opts.Zone) {
			return
		}
		for _, z := range others {
			if z != nil && !yield(z) {
				return
			}
		}
	}
}

// writeAddrs answers with the addresses of the family that was asked for,
// shuffled, so that clients that take the first one spread over all.
func (s *Server) writeAddrs(sc *scratch, addrs []netip.Addr, tcp bool) {
	family := sc.addrs[:0]
	for _, a := range addrs {
		if sc.q.qtype == miekg.TypeA && a.Is4() || sc.q.qtype == miekg.TypeAAAA && a.Is6() {
			family = append(family, a)
		}
	}
	sc.addrs = family
	r := s.own(sc, tcp)
	for i := range family {
		j := i + rand.IntN(len(family)-i)
		family[i], family[j] = family[j], family[i]
		if !r.addr(family[i]) {
			break
		}
	}
	sc.out = r.finish(miekg.RcodeSuccess)
}

// own begins an answer that we are the authority for.
func (s *Server) own(sc *scratch, tcp bool) reply {
	limit := min(int(sc.q.size), ownUDPSize)
	if tcp {
		limit = maxMessage
	}
	return newReply(sc.out, &sc.q, limit, bitAA|s.recursion())
}

// refuse writes an answer that is nothing but an rcode.
func (s *Server) refuse(sc *scratch, rcode int) {
	r := newReply(sc.out, &sc.q, ownUDPSize, s.recursion())
	sc.out = r.finish(rcode)
}

// recursion is the RA bit: whether we would forward anything at all.
func (s *Server) recursion() uint16 {
	if s.opts.Upstream != nil {
		return bitRA
	}
	return 0
}

// enter counts the caller in as something that Close waits for, or returns
// false after Close. What isn't nil is closed by Close, unless left before.
func (s *Server) enter(c io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Add(1)
	if c != nil {
		s.closers[c] = struct{}{}
	}
	return true
}

func (s *Server) leave(c io.Closer) {
	if c != nil {
		s.mu.Lock()
		delete(s.closers, c)
		s.mu.Unlock()
	}
	s.wg.Done()
}

// Close ends all listeners, connections and exchanges and waits for their
// goroutines. Datagrams that come later are dropped.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	open := make([]io.Closer, 0, len(s.closers))
	for c := range s.closers {
		open = append(open, c)
	}
	s.mu.Unlock()
	s.cancel()
	for _, c := range open {
		reset(c)
	}
	s.wg.Wait()
	return nil
}
