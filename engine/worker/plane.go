package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/internal/fdstore"
	"github.com/footbridge-net/footbridge/tap"
)

// set puts a fact without descriptors.
func (s *Supervisor) set(k kind, key string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("worker: encode %s: %w", k, err)
	}
	return s.put(&fact{factID: factID{k, key}, body: b})
}

// SetServers says whom containers' questions go to.
func (s *Supervisor) SetServers(c dns.Config) {
	s.logged(s.set(kindServers, "", serversBody{c}))
}

// SetBlocked says which subnets no container reaches through its gateway.
func (s *Supervisor) SetBlocked(subnets []netip.Prefix) {
	s.logged(s.set(kindBlocked, "", blockedBody{subnets}))
}

func (s *Supervisor) logged(err error) {
	if err != nil {
		s.log.Error("data plane not brought up to date", "error", err)
	}
}

// Plane is one network's data plane.
type Plane struct {
	s    *Supervisor
	spec Spec
	log  *slog.Logger

	mu      sync.Mutex
	closers map[interface{ Close() error }]struct{} // ports and listeners
	stocks  map[netip.Addr]int                      // by the listeners that lead there
}

// NewPlane makes a network without endpoints.
func (s *Supervisor) NewPlane(spec Spec) (*Plane, error) {
	if err := s.set(kindPlane, spec.ID, planeBody{spec}); err != nil {
		return nil, fmt.Errorf("network %s: %w", spec.Name, err)
	}
	return &Plane{s: s, spec: spec, log: s.log, closers: map[interface{ Close() error }]struct{}{}, stocks: map[netip.Addr]int{}}, nil
}

// Close ends the network with everything on it.
func (p *Plane) Close() error {
	p.mu.Lock()
	closers := p.closers
	p.closers = nil
	p.mu.Unlock()
	var errs []error
	for c := range closers {
		errs = append(errs, c.Close())
	}
	errs = append(errs, p.s.drop(factID{kindPlane, p.spec.ID}))
	p.s.forget(kindNames, p.spec.ID+"/")
	p.s.forget(kindClient, p.spec.ID+"/")
	p.s.forget(kindLinks, p.spec.ID+"/")
	return errors.Join(errs...)
}

func (p *Plane) add(c interface{ Close() error }) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closers != nil {
		p.closers[c] = struct{}{}
	}
}

func (p *Plane) remove(c interface{ Close() error }) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.closers, c)
}

// SetNames makes names lead to addresses on behalf of an endpoint, instead of what
// the endpoint had.
func (p *Plane) SetNames(owner string, names []string, addrs []netip.Addr) error {
	return p.s.set(kindNames, p.spec.ID+"/"+owner, namesBody{p.spec.ID, owner, names, addrs})
}

// RemoveNames takes an endpoint's names away.
func (p *Plane) RemoveNames(owner string) error {
	return p.s.drop(factID{kindNames, p.spec.ID + "/" + owner})
}

// SetView gives the container with that address its own view of names; an empty
// one takes it away.
func (p *Plane) SetView(a netip.Addr, v View) error {
	key := clientKey(p.spec.ID, a)
	if v.empty() {
		return p.s.drop(factID{kindClient, key})
	}
	return p.s.set(kindClient, key, clientBody{p.spec.ID, a, v})
}

func clientKey(network string, a netip.Addr) string { return network + "/" + a.String() }

// Link is an endpoint to be made.
type Link struct {
	plane.Link
	// Endpoint is its id: the same one for the same interface of a container in
	// the daemon's next life.
	Endpoint string
	// Default4 and Default6 put the container's default routes of the family on
	// this link. Internal networks never get them.
	Default4, Default6 bool
	Sysctls            map[string]string
	// Guest: the namespace is somebody else's, see tap.LinkOptions.
	Guest bool
	// Bare: the interface is set up and moved by others, see tap.LinkOptions. The addresses are
	// what it may send from.
	Bare bool
	// Existing is what to change of an interface that is there.
	Existing tap.Existing
}

// Port is an endpoint on the network.
type Port struct {
	plane  *Plane
	id     factID
	closed atomic.Bool
}

// Attach makes the link's interface in ns, or takes it over if it is there, and
// puts it on the network.
func (p *Plane) Attach(ctx context.Context, ns tap.Namespaces, l Link) (*Port, error) {
	i, err := p.stored(l)
	if err != nil {
		i, err = tap.Attach(ctx, ns, p.options(l))
	}
	if err != nil {
		return nil, err
	}
	for _, w := range i.Warnings {
		p.log.Warn("interface set up with a flaw", "network", p.spec.Name, "container", l.Container, "warning", w)
	}
	return p.Plug(i, l)
}

// Plug puts an interface that is there already on the network, which takes its queues
// over, also when it fails. l.MAC is the port's own.
func (p *Plane) Plug(i *tap.Interface, l Link) (*Port, error) {
	l.Plain = i.Plain
	b, err := json.Marshal(portBody{p.spec.ID, l.Link})
	if err != nil {
		return nil, errors.Join(err, i.Close())
	}
	f := &fact{factID: factID{kindPort, l.Endpoint}, body: b, handles: i.Queues}
	for n := range i.Queues {
		f.stored = append(f.stored, queueName(l.Endpoint, n))
	}
	if err := p.s.put(f); err != nil {
		return nil, err
	}
	port := &Port{plane: p, id: f.factID}
	p.add(port)
	return port, nil
}

// queueName is what a queue of an endpoint is called in the store.
func queueName(endpoint string, n int) string {
	return fdstore.Name(storeOwner, "tap", fmt.Sprintf("%.16s", endpoint), strconv.Itoa(n))
}

// stored takes the endpoint's interface out of the store: it was set up by the
// program before, and its queues have never been closed.
func (p *Plane) stored(l Link) (*tap.Interface, error) {
	i := &tap.Interface{Name: l.Interface, MAC: l.MAC, Bare: l.Bare}
	if p.s.opts.Store != nil && l.Endpoint != "" {
		for n := 0; ; n++ {
			h, ok := p.s.opts.Store.Get(queueName(l.Endpoint, n))
			if !ok {
				break
			}
			i.Queues = append(i.Queues, h)
		}
	}
	if err := i.Check(); err != nil {
		for n := range i.Queues { // or the queue would keep others from attaching
			err = errors.Join(err, p.s.opts.Store.Remove(queueName(l.Endpoint, n)))
		}
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

func (p *Plane) options(l Link) tap.LinkOptions {
	if l.Bare {
		return tap.LinkOptions{Name: l.Interface, MAC: l.MAC, MTU: p.spec.MTU, Bare: true, Guest: true, Existing: l.Existing, DisableIPv6: true}
	}
	o := tap.LinkOptions{
		Name: l.Interface, MAC: l.MAC, MTU: p.spec.MTU, Addresses: l.Addresses,
		DisableIPv6: !slices.ContainsFunc(l.Addresses, func(a netip.Prefix) bool { return a.Addr().Is6() }),
		Sysctls:     l.Sysctls, Existing: l.Existing, Guest: l.Guest,
	}
	if !p.spec.Internal {
		if l.Default4 {
			o.Gateway4 = p.spec.Gateway4.Addr()
		}
		if l.Default6 {
			o.Gateway6 = p.spec.Gateway6.Addr()
		}
	}
	o.OnLink = p.spec.resolvers(l)
	return o
}

// Reroute makes the container's default routes over an interface that Attach made
// those of l. Frames go on meanwhile.
func (p *Plane) Reroute(ctx context.Context, ns tap.Namespaces, l Link) error {
	return tap.Routes(ctx, ns, p.options(l))
}

// Unplug removes an interface that Attach made.
func (p *Plane) Unplug(ctx context.Context, ns tap.Namespaces, name string) error {
	return tap.Detach(ctx, ns, name)
}

// Close takes the endpoint off the network and ends its flows. The interface stays
// in its namespace.
func (p *Port) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	p.plane.remove(p)
	return p.plane.s.drop(p.id)
}

// Stats reads the network's counters.
func (p *Plane) Stats() plane.Stats {
	var st plane.Stats
	p.s.ask(opStats, p.spec.ID, &st)
	st.Network = counters(st.Network)
	for name, c := range st.Ports {
		st.Ports[name] = counters(c)
	}
	return st
}

// maxCounters bounds the counters of a network or a port: twice what there are.
const maxCounters = 256

// counters are those whose names are a counter's: they are shown in terminals.
func counters(of map[string]uint64) map[string]uint64 {
	if len(of) > maxCounters {
		return nil
	}
	maps.DeleteFunc(of, func(name string, _ uint64) bool {
		return len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != ""
	})
	return of
}
