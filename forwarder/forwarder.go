package forwarder

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/footbridge-net/footbridge/internal/crew"
	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/quota"
	"github.com/footbridge-net/footbridge/internal/share"
)

// Gateway is the network that flows come from.
type Gateway interface {
	Stack() *stack.Stack
	Addrs() []netip.Addr
	// SendDatagrams gives a container payload as one datagram, or as several of size
	// bytes if that is not 0.
	SendDatagrams(src, dst netip.AddrPort, payload []byte, size int) error
	SendEchoReply(src, dst netip.Addr, id, seq uint16, data []byte) error
	SendICMPError(from netip.Addr, e packet.ICMPError, quoted []byte) error
}

// Options of a Forwarder. Gateway and Allow are required.
type Options struct {
	Gateway Gateway
	// Allow says whether containers may reach an address of the outside. It
	// is called on packet goroutines.
	Allow func(netip.Addr) bool
	// HostPort says which ports of the gateway's own addresses lead to the same port
	// of the host's loopback; nil: none. It is called on packet goroutines, with
	// a protocol of IP.
	HostPort func(proto uint8, at netip.AddrPort) bool
	// NoHost: what is for the gateway's own addresses, and HostPort does not open, meets
	// "network unreachable" instead of being refused.
	NoHost bool
	// Hairpins is told of the sockets by which containers reach the host's loopback; nil:
	// nobody is.
	Hairpins Hairpins
	// Outbound is where flows leave the host.
	Outbound Outbound
	// Owner gives the address by which a container is known to limits, for any
	// of its addresses. nil: each address is a container. It is called when a
	// flow begins.
	Owner func(netip.Addr) netip.Addr
	// Limits for each container that has none of its own; see SetLimits.
	Limits Limits
	// Yield lets others run. Whoever has been busy for long on a socket that is
	// always ready calls it. nil means runtime.Gosched.
	Yield func()
	// Logger may be nil.
	Logger *slog.Logger
}

// Hairpins know which connections on the host's loopback are containers'.
type Hairpins interface {
	// Bind binds a socket that is to connect on the host's loopback, and notes where it
	// comes from.
	Bind(fd int, v4 bool) (from netip.AddrPort, err error)
	// Forget says that from is not a container's any more.
	Forget(from netip.AddrPort)
}

// Forwarder carries one network's flows to the outside.
type Forwarder struct {
	gw        Gateway
	allow     func(netip.Addr) bool
	hostPorts func(proto uint8, at netip.AddrPort) bool
	noHost    bool
	hairpins  Hairpins
	out       Outbound
	limits    Limits
	yield     func()
	log       *slog.Logger
	warned    pace // of log lines that containers can cause
	now       func() time.Time

	accept *tcp.Forwarder

	ctx    context.Context // ends with the Forwarder
	cancel context.CancelFunc
	flows  sync.WaitGroup

	descriptors, ports *share.Pool // of the process, and its ephemeral UDP ports

	refused [numRefusals]uint64 // under mu

	mu       sync.Mutex
	closed   bool
	clients  *quota.Table[*client, Limits]
	pending  map[stack.TransportEndpointID]*pendingTCP
	mappings map[mappingKey]*mapping
	pings    map[pingKey]*ping
	sweeper  *time.Timer // armed only while there are mappings or pings
}

// New makes a Forwarder. Its Handle functions are to be set as the gateway's
// handlers.
func New(o Options) *Forwarder {
	f := &Forwarder{
		gw: o.Gateway, allow: o.Allow, hostPorts: o.HostPort, noHost: o.NoHost, hairpins: o.Hairpins, out: o.Outbound,
		limits: o.Limits.or(defaults), yield: o.Yield, log: o.Logger, now: time.Now,
		descriptors: descriptors, ports: ephemeral(),
		pending:  map[stack.TransportEndpointID]*pendingTCP{},
		mappings: map[mappingKey]*mapping{},
		pings:    map[pingKey]*ping{},
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	if f.yield == nil {
		f.yield = runtime.Gosched
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.clients = quota.New(quota.Options[*client, Limits]{New: f.newClient, Limits: f.limits, Owner: o.Owner, Yield: f.yield})
	// The number of connections under way is bounded in HandleTCP, where it
	// is known whose they are.
	const unbounded = 1 << 30
	f.accept = tcp.NewForwarder(o.Gateway.Stack(), 0, unbounded, func(r *tcp.ForwarderRequest) {
		// Netstack has made a goroutine for it.
		crew.Go(func() { f.handleRequest(r) })
	})
	return f
}

// warn logs what went wrong with a flow, but not for each packet of a container.
func (f *Forwarder) warn(msg string, err error) {
	if f.warned.take(f.now(), warnEvery, 1) {
		f.log.Warn(msg, "error", err)
	}
}

// permitted reports whether a flow from src to dst may leave.
func (f *Forwarder) permitted(src, dst netip.Addr) bool {
	if f.allow(dst) {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse(f.clients.Find(f.clients.Owner(src)), refusedPolicy)
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

// Close ends all flows, resets their connections, and waits for them.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	f.closed = true
	f.cancel()
	if f.sweeper != nil {
		f.sweeper.Stop()
	}
	var ended []closer
	for k, m := range f.mappings {
		ended = append(ended, f.dropMapping(k, m))
	}
	for k, p := range f.pings {
		ended = append(ended, f.dropPing(k, p))
	}
	f.mu.Unlock()
	f.end(ended)
	f.flows.Wait()
	return nil
}
