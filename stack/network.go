package stack

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// Errors of New and AddPort.
var (
	ErrClosed    = errors.New("network is closed")
	ErrDuplicate = errors.New("already on the network")
	ErrNoSubnet  = errors.New("a network needs a subnet of at least one family")
	ErrGuard     = errors.New("not in the network's subnets")
)

// DefaultMTU is Docker's, in bytes.
const DefaultMTU = 1500

// MaxMTU is the largest MTU whose frames, with their Ethernet header, fit the
// largest buffer that netstack pools (64 KiB), in bytes.
const MaxMTU = maxFrame - packet.EthernetLen - 1

// Options of a network. One subnet is required, with a gateway's address or without.
type Options struct {
	// Name is for logs.
	Name string
	// MTU in bytes; 0 is DefaultMTU.
	MTU int
	// Gateway4 and Gateway6 are the gateway's addresses with their subnets'
	// prefix lengths; zero where the network does not have the family.
	Gateway4, Gateway6 netip.Prefix
	// Subnet4 and Subnet6 are subnets without a gateway; ignored where there is one.
	Subnet4, Subnet6 netip.Prefix
	// Service4 and Service6 are where the services of ListenUDP and ListenTCP are found
	// in a family without a gateway, and nothing else: addresses outside of the
	// subnets, for which containers have a route. Zero = nowhere. In a family with a
	// gateway they are found there instead of at the gateway's address, and may be in the
	// subnet.
	Service4, Service6 netip.Addr
	// MoreServices are further addresses outside of the subnets, in families with a gateway,
	// where the services are found as well.
	MoreServices []netip.Addr
	// MuteServices is for addresses of services where there are none: UDP and TCP to them
	// meet silence.
	MuteServices bool
	// NoICC keeps the ports apart: what goes from one to another are answers of
	// neighbour discovery, made by the switch, and what SetExceptions names.
	NoICC bool
	// Crossing, when it is not nil, leads to other networks; Open4 and Open6 open the
	// containers of this one to theirs.
	Crossing     *Crossing
	Open4, Open6 bool
	// Announce is how the ports are told of each other.
	Announce Announce
	// Logger may be nil.
	Logger *slog.Logger
}

// Network is the data plane of one network.
type Network struct {
	opts    Options
	log     *slog.Logger
	gateway *Gateway
	turns   *turns
	// subnet4 and subnet6 are zero where the network does not have the family.
	subnet4, subnet6 netip.Prefix

	table      atomic.Pointer[table]
	stations   stations
	exceptions exceptions
	crossed    crossed
	floods     pace // copies of frames for groups

	mu     sync.Mutex // replaces table, guards closed
	closed bool
}

// table is who is where. A table is never changed once it is in use.
type table struct {
	byMAC  map[packet.MAC]*Port
	byAddr map[netip.Addr]*Port
	ports  []*Port
	// extended are the ports with a Guard.
	extended []*Port
}

// New makes a network without ports. It returns ErrNoSubnet, or an error that
// names the address netstack refused.
func New(o Options) (*Network, error) {
	if o.MTU == 0 {
		o.MTU = DefaultMTU
	}
	n := &Network{opts: o, log: o.Logger, subnet4: o.Subnet4.Masked(), subnet6: o.Subnet6.Masked()}
	if o.Gateway4.IsValid() {
		n.subnet4 = o.Gateway4.Masked()
	}
	if o.Gateway6.IsValid() {
		n.subnet6 = o.Gateway6.Masked()
	}
	if !n.subnet4.IsValid() && !n.subnet6.IsValid() {
		return nil, ErrNoSubnet
	}
	if o.MTU < 68 || o.MTU > MaxMTU {
		return nil, fmt.Errorf("MTU %d: must be from 68 to %d bytes", o.MTU, MaxMTU)
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.log = n.log.With("network", o.Name)
	n.table.Store(&table{})
	var err error
	if n.turns, err = newTurns(); err != nil {
		return nil, err
	}
	if n.gateway, err = newGateway(n); err != nil {
		n.turns.close()
		return nil, err
	}
	n.crossed.net = n
	o.Crossing.join(n)
	return n, nil
}

// Gateway gives the network's gateway.
func (n *Network) Gateway() *Gateway { return n.gateway }

// hasIPv6 reports whether IPv6 frames may cross the network.
func (n *Network) hasIPv6() bool { return n.subnet6.IsValid() }

// AddPort puts an endpoint on the network, starts to carry its frames, and
// tells the others where its addresses are now. The port owns the device from
// here on, also when an error is returned: ErrDuplicate if the MAC or an
// address is taken, ErrGuard, ErrClosed.
func (n *Network) AddPort(o PortOptions) (*Port, error) {
	p := newPort(n, o)
	err := p.guard.check(n)
	if err == nil {
		err = n.insert(p)
	}
	if err != nil {
		o.Device.Close()
		return nil, err
	}
	p.start()
	n.announce(p, o.Known)
	return p, nil
}

func (n *Network) insert(p *Port) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	old := n.table.Load()
	if old.byMAC[p.mac] != nil || p.mac == n.gateway.mac {
		return fmt.Errorf("MAC %s: %w", p.mac, ErrDuplicate)
	}
	for _, a := range p.addrs {
		if old.byAddr[a] != nil || n.gateway.owns(a) {
			return fmt.Errorf("address %s: %w", a, ErrDuplicate)
		}
	}
	n.table.Store(newTable(append(slices.Clone(old.ports), p)))
	n.stations.evict(p)
	return nil
}

func (n *Network) remove(p *Port) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ports := slices.DeleteFunc(slices.Clone(n.table.Load().ports), func(q *Port) bool { return q == p })
	n.table.Store(newTable(ports))
	n.stations.forget(p)
}

func newTable(ports []*Port) *table {
	t := &table{
		byMAC:  make(map[packet.MAC]*Port, len(ports)),
		byAddr: make(map[netip.Addr]*Port, 3*len(ports)),
		ports:  ports,
	}
	for _, p := range ports {
		t.byMAC[p.mac] = p
		for _, a := range p.addrs {
			t.byAddr[a] = p
		}
		t.byAddr[p.linkLocal] = p
		if p.guard.extended() {
			t.extended = append(t.extended, p)
		}
	}
	return t
}

// Stats gives the counters of the ports that are on the network now.
func (n *Network) Stats() Stats {
	s := Stats{Name: n.opts.Name}
	for _, p := range n.table.Load().ports {
		s.Ports = append(s.Ports, p.Stats())
	}
	return s
}

// Close closes all ports and the gateway. It returns when no goroutine of the
// network runs any more.
func (n *Network) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	n.mu.Unlock()
	n.opts.Crossing.leave(n)
	for _, p := range n.table.Load().ports {
		p.Close()
	}
	n.crossed.close()
	n.gateway.close()
	n.turns.close()
	return nil
}
