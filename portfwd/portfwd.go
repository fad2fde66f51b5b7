package portfwd

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Gateway is what a Forwarder needs of a network's gateway.
type Gateway interface {
	// DialTCP connects to a container from any source address; port 0 is any
	// free one. It returns after the handshake. Errors are syscall.Errno:
	// EADDRINUSE says that the source is taken for this destination.
	DialTCP(ctx context.Context, src, dst netip.AddrPort) (tcpip.Endpoint, *waiter.Queue, error)
	// SendUDP sends a datagram to the container that owns dst, from any source
	// address. It does not block and keeps nothing of payload.
	SendUDP(src, dst netip.AddrPort, payload []byte) error
	// Addrs are the gateway's own addresses, at most one of each family that
	// is not link-local.
	Addrs() []netip.Addr
}

// Options configure a Forwarder. Only Gateway is required.
type Options struct {
	Gateway Gateway
	// Subnets are the network's. Their addresses are never shown to a
	// container as a client's, and if any is given every Mapping must lead
	// into one.
	Subnets []netip.Prefix
	// Registry knows the owners of published ports on all networks. Nil means
	// one of the Forwarder's own.
	Registry *Registry
	Limits   Limits
	// Logger gets events of listeners, never of packets. Nil means silence.
	Logger *slog.Logger

	clock clock // of flows; nil means the system's
	relay relay // nil means splice.Relay
}

// Mapping is one published port.
type Mapping struct {
	// Proto is "tcp" or "udp".
	Proto string
	// Host is the address to listen at, exactly. Port 0 lets the kernel
	// choose. An IPv4-mapped IPv6 address means the IPv4 address.
	Host netip.AddrPort
	// Container is where it leads, preferably in Host's family.
	Container netip.AddrPort
	// Other, if it is valid, is the container's address of the other family.
	// TCP connections go there when Container refuses them: a client that was
	// accepted on [::] does not try 0.0.0.0 any more, though many services
	// listen on IPv4 only.
	Other netip.AddrPort
	// Owner is the container's name, for the errors of others.
	Owner string
}

// Forwarder owns the published ports of one network.
type Forwarder struct {
	gateway  Gateway
	gateway4 netip.Addr // zero if the network has no IPv4
	gateway6 netip.Addr
	subnets  []netip.Prefix
	registry *Registry
	limits   Limits
	log      *slog.Logger
	clock    clock
	relay    relay

	halfOpen atomic.Int64 // TCP connections waiting for a container
	flowsNow atomic.Int64 // size of replies, read without the lock

	mu        sync.RWMutex
	closed    bool
	listeners map[*Listener]struct{}
	replies   map[replyKey]*flow // UDP flows by what the container's answer looks like
	sweep     sweeper
}

// New makes a Forwarder that publishes nothing yet.
func New(o Options) *Forwarder {
	f := &Forwarder{
		gateway:   o.Gateway,
		registry:  o.Registry,
		limits:    o.Limits.withDefaults(),
		log:       o.Logger,
		clock:     o.clock,
		relay:     o.relay,
		listeners: make(map[*Listener]struct{}),
		replies:   make(map[replyKey]*flow),
	}
	if f.registry == nil {
		f.registry = NewRegistry()
	}
	if f.log == nil {
		f.log = slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1}))
	}
	if f.clock == nil {
		f.clock = newSystemClock()
	}
	if f.relay == nil {
		f.relay = spliceRelay
	}
	for _, p := range o.Subnets {
		f.subnets = append(f.subnets, p.Masked())
	}
	for _, a := range o.Gateway.Addrs() {
		switch a = a.Unmap(); {
		case a.IsLinkLocalUnicast():
			// A container can answer it only with a zone: of no use as a source.
		case a.Is4() && !f.gateway4.IsValid():
			f.gateway4 = a
		case a.Is6() && !f.gateway6.IsValid():
			f.gateway6 = a
		}
	}
	return f
}

// Listeners gives the published ports in no particular order.
func (f *Forwarder) Listeners() []*Listener {
	f.mu.RLock()
	defer f.mu.RUnlock()
	all := make([]*Listener, 0, len(f.listeners))
	for l := range f.listeners {
		all = append(all, l)
	}
	return all
}

// Close closes all Listeners and waits for them. Publish fails from then on.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	for _, l := range f.Listeners() {
		l.Close()
	}
	return nil
}
