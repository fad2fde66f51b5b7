package stack

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/footbridge-net/footbridge/internal/errno"
	"github.com/footbridge-net/footbridge/internal/packet"
)

// nicID is the gateway's only NIC.
const nicID tcpip.NICID = 1

// TCP's buffers on the side of the container, in bytes. A window of 1 MiB is
// enough for the bandwidth-delay product of a path inside one machine; up to
// 8 MiB are for containers that stop reading for a while. They are taken only
// when they are used.
const (
	tcpBufferMin     = 4 << 10
	tcpBufferDefault = 1 << 20
	tcpBufferMax     = 8 << 20
)

// timeWait is shorter than the usual minute: no segment wanders between two
// processes of one machine, and a container that repeats its last one, because
// our answer was lost, is answered with a reset that harms nobody. A connection
// in TIME-WAIT holds 10 KB, which nobody counts, and swallows the SYN of a
// container that uses its port again: with 5 s that was seen from 3,000
// connections in a second on.
const timeWait = 100 * time.Millisecond

// lingerTimeout is how long a closed connection waits for its container's end.
const lingerTimeout = 5 * time.Second

// goneTimeout is when a connection of the gateway's own listeners ends whose
// container has not acknowledged anything meanwhile: as long as a stub resolver
// waits at most (RFC 7766 6.2.3 asks for seconds). Closed ones would otherwise
// stay for a quarter of an hour.
const goneTimeout = 10 * time.Second

// backlog is how many connections of a listener may be in their handshake
// before netstack answers with SYN cookies.
const backlog = 64

// synRetries bounds a handshake with a container to 15 s. Containers are
// microseconds away: one that has not answered by then has gone, and whoever
// closes the network would wait for it.
const synRetries = 3

// Handlers take what leaves the network. They are called on the goroutine that
// reads a container's device and must not wait. A nil handler drops.
type Handlers struct {
	// TCP is called for segments that belong to no connection of netstack,
	// with the same contract as stack.SetTransportProtocolHandler's.
	TCP func(stack.TransportEndpointID, *stack.PacketBuffer) bool
	// UDP is called for datagrams to other addresses than the gateway's.
	UDP func(packet.Datagram)
	// Echo is called for echo requests to other addresses than the gateway's.
	Echo func(packet.Echo)
	// OwnTCP says for which of the gateway's own addresses and ports TCP is called,
	// too; nil: for none. What listens at a port goes before.
	OwnTCP func(netip.AddrPort) bool
	// OwnOnly: there is no way to other addresses than the gateway's own, as without
	// any handler.
	OwnOnly bool
}

// Gateway is a network's own station: it answers ping, takes DNS and the like
// on its addresses, and gives what is for the outside to its handlers.
type Gateway struct {
	net   *Network
	mac   packet.MAC
	addrs []netip.Addr
	// services are addresses of families without a gateway, where its services are.
	services []netip.Addr
	more     []netip.Addr // further addresses of services
	stack    *stack.Stack
	link     *link
	// broadcast is the subnet's address for all; invalid without IPv4.
	broadcast netip.Addr
	// linkLocal is what routers are known by; invalid without a gateway for IPv6.
	linkLocal netip.Addr

	handlers   atomic.Pointer[Handlers]
	configurer atomic.Pointer[Configurer]

	mu  sync.Mutex // replaces udp and tcp
	udp atomic.Pointer[map[uint16]func(packet.Datagram)]
	tcp atomic.Pointer[map[uint16]bool] // ports that ListenTCP was called for
}

func newGateway(n *Network) (*Gateway, error) {
	g := &Gateway{net: n}
	g.handlers.Store(&Handlers{})
	g.udp.Store(&map[uint16]func(packet.Datagram){})
	g.tcp.Store(&map[uint16]bool{})
	g.configurer.Store(&Configurer{})
	g.findAddrs()
	switch {
	case len(g.addrs) == 0:
		g.mac = NoGatewayMAC
	case g.addrs[0].Is4():
		g.mac = packet.MACFromIPv4(g.addrs[0])
	default:
		g.mac = packet.MACFromIPv6(g.addrs[0])
	}
	if n.opts.Gateway6.IsValid() {
		g.linkLocal = g.mac.LinkLocal()
	}
	g.link = newLink(g)
	g.stack = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			ipv4.NewProtocol,
			// No duplicate address detection, solicitation or
			// advertisement: addresses are known here, not negotiated.
			ipv6.NewProtocolWithOptions(ipv6.Options{}),
		},
		TransportProtocols: []stack.TransportProtocolFactory{
			tcp.NewProtocolCUBIC, icmp.NewProtocol4, icmp.NewProtocol6,
		},
		HandleLocal: false,
	})
	if err := g.configure(); err != nil {
		g.stack.Destroy()
		return nil, err
	}
	return g, nil
}

func (g *Gateway) configure() error {
	s := g.stack
	sack, moderate := tcpip.TCPSACKEnabled(true), tcpip.TCPModerateReceiveBufferOption(true)
	wait, retries := tcpip.TCPTimeWaitTimeoutOption(timeWait), tcpip.TCPSynRetriesOption(synRetries)
	linger := tcpip.TCPLingerTimeoutOption(lingerTimeout)
	for _, o := range []tcpip.SettableTransportProtocolOption{
		&sack, &moderate, &wait, &retries, &linger,
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: tcpBufferMin, Default: tcpBufferDefault, Max: tcpBufferMax},
		&tcpip.TCPSendBufferSizeRangeOption{Min: tcpBufferMin, Default: tcpBufferDefault, Max: tcpBufferMax},
	} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return fmt.Errorf("netstack option %T: %w", o, errno.From(err))
		}
	}
	// The handler is set before there is a NIC: netstack does not lock it.
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, g.handleTCP)
	if err := s.CreateNIC(nicID, g.link); err != nil {
		return fmt.Errorf("netstack NIC: %w", errno.From(err))
	}
	// Any destination is taken, and answered from.
	s.SetPromiscuousMode(nicID, true)
	s.SetSpoofing(nicID, true)
	for _, p := range g.prefixes() {
		err := s.AddProtocolAddress(nicID, tcpip.ProtocolAddress{
			Protocol: protocolOf(p.Addr()),
			AddressWithPrefix: tcpip.AddressWithPrefix{
				Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits(),
			},
		}, stack.AddressProperties{})
		if err != nil {
			return fmt.Errorf("gateway address %s: %w", p, errno.From(err))
		}
	}
	// Whatever netstack sends goes to the containers.
	s.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nicID},
		{Destination: header.IPv6EmptySubnet, NIC: nicID},
	})
	return nil
}

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

func fullAddress(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nicID, Addr: tcpip.AddrFromSlice(a.Addr().AsSlice()), Port: a.Port()}
}

func addrOf(a tcpip.Address) netip.Addr {
	addr, _ := netip.AddrFromSlice(a.AsSlice())
	return addr
}

// MAC gives the gateway's Ethernet address.
func (g *Gateway) MAC() packet.MAC { return g.mac }

// Addrs gives the gateway's addresses, at most one of each family, IPv4 first.
func (g *Gateway) Addrs() []netip.Addr { return g.addrs }

// Stack gives the gateway's netstack.
func (g *Gateway) Stack() *stack.Stack { return g.stack }

// SetHandlers replaces who takes flows to the outside.
func (g *Gateway) SetHandlers(h Handlers) { g.handlers.Store(&h) }

func (g *Gateway) owns(a netip.Addr) bool {
	for _, own := range g.addrs {
		if own == a {
			return true
		}
	}
	for _, own := range g.services {
		if own == a {
			return true
		}
	}
	for _, own := range g.more {
		if own == a {
			return true
		}
	}
	return a == g.linkLocal && a.IsValid()
}

// routes reports whether a is an address that the gateway has as a router.
func (g *Gateway) routes(a netip.Addr) bool {
	return slices.Contains(g.addrs, a) || a == g.linkLocal && a.IsValid()
}

// isBroadcast reports whether a stands for all stations, here or anywhere.
func (g *Gateway) isBroadcast(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	return a == g.broadcast || a == limitedBroadcast
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// lastOf gives the last address of an IPv4 subnet, which is its broadcast
// address. Subnets of two addresses have none (RFC 3021).
func lastOf(p netip.Prefix) netip.Addr {
	if p.Bits() > 30 {
		return netip.Addr{}
	}
	b := p.Addr().As4()
	last := binary.BigEndian.Uint32(b[:]) | (1<<(32-p.Bits()) - 1)
	binary.BigEndian.PutUint32(b[:], last)
	return netip.AddrFrom4(b)
}

// addr gives the gateway's address of a family.
func (g *Gateway) addr(v4 bool) (netip.Addr, bool) {
	for _, a := range g.addrs {
		if a.Is4() == v4 {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// ListenUDP gives h the datagrams that containers send to the gateway's own
// addresses at port, or to those of its services. h is called on packet goroutines and must not wait.
func (g *Gateway) ListenUDP(port uint16, h func(packet.Datagram)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := maps.Clone(*g.udp.Load())
	m[port] = h
	g.udp.Store(&m)
}

// ListenTCP listens on the gateway's own addresses at port, one listener for
// each family, or on those of its services.
func (g *Gateway) ListenTCP(port uint16) ([]net.Listener, error) {
	var all []net.Listener
	for _, a := range g.serviceAddrs() {
		l, err := g.listenTCP(netip.AddrPortFrom(a, port))
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, fmt.Errorf("gateway %s: listen on tcp port %d: %w", a, port, err)
		}
		all = append(all, l)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m := maps.Clone(*g.tcp.Load())
	m[port] = true
	g.tcp.Store(&m)
	return all, nil
}

func (g *Gateway) listenTCP(at netip.AddrPort) (net.Listener, error) {
	wq := new(waiter.Queue)
	ep, terr := g.stack.NewEndpoint(tcp.ProtocolNumber, protocolOf(at.Addr()), wq)
	if terr != nil {
		return nil, errno.From(terr)
	}
	timeout := tcpip.TCPUserTimeoutOption(goneTimeout) // accepted ones inherit it
	terr = ep.SetSockOpt(&timeout)
	if terr == nil {
		terr = ep.Bind(fullAddress(at))
	}
	if terr == nil {
		terr = ep.Listen(backlog)
	}
	if terr != nil {
		ep.Close()
		return nil, errno.From(terr)
	}
	return newListener(ep, wq, at), nil
}

// DialTCP connects to a container through netstack, seemingly from src, which
// may be any address; port 0 takes a free one. It returns after the handshake.
// Errors are syscall.Errno: ECONNREFUSED, EHOSTUNREACH, EADDRINUSE when the
// connection from src exists already, ETIMEDOUT when ctx is done first.
func (g *Gateway) DialTCP(ctx context.Context, src, dst netip.AddrPort) (tcpip.Endpoint, *waiter.Queue, error) {
	if _, ok := g.net.find(dst.Addr()); !ok && !g.net.possible(dst.Addr()) {
		return nil, nil, syscall.EHOSTUNREACH
	}
	wq := new(waiter.Queue)
	ep, terr := g.stack.NewEndpoint(tcp.ProtocolNumber, protocolOf(dst.Addr()), wq)
	if terr != nil {
		return nil, nil, errno.From(terr)
	}
	entry, ch := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	// One client may talk to several containers from one of its ports.
	ep.SocketOptions().SetReuseAddress(true)
	terr = ep.Bind(fullAddress(src))
	if terr == nil {
		terr = ep.Connect(fullAddress(dst))
	}
	if _, started := terr.(*tcpip.ErrConnectStarted); started {
		select {
		case <-ch:
			terr = ep.LastError()
		case <-ctx.Done():
			terr = &tcpip.ErrTimeout{}
		}
	}
	if terr != nil {
		ep.Abort()
		return nil, nil, errno.From(terr)
	}
	return ep, wq, nil
}

// Owner gives the address by which quotas know the container that has a now: the first
// of its port's own, also for addresses that it has by its Guard; a itself when
// nobody has it.
func (g *Gateway) Owner(a netip.Addr) netip.Addr {
	if to, ok := g.net.find(a); ok && len(to.port.addrs) > 0 {
		return to.port.addrs[0]
	}
	return a
}

// Yield lets everybody run first who is ready: devices, sockets, timers. It is
// for loops that never wait because they always find something to do.
func (g *Gateway) Yield() { g.net.turns.yield() }

func (g *Gateway) close() {
	g.stack.Destroy()
}
