package portfwd

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/footbridge-net/footbridge/internal/quota"
	"github.com/footbridge-net/footbridge/internal/share"
)

// Gateway is what a Forwarder needs of a network's gateway.
type Gateway interface {
	// DialTCP connects to a container from any source address; port 0 is any
	// free one. It returns after the handshake. Errors are syscall.Errno:
	// EADDRINUSE says that the source is taken for this destination.
	DialTCP(ctx context.Context, src, dst netip.AddrPort) (tcpip.Endpoint, *waiter.Queue, error)
	// SendDatagrams sends payload to the container that owns dst, from any source
	// address, as one datagram, or as several of size bytes if that is not 0. It does
	// not block and keeps nothing of payload.
	SendDatagrams(src, dst netip.AddrPort, payload []byte, size int) error
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
	// Budget is shared with the Forwarders of other networks. Nil means one of
	// the Forwarder's own.
	Budget *Budget
	Limits Limits
	// Owner gives the address by which a container is known to limits, for any
	// of its addresses. nil: each address is a container.
	Owner func(netip.Addr) netip.Addr
	// Yield lets others run. Whoever has been busy for long on a socket that is
	// always ready calls it. nil means runtime.Gosched.
	Yield func()
	// Hairpin reports whether a client on loopback is a container of ours, which has come
	// by a gateway: it is shown as the gateway, never as the container itself. It is
	// called once for each such client. nil: there are none.
	Hairpin func(client netip.AddrPort) bool
	// Logger gets events of listeners, never of packets. Nil means silence.
	Logger *slog.Logger

	clock clock // of flows; nil means the system's
	relay relay // nil means splice.Relay
}

// Forwarder serves the published ports of one network.
type Forwarder struct {
	gateway  Gateway
	gateway4 netip.Addr // zero if the network has no IPv4
	gateway6 netip.Addr
	subnets  []netip.Prefix
	budget   *Budget
	limits   Limits
	log      *slog.Logger
	clock    clock
	relay    relay
	hairpin  func(netip.AddrPort) bool

	containers containers
	flowsNow   atomic.Int64 // size of replies, read without the lock

	mu        sync.RWMutex
	closed    bool
	listeners map[*Listener]struct{}
	stocks    map[netip.Addr]*Stock
	replies   map[replyKey]*flow // UDP flows by what the container's answer looks like
	sweep     sweeper
	joined    map[*joined]struct{}
	joins     sync.WaitGroup // of joined; added to under mu
}

// New makes a Forwarder that serves nothing yet.
func New(o Options) *Forwarder {
	f := &Forwarder{
		gateway:   o.Gateway,
		budget:    o.Budget,
		limits:    o.Limits.withDefaults(),
		log:       o.Logger,
		clock:     o.clock,
		relay:     o.relay,
		hairpin:   o.Hairpin,
		listeners: make(map[*Listener]struct{}),
		stocks:    make(map[netip.Addr]*Stock),
		replies:   make(map[replyKey]*flow),
		joined:    make(map[*joined]struct{}),
	}
	f.containers = containers{
		halfOpen: share.New(f.limits.HalfOpenTotal),
		flows:    share.New(f.limits.FlowsTotal),
		all: quota.New(quota.Options[*container, ContainerLimits]{
			New: func() *container { return new(container) }, Limits: f.limits.Container, Owner: o.Owner, Yield: o.Yield,
		}),
	}
	if f.budget == nil {
		f.budget = NewBudget(0)
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

// Listeners gives the ports that are served, in no particular order.
func (f *Forwarder) Listeners() []*Listener {
	f.mu.RLock()
	defer f.mu.RUnlock()
	all := make([]*Listener, 0, len(f.listeners))
	for l := range f.listeners {
		all = append(all, l)
	}
	return all
}

// Close closes all Listeners, Stocks and what was joined, and waits for them. Serve,
// AddStock and Join fail from then on.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	f.closed = true
	for j := range f.joined {
		j.cancel()
	}
	stocks := slices.Collect(maps.Values(f.stocks))
	f.mu.Unlock()
	defer f.joins.Wait()
	for _, l := range f.Listeners() {
		l.Close()
	}
	for _, st := range stocks {
		st.Close()
	}
	return nil
}
