package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/engine/plane"
	"github.com/footbridge-net/footbridge/engine/worker"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/tap"
)

// fakePlane is one network's data plane.
type fakePlane struct {
	w     *world
	spec  PlaneSpec
	ports map[string]worker.Link // by container and interface
	names *dns.Names
	views map[netip.Addr]worker.View
	// exceptions are those of endpoints by their ids.
	exceptions map[string][]plane.Exception
}

// fakeDataPlane is all networks' data planes.
type fakeDataPlane struct{ w *world }

func (fakeDataPlane) SetServers(dns.Config)     {}
func (fakeDataPlane) SetBlocked([]netip.Prefix) {}
func (fakeDataPlane) Release() error            { return nil }
func (fakeDataPlane) Status() worker.Status     { return worker.Status{PID: 7} }
func (fakeDataPlane) HandOver() error           { return nil }
func (fakeDataPlane) TakeBack() error           { return nil }
func (fakeDataPlane) Close() error              { return nil }

func (d fakeDataPlane) NewPlane(spec PlaneSpec) (Plane, error) {
	w := d.w
	if err := w.step("plane"); err != nil {
		return nil, err
	}
	p := &fakePlane{w: w, spec: spec, ports: map[string]worker.Link{}, names: dns.NewNames(spec.Name), views: map[netip.Addr]worker.View{}}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.planes[p] = true
	return p, nil
}

func (p *fakePlane) Attach(_ context.Context, ns tap.Namespaces, l worker.Link) (Port, error) {
	if err := p.w.step("attach " + l.Interface + " in " + fakeName(ns)); err != nil {
		return nil, err
	}
	if err := p.w.step("attach " + l.Interface); err != nil {
		return nil, err
	}
	if err := p.w.step("attach"); err != nil {
		return nil, err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	for _, other := range p.ports {
		if other.MAC == l.MAC || slices.ContainsFunc(l.Addresses, func(a netip.Prefix) bool { return slices.Contains(other.Addresses, a) }) {
			return nil, fmt.Errorf("duplicate endpoint: %v and %v", other, l)
		}
	}
	key := l.Container + " " + l.Interface
	p.ports[key] = l
	return closer(func() {
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		delete(p.ports, key)
	}), nil
}

type closer func()

func (c closer) Close() error { c(); return nil }

func (p *fakePlane) SetNames(endpoint string, names []string, addrs []netip.Addr) error {
	p.names.Add(endpoint, names, addrs)
	return nil
}

func (p *fakePlane) RemoveNames(endpoint string) error {
	p.names.Remove(endpoint)
	return nil
}

func (p *fakePlane) SetView(a netip.Addr, v worker.View) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.views[a] = v
	return nil
}

func (p *fakePlane) Reroute(_ context.Context, _ tap.Namespaces, l worker.Link) error {
	if err := p.w.step("reroute " + l.Interface); err != nil {
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	key := l.Container + " " + l.Interface
	if _, ok := p.ports[key]; !ok {
		return fmt.Errorf("%s has no interface %s", l.Container, l.Interface)
	}
	p.ports[key] = l
	return nil
}

func (p *fakePlane) Unplug(_ context.Context, _ tap.Namespaces, name string) error {
	p.w.mu.Lock()
	p.w.planeUnplugged = append(p.w.planeUnplugged, name)
	p.w.mu.Unlock()
	return p.w.step("unplug")
}

type fakeListener struct {
	w    *world
	key  string
	host netip.AddrPort
}

func (l *fakeListener) Addr() netip.AddrPort { return l.host }
func (l *fakeListener) Close() error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	delete(l.w.bound, l.key)
	return nil
}

func (d fakeDataPlane) Publish(ms []PublishedPort, first, last uint16) ([]Listener, error) {
	for _, m := range ms {
		if err := d.w.step("publish for " + fakeName(m.Namespaces)); err != nil {
			return nil, err
		}
	}
	if err := d.w.step("publish"); err != nil {
		return nil, err
	}
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	if first == 0 {
		first = ms[0].Host.Port()
		if first == 0 {
			first = d.w.nextPort
			d.w.nextPort++
		}
		last = first
	}
	err := errors.New("no port")
next:
	for port := first; port <= last; port++ {
		var out []Listener
		for _, m := range ms {
			host := netip.AddrPortFrom(m.Host.Addr(), port)
			key := m.Proto + " " + host.String()
			if owner, ok := d.w.bound[key]; ok {
				err = fmt.Errorf("Bind for %v failed: port is already allocated: container %q", host, owner)
				continue next
			}
			out = append(out, &fakeListener{d.w, key, host})
		}
		for i, l := range out {
			d.w.bound[l.(*fakeListener).key] = ms[i].Owner
		}
		return out, nil
	}
	return nil, err
}

func (p *fakePlane) SetExceptions(endpoint string, list []plane.Exception) error {
	if err := p.w.step("exceptions"); err != nil {
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.exceptions == nil {
		p.exceptions = map[string][]plane.Exception{}
	}
	if p.exceptions[endpoint] = list; len(list) == 0 {
		delete(p.exceptions, endpoint)
	}
	return nil
}

func (p *fakePlane) Join(h *fdpass.Handle, owner string, to []netip.AddrPort) error {
	_, err := unix.Write(h.FD(), fmt.Appendf(nil, "0\n%s %v", owner, to))
	return errors.Join(err, h.Close())
}

func (p *fakePlane) Stats() plane.Stats {
	return plane.Stats{Network: map[string]uint64{"rx_frames": 1}, Ports: map[string]map[string]uint64{}}
}

func (p *fakePlane) Close() error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	delete(p.w.planes, p)
	for key, owner := range p.w.bound {
		for port := range p.ports {
			if owner+" eth0" == port {
				delete(p.w.bound, key)
			}
		}
	}
	return nil
}
