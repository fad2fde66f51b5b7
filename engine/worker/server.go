package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/sandbox"
	"github.com/footbridge-net/footbridge/portfwd"
	"github.com/footbridge-net/footbridge/stack"
	"github.com/footbridge-net/footbridge/tap"
)

// server is the worker's state. Its maps are used by the goroutine that serves.
type server struct {
	log      *slog.Logger
	fds      *os.File // this process's descriptors
	sandbox  sandbox.State
	upstream *dns.Upstream
	policy   *plane.Policy
	budget   *portfwd.Budget
	crossing *stack.Crossing
	// published are the listeners' ports.
	published *plane.Published

	networks  map[string]*network
	ports     map[string]*plane.Port
	listeners map[string]listener
	stocks    map[string]stock
	start     chan struct{} // closed by opStart
	zones     sync.Map      // of network ids to *dns.Names: asked by packets
}

// listener is a published port and the network that it leads over.
type listener struct {
	*portfwd.Listener
	network string
}

// stock is a place for sockets inside a container, and the network that it is on.
type stock struct {
	*portfwd.Stock
	network string
}

// network is a plane and what its DNS server looks up.
type network struct {
	*plane.Plane
	names *dns.Names

	mu      sync.RWMutex
	clients map[netip.Addr]dns.Client
}

func (n *network) client(a netip.Addr) dns.Client {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.clients[a]
}

func newServer(log *slog.Logger, fds *os.File) (*server, error) {
	s := &server{
		log: log, fds: fds, policy: plane.NewPolicy(), budget: portfwd.NewBudget(0), crossing: new(stack.Crossing), published: new(plane.Published),
		start: make(chan struct{}), networks: map[string]*network{}, ports: map[string]*plane.Port{}, listeners: map[string]listener{},
		stocks: map[string]stock{},
	}
	var err error
	s.upstream, err = dns.NewUpstream("", dns.UpstreamOptions{Logger: log})
	return s, err
}

// answer sends what came of a request.
func (s *server) answer(conn *fdpass.Conn, body any, failed error) error {
	var r reply
	if failed != nil {
		r.Error = clean(failed.Error())
		if r.Error == "" {
			r.Error = "unknown error"
		}
	} else if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r.Body = b
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return sendReply(conn, b)
}

var errRequest = errors.New("a request without sense")

// do carries a request out. Handles that it takes over are empty afterwards.
func (s *server) do(r request, handles []*fdpass.Handle) (body any, err error) {
	switch r.Op {
	case opPut:
		return nil, s.put(r, handles)
	case opDrop:
		return nil, s.drop(r.Kind, r.Key)
	case opStart:
		select {
		case <-s.start:
			return nil, fmt.Errorf("%w: started twice", errRequest)
		default:
			close(s.start)
			return nil, nil
		}
	case opJoin:
		return nil, s.join(r, handles)
	case opWanted:
		return s.wanted(), nil
	case opSupply:
		return nil, s.supply(r, handles)
	case opStats:
		if n := s.networks[r.Key]; n != nil {
			return n.Stats(), nil
		}
		return plane.Stats{}, nil
	case opSelf:
		return s.self(), nil
	case opFiles:
		return s.openFiles(), nil
	}
	return nil, fmt.Errorf("%w: %q", errRequest, r.Op)
}

// put makes a fact so, instead of what its key stood for.
func (s *server) put(r request, handles []*fdpass.Handle) error {
	switch r.Kind {
	case kindServers:
		var b serversBody
		if err := decode(r.Body, &b); err != nil {
			return err
		}
		return s.upstream.SetConfig(b.Config)
	case kindBlocked:
		var b blockedBody
		if err := decode(r.Body, &b); err != nil {
			return err
		}
		s.policy.Block(b.Subnets)
		return nil
	case kindPlane:
		var b planeBody
		if err := decode(r.Body, &b); err != nil {
			return err
		}
		return errors.Join(s.drop(r.Kind, r.Key), s.addPlane(r.Key, b.Spec))
	case kindNames:
		var b namesBody
		if err := decode(r.Body, &b); err != nil {
			return err
		}
		n, err := s.network(b.Network)
		if err == nil {
			n.names.Add(r.Key, b.Names, b.Addrs)
		}
		return err
	case kindClient:
		var b clientBody
		if err := decode(r.Body, &b); err != nil {
			return err
		}
		return s.setClient(b)
	case kindLinks:
		var b linksBody
		if err := decode(r.Body, &b); err != nil {
			return err
		}
		n, err := s.network(b.Network)
		if err != nil {
			return err
		}
		return n.SetExceptions(r.Key, b.Exceptions)
	case kindPort:
		var b portBody
		if err := decode(r.Body, &b); err != nil {
			return err
		}
		return errors.Join(s.drop(r.Kind, r.Key), s.addPort(r.Key, b, handles))
	case kindStock:
		var b stockBody
		if err := decode(r.Body, &b); err != nil {
			return err
		}
		return errors.Join(s.drop(r.Kind, r.Key), s.addStock(r.Key, b))
	case kindServe:
		var b serveBody
		if err := decode(r.Body, &b); err != nil {
			return err
		}
		return errors.Join(s.drop(r.Kind, r.Key), s.listen(r.Key, b, handles))
	}
	return fmt.Errorf("%w: put %q", errRequest, r.Kind)
}

func (s *server) network(id string) (*network, error) {
	n := s.networks[id]
	if n == nil {
		return nil, fmt.Errorf("%w: no network %q", errRequest, id)
	}
	return n, nil
}

func (s *server) addPlane(id string, spec Spec) error {
	n := &network{names: dns.NewNames(spec.Name), clients: map[netip.Addr]dns.Client{}}
	o := plane.Options{
		Name: spec.Name, MTU: spec.MTU, Internal: spec.Internal, Gateway4: spec.Gateway4, Gateway6: spec.Gateway6, Subnet4: spec.Subnet4, Subnet6: spec.Subnet6,
		Rules: spec.Rules, Upstream: s.upstream, Client: n.client, Allow: s.policy.Allow, Budget: s.budget, Crossing: s.crossing, Published: s.published, Gate: s.start, Logger: s.log,
	}
	var err error
	if len(spec.Servers) > 0 {
		if o.Upstream, err = dns.NewUpstream("", dns.UpstreamOptions{Servers: spec.Servers, Logger: s.log}); err != nil {
			return err
		}
	}
	if spec.Resolves {
		o.Zone = n.names
		s.zones.Store(id, n.names)
	}
	if n.Plane, err = plane.New(o); err != nil {
		s.zones.Delete(id)
		return err
	}
	s.networks[id] = n
	return nil
}

// zone is another network's names, which may be there later or no more.
type zone struct {
	all *sync.Map
	id  string
}

func (z zone) names() dns.Zone {
	if n, ok := z.all.Load(z.id); ok {
		return n.(*dns.Names)
	}
	return nil
}

func (z zone) Lookup(name string) ([]netip.Addr, bool) {
	if n := z.names(); n != nil {
		return n.Lookup(name)
	}
	return nil, false
}

func (z zone) Reverse(a netip.Addr) (string, bool) {
	if n := z.names(); n != nil {
		return n.Reverse(a)
	}
	return "", false
}

func (s *server) setClient(b clientBody) error {
	n, err := s.network(b.Network)
	if err != nil {
		return err
	}
	var c dns.Client
	for _, id := range b.View.Networks {
		c.Zones = append(c.Zones, zone{&s.zones, id})
	}
	for _, a := range b.View.Aliases {
		if c.Aliases == nil {
			c.Aliases = map[string]dns.Alias{}
		}
		c.Aliases[strings.ToLower(a.Name)] = dns.Alias{Zone: zone{&s.zones, a.Network}, Name: strings.ToLower(a.Target)}
	}
	for _, h := range b.View.Hosts {
		if c.Hosts == nil {
			c.Hosts = map[string][]netip.Addr{}
		}
		name := strings.ToLower(h.Name)
		c.Hosts[name] = append(c.Hosts[name], h.Addresses...)
	}
	if len(b.View.Servers) > 0 {
		if c.Upstream, err = dns.NewUpstream("", dns.UpstreamOptions{Servers: b.View.Servers, Logger: s.log}); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clients[b.Addr] = c
	return nil
}

func (s *server) addPort(id string, b portBody, handles []*fdpass.Handle) error {
	n, err := s.network(b.Network)
	if err != nil {
		return err
	}
	open := tap.NewDevice
	if b.Link.Plain {
		open = tap.NewPlainDevice
	}
	device, err := open(b.Link.Interface, handles)
	if err != nil {
		return err
	}
	p, err := n.AddPort(b.Link, device)
	if err == nil {
		s.ports[id] = p
	}
	return err
}

func (s *server) join(r request, handles []*fdpass.Handle) error {
	var b joinBody
	if err := decode(r.Body, &b); err != nil {
		return err
	}
	n, err := s.network(b.Network)
	if err != nil {
		return err
	}
	if len(handles) != 1 {
		return fmt.Errorf("%w: %d sockets to join", errRequest, len(handles))
	}
	return n.Join(handles[0], b.Owner, b.To)
}

func (s *server) listen(id string, b serveBody, handles []*fdpass.Handle) error {
	n, err := s.network(b.Network)
	if err != nil {
		return err
	}
	if len(handles) != 1 {
		return fmt.Errorf("%w: a listener with %d descriptors", errRequest, len(handles))
	}
	l, err := n.Serve(b.Mapping, handles[0])
	if err == nil {
		s.listeners[id] = listener{l, b.Network}
		s.published.Add(l.Mapping().Proto, l.Addr())
	}
	return err
}

// drop ends what a key stands for. That there is nothing is no error.
func (s *server) drop(k kind, key string) error {
	switch k {
	case kindPlane:
		n := s.networks[key]
		if n == nil {
			return nil
		}
		delete(s.networks, key)
		s.zones.Delete(key)
		for id, l := range s.listeners {
			if l.network == key {
				s.published.Remove(l.Mapping().Proto, l.Addr())
				delete(s.listeners, id)
			}
		}
		maps.DeleteFunc(s.stocks, func(_ string, st stock) bool { return st.network == key })
		return n.Close() // with the ports, stocks and listeners that are left
	case kindNames:
		for _, n := range s.networks {
			n.names.Remove(key)
		}
		return nil
	case kindClient:
		for id, n := range s.networks {
			n.mu.Lock()
			maps.DeleteFunc(n.clients, func(a netip.Addr, _ dns.Client) bool { return clientKey(id, a) == key })
			n.mu.Unlock()
		}
		return nil
	case kindLinks:
		for _, n := range s.networks {
			if err := n.SetExceptions(key, nil); err != nil {
				return err
			}
		}
		return nil
	case kindPort:
		p := s.ports[key]
		if p == nil {
			return nil
		}
		delete(s.ports, key)
		return p.Close()
	case kindStock:
		if st, ok := s.stocks[key]; ok {
			delete(s.stocks, key)
			st.Close()
		}
		return nil
	case kindServe:
		l, ok := s.listeners[key]
		if !ok {
			return nil
		}
		delete(s.listeners, key)
		s.published.Remove(l.Mapping().Proto, l.Addr())
		return l.Close()
	}
	if !slices.Contains([]kind{kindServers, kindBlocked}, k) {
		return fmt.Errorf("%w: drop %q", errRequest, k)
	}
	return nil
}
