package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/engine"
	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/engine/worker"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/portfwd"
	"github.com/footbridge-net/footbridge/tap"
)

// dataOf is the engine.DataPlane of a life.
type dataOf struct{ *life }

func (dataOf) SetServers(dns.Config)     {}
func (dataOf) SetBlocked([]netip.Prefix) {}
func (dataOf) Release() error            { return nil }
func (dataOf) Status() worker.Status     { return worker.Status{} }
func (dataOf) HandOver() error           { return nil }
func (dataOf) TakeBack() error           { return nil }

func (d dataOf) Close() error {
	d.stage.mu.Lock()
	defer d.stage.mu.Unlock()
	d.closed = true
	return nil
}

func (d dataOf) NewPlane(spec engine.PlaneSpec) (engine.Plane, error) {
	if err := d.step("plane"); err != nil {
		return nil, err
	}
	p := &memPlane{
		life: d.life, spec: spec, ports: map[string]worker.Link{}, names: map[string]named{}, views: map[netip.Addr]worker.View{}, listeners: map[hostPort]portfwd.Mapping{},
	}
	s := d.stage
	s.mu.Lock()
	defer s.mu.Unlock()
	d.planes[p] = true
	return p, nil
}

func (p *memPlane) Join(h *fdpass.Handle, _ string, _ []netip.AddrPort) error {
	return errors.Join(errors.New("nobody dials here"), h.Close())
}

// memPlane is one network's data plane. Its tables are guarded by the stage's mu.
type memPlane struct {
	*life
	spec      engine.PlaneSpec
	ports     map[string]worker.Link // by endpoint
	names     map[string]named       // by endpoint
	views     map[netip.Addr]worker.View
	listeners map[hostPort]portfwd.Mapping
}

type named struct {
	names []string
	addrs []netip.Addr
}

// change changes the tables, unless the daemon is dead.
func (p *memPlane) change(f func()) {
	p.stage.mu.Lock()
	defer p.stage.mu.Unlock()
	if !p.dead {
		f()
	}
}

func (p *memPlane) Attach(_ context.Context, ns tap.Namespaces, l worker.Link) (engine.Port, error) {
	if err := p.step("attach"); err != nil {
		return nil, err
	}
	if _, err := ns.Net.Stat(); err != nil {
		return nil, fmt.Errorf("namespaces of %s: %w", l.Container, err)
	}
	var err error
	p.change(func() {
		for endpoint, other := range p.ports {
			if endpoint == l.Endpoint || other.MAC == l.MAC || slices.ContainsFunc(l.Addresses, func(a netip.Prefix) bool { return slices.Contains(other.Addresses, a) }) {
				err = fmt.Errorf("endpoints %+v and %+v exclude each other", other, l)
				return
			}
		}
		p.ports[l.Endpoint] = l
	})
	if err != nil {
		return nil, err
	}
	return closer(func() { p.change(func() { delete(p.ports, l.Endpoint) }) }), nil
}

type closer func()

func (c closer) Close() error { c(); return nil }

func (p *memPlane) Reroute(_ context.Context, _ tap.Namespaces, l worker.Link) error {
	if err := p.step("reroute"); err != nil {
		return err
	}
	var err error
	p.change(func() {
		if _, ok := p.ports[l.Endpoint]; !ok {
			err = fmt.Errorf("no endpoint %s is there to have another route", l.Endpoint)
			return
		}
		p.ports[l.Endpoint] = l
	})
	return err
}

func (p *memPlane) SetExceptions(string, []plane.Exception) error { return p.step("exceptions") }

func (p *memPlane) Unplug(context.Context, tap.Namespaces, string) error { return p.step("unplug") }

func (p *memPlane) SetNames(endpoint string, names []string, addrs []netip.Addr) error {
	if err := p.step("names"); err != nil {
		return err
	}
	p.change(func() { p.names[endpoint] = named{slices.Clone(names), slices.Clone(addrs)} })
	return nil
}

func (p *memPlane) RemoveNames(endpoint string) error {
	p.change(func() { delete(p.names, endpoint) })
	return nil
}

func (p *memPlane) SetView(a netip.Addr, v worker.View) error {
	empty := len(v.Networks)+len(v.Servers) == 0
	if !empty {
		if err := p.step("view"); err != nil {
			return err
		}
	}
	p.change(func() {
		if p.views[a] = v; empty {
			delete(p.views, a)
		}
	})
	return nil
}

type listener struct {
	closer
	at netip.AddrPort
}

func (l listener) Addr() netip.AddrPort { return l.at }

func (d dataOf) Publish(ms []engine.PublishedPort, first, last uint16) ([]engine.Listener, error) {
	if err := d.step("publish"); err != nil {
		return nil, err
	}
	s := d.stage
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.dead {
		return nil, errDead
	}
	if first == 0 {
		if first = ms[0].Host.Port(); first == 0 {
			first = s.nextPort
			s.nextPort++
		}
		last = first
	}
	for port := first; port <= last; port++ {
		at := func(m portfwd.Mapping) hostPort { return hostPort{m.Proto, m.Host.Addr(), port} }
		if !slices.ContainsFunc(ms, func(m engine.PublishedPort) bool { return !s.free(at(m.Mapping)) }) {
			var out []engine.Listener
			for _, m := range ms {
				h, p := at(m.Mapping), m.Plane.(*memPlane)
				s.taken[h], p.listeners[h] = p.life, m.Mapping
				out = append(out, listener{func() { p.release(h) }, netip.AddrPortFrom(h.Addr, port)})
			}
			return out, nil
		}
	}
	return nil, fmt.Errorf("port is already allocated: %v", ms[0].Mapping)
}

func (p *memPlane) release(h hostPort) {
	p.change(func() {
		delete(p.stage.taken, h)
		delete(p.listeners, h)
	})
}

func (p *memPlane) Stats() plane.Stats { return plane.Stats{} }

func (p *memPlane) Close() error {
	var err error
	p.change(func() {
		delete(p.planes, p)
		if n := len(p.ports) + len(p.names) + len(p.views) + len(p.listeners); n > 0 && !p.closed {
			err = fmt.Errorf("%w: plane %s is closed with %d things on it", os.ErrInvalid, p.spec.Name, n)
		}
	})
	return err
}
