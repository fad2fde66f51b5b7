package forwarder

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// Gateway is the network that flows come from.
type Gateway interface {
	Stack() *stack.Stack
	Addrs() []netip.Addr
	SendUDP(src, dst netip.AddrPort, payload []byte) error
	SendEchoReply(src, dst netip.Addr, id, seq uint16, data []byte) error
	SendICMPError(from netip.Addr, e packet.ICMPError, quoted []byte) error
}

// Limits of the flows of one container address. Zero values mean the defaults.
type Limits struct {
	// HalfOpen are TCP connections whose host side is not yet connected.
	HalfOpen int
	// TCP are established TCP connections.
	TCP int
	// UDP are mappings, that is source ports in use.
	UDP int
	// Echo are identifiers of ping in use.
	Echo int
}

// Defaults of Limits, each with what it is to stand.
const (
	// 256 connects under way are a busy crawler; a SYN flood has more.
	defaultHalfOpen = 256
	// Twice the ephemeral ports of a default Linux container to one server.
	defaultTCP = 57344
	// A BitTorrent client or resolver uses some hundred ports in the
	// timeout; each is a descriptor of the host.
	defaultUDP = 4096
	// A monitoring system pings with one identifier for each process.
	defaultEcho = 256
)

func (l *Limits) setDefaults() {
	for _, d := range []struct {
		value *int
		def   int
	}{{&l.HalfOpen, defaultHalfOpen}, {&l.TCP, defaultTCP}, {&l.UDP, defaultUDP}, {&l.Echo, defaultEcho}} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
}

// Options of a Forwarder. Gateway and Allow are required.
type Options struct {
	Gateway Gateway
	// Allow says whether containers may reach an address of the outside. It
	// is called on packet goroutines.
	Allow func(netip.Addr) bool
	// Limits for each container address.
	Limits Limits
	// Logger may be nil.
	Logger *slog.Logger
}

// Stats are a Forwarder's counters.
type Stats struct {
	TCP, HalfOpen, UDP, Echo int               // flows now
	Refused                  map[string]uint64 // flows that were not let out, by reason
}

// refusal is why a flow was not let out.
type refusal int

const (
	refusedPolicy refusal = iota
	refusedHalfOpen
	refusedTCP
	refusedUDP
	refusedEcho
	refusedSocket
	refusedShare
	numRefusals
)

var refusalNames = [numRefusals]string{
	"policy", "half_open_limit", "tcp_limit", "udp_limit", "echo_limit", "socket", "descriptor_share",
}

// Forwarder carries one network's flows to the outside.
type Forwarder struct {
	gw     Gateway
	allow  func(netip.Addr) bool
	limits Limits
	budget *budget
	log    *slog.Logger
	warned pace // of log lines that containers can cause

	accept *tcp.Forwarder

	ctx    context.Context // ends with the Forwarder
	cancel context.CancelFunc
	flows  sync.WaitGroup

	refused [numRefusals]atomic.Uint64

	mu       sync.Mutex
	closed   bool
	clients  map[netip.Addr]*client
	pending  map[stack.TransportEndpointID]*pendingTCP
	mappings map[netip.AddrPort]*mapping
	pings    map[pingKey]*ping
	sweeper  *time.Timer // armed only while there are mappings or pings
}

// client is what is known of one container address.
type client struct {
	halfOpen, tcp, udp, echo int
	// ctx ends when the address is released; connections hang on it.
	ctx    context.Context
	cancel context.CancelFunc
}

// flows is how many flows the client has, each with a descriptor.
func (c *client) flows() int { return c.halfOpen + c.tcp + c.udp + c.echo }

// idle reports whether nothing of the client is left.
func (c *client) idle() bool { return c.flows() == 0 }

// New makes a Forwarder. Its Handle functions are to be set as the gateway's
// handlers.
func New(o Options) *Forwarder {
	o.Limits.setDefaults()
	f := &Forwarder{
		gw: o.Gateway, allow: o.Allow, limits: o.Limits, budget: &descriptors, log: o.Logger,
		clients:  map[netip.Addr]*client{},
		pending:  map[stack.TransportEndpointID]*pendingTCP{},
		mappings: map[netip.AddrPort]*mapping{},
		pings:    map[pingKey]*ping{},
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	// The number of connections under way is bounded in HandleTCP, where it
	// is known whose they are.
	const unbounded = 1 << 30
	f.accept = tcp.NewForwarder(o.Gateway.Stack(), 0, unbounded, f.handleRequest)
	return f
}

// clientOf gives the client with address a. The caller holds mu.
func (f *Forwarder) clientOf(a netip.Addr) *client {
	c := f.clients[a]
	if c == nil {
		c = &client{}
		c.ctx, c.cancel = context.WithCancel(f.ctx)
		f.clients[a] = c
	}
	return c
}

// forget drops the client if nothing of it is left. The caller holds mu.
func (f *Forwarder) forget(a netip.Addr, c *client) {
	if c.idle() && f.clients[a] == c {
		c.cancel()
		delete(f.clients, a)
	}
}

// share takes a descriptor for a flow of c. The caller holds mu, and gives it back
// when the flow ends.
func (f *Forwarder) share(c *client) bool {
	if f.budget.take(c.flows()) {
		return true
	}
	f.refused[refusedShare].Add(1)
	return false
}

// warn logs what went wrong with a flow, but not for each packet of a container.
func (f *Forwarder) warn(msg string, err error) {
	if f.warned.take(time.Now()) {
		f.log.Warn(msg, "error", err)
	}
}

// permitted reports whether a flow to dst may leave.
func (f *Forwarder) permitted(dst netip.Addr) bool {
	if f.allow(dst) {
		return true
	}
	f.refused[refusedPolicy].Add(1)
	return false
}

// isGateway reports whether a is the gateway's own address.
func (f *Forwarder) isGateway(a netip.Addr) bool {
	for _, g := range f.gw.Addrs() {
		if g == a {
			return true
		}
	}
	return false
}

// ReleaseAddr ends all flows of a container address. It returns at once;
// connections are reset.
func (f *Forwarder) ReleaseAddr(a netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.clients[a]; c != nil {
		c.cancel()
		delete(f.clients, a)
	}
	for k, m := range f.mappings {
		if k.Addr() == a {
			f.dropMapping(k, m)
		}
	}
	for k, p := range f.pings {
		if k.addr == a {
			f.dropPing(k, p)
		}
	}
}

// Stats gives the counters.
func (f *Forwarder) Stats() Stats {
	f.mu.Lock()
	s := Stats{UDP: len(f.mappings), Echo: len(f.pings), HalfOpen: len(f.pending), Refused: map[string]uint64{}}
	for _, c := range f.clients {
		s.TCP += c.tcp
	}
	f.mu.Unlock()
	for r := range f.refused {
		if n := f.refused[r].Load(); n > 0 {
			s.Refused[refusalNames[r]] = n
		}
	}
	return s
}

// Close ends all flows, resets their connections, and waits for them.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	f.closed = true
	f.cancel()
	for k, m := range f.mappings {
		f.dropMapping(k, m)
	}
	for k, p := range f.pings {
		f.dropPing(k, p)
	}
	if f.sweeper != nil {
		f.sweeper.Stop()
	}
	f.mu.Unlock()
	f.flows.Wait()
	return nil
}
