package plane

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/forwarder"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/portfwd"
	"github.com/footbridge-net/footbridge/stack"
	"github.com/footbridge-net/footbridge/tap"
)

// dnsPort is where containers ask for names, on the gateway.
const dnsPort = 53

// Options of a Plane. Name, one gateway or subnet, and Allow are required.
type Options struct {
	Name               string
	MTU                int          // bytes
	Gateway4, Gateway6 netip.Prefix // with the subnets' lengths; zero = none in that family
	Subnet4, Subnet6   netip.Prefix // zero = that of the gateway, or no such family
	Internal           bool         // no way out and none in
	Rules              Rules
	// Crossing leads to networks whose mode is ModeNATUnprotected; one for all
	// networks, nil = none. Ignored when Internal.
	Crossing *stack.Crossing
	// Published are the ports that are reached at the gateway, too; one for all
	// networks, nil = none. Ignored when Internal.
	Published *Published
	// Zone knows the containers' names; nil = nobody has one.
	Zone dns.Zone
	// Upstream is asked for other names; ignored when Internal.
	Upstream *dns.Upstream
	// Client is what is different for one container; see dns.Options.
	Client func(netip.Addr) dns.Client
	// Allow says which addresses containers may reach outside. It is called
	// for every flow and must not block.
	Allow func(netip.Addr) bool
	// Budget is shared by the published ports of all networks.
	Budget *portfwd.Budget
	// Gate is closed when frames may be read; nil = at once. A frame that is read
	// before the port is there that it is for would be lost, while it can wait in
	// its TAP.
	Gate   <-chan struct{}
	Logger *slog.Logger
}

// Plane is one network's data plane.
type Plane struct {
	opts Options
	log  *slog.Logger
	net  *stack.Network
	out  *forwarder.Forwarder // nil when internal without HostPorts
	in   *portfwd.Forwarder   // nil when internal
	join *portfwd.Forwarder   // in, and there on internal networks too: what the host's user dials
	dns  *dns.Server
	// config is nil where addresses are not given by protocol.
	config *configuration

	mu     sync.Mutex
	owners map[netip.Addr]string // of the first address of each port: its container
}

// New makes a network without endpoints.
func New(o Options) (*Plane, error) {
	p := &Plane{opts: o, log: o.Logger, owners: map[netip.Addr]string{}}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	var err error
	p.net, err = stack.New(o.stackOptions())
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", o.Name, err)
	}
	g := p.net.Gateway()
	in := portfwd.Options{
		Gateway: g, Subnets: p.subnets(), Budget: o.Budget, Owner: g.Owner, Yield: g.Yield, Logger: o.Logger,
	}
	if o.Published != nil {
		in.Hairpin = o.Published.hairpins.has
	}
	p.join = portfwd.New(in)
	if o.Internal {
		p.connectHost()
	} else {
		p.connectOutside()
	}
	if err := p.serveDNS(); err != nil {
		return nil, errors.Join(fmt.Errorf("network %s: %w", o.Name, err), p.Close())
	}
	p.configure()
	return p, nil
}

// connectOutside gives the gateway's flows to those who carry them.
func (p *Plane) connectOutside() {
	g := p.net.Gateway()
	p.out = p.newForwarder()
	p.in = p.join
	g.SetHandlers(stack.Handlers{
		TCP: p.out.HandleTCP,
		UDP: func(d packet.Datagram) {
			if !p.in.HandleDatagram(d) {
				p.out.HandleDatagram(d)
			}
		},
		Echo:   p.out.HandleEcho,
		OwnTCP: p.out.TakesTCP,
	})
}

func (p *Plane) subnets() []netip.Prefix {
	var out []netip.Prefix
	for _, is4 := range []bool{true, false} {
		if s := p.opts.subnet(is4); s.IsValid() {
			out = append(out, s)
		}
	}
	return out
}

// HostNames are the names under which containers find the machine that they run on, at
// their gateway's address.
var HostNames = []string{"host.docker.internal", "host.containers.internal", "gateway.docker.internal"}

// hosts are the addresses of HostNames.
func (p *Plane) hosts() map[string][]netip.Addr {
	addrs := p.opts.gateways()
	if len(addrs) == 0 || p.opts.Rules.NoHost {
		return nil
	}
	all := map[string][]netip.Addr{}
	for _, name := range HostNames {
		all[name] = addrs
	}
	return all
}

// live reports whether frames are read already.
func (p *Plane) live() bool {
	if p.opts.Gate == nil {
		return true
	}
	select {
	case <-p.opts.Gate:
		return true
	default:
		return false
	}
}

// serveDNS answers on the gateway's port 53 over both transports.
func (p *Plane) serveDNS() error {
	o := dns.Options{
		NetworkName: p.opts.Name, Zone: p.opts.Zone, Hosts: p.hosts(), Subnets: p.subnets(), Client: p.opts.Client, Logger: p.opts.Logger,
		Owner: p.net.Gateway().Owner, Yield: p.net.Gateway().Yield,
	}
	if !p.opts.Internal {
		o.Upstream = p.opts.Upstream
	}
	var err error
	if p.dns, err = dns.New(o); err != nil || p.opts.Rules.DNS.Off {
		return err
	}
	g := p.net.Gateway()
	listeners, err := g.ListenTCP(dnsPort)
	if err != nil {
		return fmt.Errorf("DNS: %w", err)
	}
	for _, l := range listeners {
		go func() {
			if err := p.dns.ServeTCP(l); err != nil {
				p.log.Error("DNS over TCP ended", "network", p.opts.Name, "error", err)
			}
		}()
	}
	g.ListenUDP(dnsPort, func(d packet.Datagram) {
		// One closure a datagram, not one a segment: the addresses are the
		// same for all of them.
		src, dst := d.Src, d.Dst
		reply := func(answer []byte) {
			if err := g.SendUDP(dst, src, answer); err != nil {
				p.log.Debug("DNS answer not delivered", "network", p.opts.Name, "to", src, "error", err)
			}
		}
		for query := range segments(d) {
			p.dns.HandleDatagram(src, query, reply)
		}
	})
	return nil
}

// segments yields the datagrams that the container's kernel left in one.
func segments(d packet.Datagram) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		rest, size := d.Payload, d.SegmentSize
		if size <= 0 {
			size = len(rest)
		}
		for len(rest) > 0 {
			n := min(size, len(rest))
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// Serve leads what comes to the socket h, which is bound to m.Host, to the
// container. It takes the handle over, also when it fails.
func (p *Plane) Serve(m portfwd.Mapping, h *fdpass.Handle) (*portfwd.Listener, error) {
	if p.in == nil {
		return nil, errors.Join(fmt.Errorf("network %s is internal: nothing can be published on it", p.opts.Name), h.Close())
	}
	return p.in.Serve(m, h)
}

// AddStock makes a place for sockets inside the container with address a; see
// [portfwd.Forwarder.AddStock].
func (p *Plane) AddStock(a netip.Addr, bell func()) (*portfwd.Stock, error) {
	if p.in == nil {
		return nil, fmt.Errorf("network %s is internal: nothing can be published on it", p.opts.Name)
	}
	return p.in.AddStock(a, bell)
}

// Join leads the host's stream socket h to a container's port; see
// [portfwd.Forwarder.Join].
func (p *Plane) Join(h *fdpass.Handle, owner string, to []netip.AddrPort) error {
	return p.join.Join(h, owner, to)
}

// Close ends everything and waits for it.
func (p *Plane) Close() error {
	var errs []error
	p.config.close()
	if p.join != nil {
		errs = append(errs, p.join.Close())
	}
	if p.dns != nil {
		errs = append(errs, p.dns.Close())
	}
	if p.out != nil {
		errs = append(errs, p.out.Close())
	}
	return errors.Join(append(errs, p.net.Close())...)
}

// Link is an endpoint to be made.
type Link struct {
	Container string // name, for logs and counters
	Interface string // eth0 ...
	MAC       [6]byte
	// Addresses with their subnets' prefix lengths.
	Addresses []netip.Prefix
	// Guard is what the endpoint may carry beyond its own.
	Guard stack.Guard
	// Limits bound what the endpoint makes the network hold.
	Limits Limits
	// Hostname and Search are what the container is told by DHCP besides addresses.
	Hostname string   `json:",omitzero"`
	Search   []string `json:",omitempty"`
	// Plain: the device is one without virtio headers.
	Plain bool `json:",omitzero"`
}

// Port is an endpoint on the network.
type Port struct {
	plane *Plane
	port  *stack.Port
	addrs []netip.Addr
}

// AddPort puts an endpoint on the network, by its TAP's device, which it takes over,
// also when it fails.
func (p *Plane) AddPort(l Link, device *tap.Device) (*Port, error) {
	var addrs []netip.Addr
	for _, a := range l.Addresses {
		addrs = append(addrs, a.Addr())
	}
	known := p.config.add(l)
	port, err := p.net.AddPort(stack.PortOptions{
		Name: l.Container, MAC: packet.MAC(l.MAC), Addresses: addrs, Device: newTap(device, p.opts.Gate),
		Guard: l.Guard, Limits: l.Limits.stack(), Known: !p.live(),
	})
	if err != nil { // AddPort has closed the device
		if known {
			p.config.remove(l.MAC)
		}
		return nil, fmt.Errorf("network %s: %w", p.opts.Name, err)
	}
	p.setLimits(addrs[0], l.Limits)
	p.mu.Lock()
	p.owners[addrs[0]] = l.Container
	p.mu.Unlock()
	p.config.greet(port)
	return &Port{plane: p, port: port, addrs: addrs}, nil
}

// Close takes the endpoint off the network and ends its flows to the outside.
// The interface stays in its namespace.
func (p *Port) Close() error {
	err := p.port.Close()
	p.plane.mu.Lock()
	delete(p.plane.owners, p.addrs[0])
	p.plane.mu.Unlock()
	p.plane.release(p.addrs[0])
	p.plane.config.remove(p.port.MAC())
	return err
}
