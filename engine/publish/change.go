package publish

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/moby/moby/api/types/network"
)

// ErrNone: what is to be unpublished is not published.
var ErrNone = errors.New("no public port")

// With returns o with more published besides. What is published already stays as it
// is: a wish that was made before is not made again. Nothing of o or more is
// changed. Errors wrap ErrSpec.
func (o Options) With(more network.PortMap) (Options, error) {
	out := o.clone()
	for _, p := range sortedPorts(more) {
		add := more[p]
		if len(add) == 0 {
			add = []network.PortBinding{{}}
		}
		if o.publishes(p) {
			out.Bindings[p] = o.bindings(p) // also what -P has published goes on
		}
		for _, b := range add {
			b, err := Plain(b)
			if err != nil {
				return o, fmt.Errorf("container port %v: %w", p, err)
			}
			if !slices.ContainsFunc(out.Bindings[p], func(other network.PortBinding) bool { return same(other, b) }) {
				out.Bindings[p] = append(slices.Clone(out.Bindings[p]), b)
			}
		}
	}
	_, err := Requests(out)
	return out, err
}

// Has reports whether o asks for that.
func (o Options) Has(id ID) bool {
	return o.publishes(id.Port) && slices.ContainsFunc(o.bindings(id.Port), func(b network.PortBinding) bool { return same(b, id.Asked) })
}

// same: the bindings mean the same.
func same(a, b network.PortBinding) bool {
	a, err := Plain(a)
	return err == nil && a == b
}

// Without returns o without what less matches: every binding of a port that has no
// bindings in less; else those on a host address and a host port, where none given
// matches any, and the port may be the one asked for or the one that is bound, as
// bound tells. If none is such, an address and port that a binding on all addresses is
// bound at means that binding, with its other addresses. Each part of less must match something. Nothing of o or less is
// changed. Errors wrap ErrSpec or ErrNone.
func (o Options) Without(less network.PortMap, bound func(ID) []netip.AddrPort) (Options, error) {
	out := o.clone()
	for _, p := range sortedPorts(less) {
		if err := checkPort(p); err != nil {
			return o, err
		}
		selected := less[p]
		if len(selected) == 0 {
			selected = []network.PortBinding{{}}
		}
		if !o.publishes(p) {
			return o, fmt.Errorf("%w '%v' published", ErrNone, p)
		}
		left := slices.Clone(o.bindings(p))
		for _, s := range selected {
			s, err := Plain(s)
			if err != nil {
				return o, fmt.Errorf("container port %v: %w", p, err)
			}
			fits := func(b network.PortBinding) bool { return matches(s, p, b, bound) }
			if !slices.ContainsFunc(o.bindings(p), fits) {
				fits = func(b network.PortBinding) bool { return isBoundAt(s, p, b, bound) }
			}
			if !slices.ContainsFunc(o.bindings(p), fits) {
				return o, o.noneLike(s, p, bound)
			}
			left = slices.DeleteFunc(left, fits)
		}
		if len(left) > 0 {
			out.Bindings[p] = left
			continue
		}
		delete(out.Bindings, p)
		if _, exposed := out.Exposed[p]; out.All && exposed {
			out = out.byName(p)
		}
	}
	return out, nil
}

// matches: s means the binding b of container port p.
func matches(s network.PortBinding, p network.Port, b network.PortBinding, bound func(ID) []netip.AddrPort) bool {
	b, err := Plain(b)
	if err != nil || s.HostIP.IsValid() && s.HostIP != b.HostIP {
		return false
	}
	if s.HostPort == "" || s.HostPort == b.HostPort {
		return true
	}
	return slices.ContainsFunc(bound(ID{p, b}), func(a netip.AddrPort) bool { return strconv.Itoa(int(a.Port())) == s.HostPort })
}

// isBoundAt: the binding b of container port p is bound at what s names, among others.
func isBoundAt(s network.PortBinding, p network.Port, b network.PortBinding, bound func(ID) []netip.AddrPort) bool {
	b, err := Plain(b)
	return err == nil && s.HostIP.IsValid() && slices.ContainsFunc(bound(ID{p, b}), func(a netip.AddrPort) bool {
		return a.Addr() == s.HostIP && strconv.Itoa(int(a.Port())) == s.HostPort
	})
}

// noneLike says that nothing matches s, and what may have been meant.
func (o Options) noneLike(s network.PortBinding, p network.Port, bound func(ID) []netip.AddrPort) error {
	err := fmt.Errorf("%w '%v' published at %s", ErrNone, p, hostSide(s))
	if !s.HostIP.IsValid() {
		return err
	}
	any := network.PortBinding{HostPort: s.HostPort}
	for _, b := range o.bindings(p) {
		if !b.HostIP.IsValid() && matches(any, p, b, bound) {
			return fmt.Errorf("%w alone: it is published on all addresses together; unpublish that, and publish what is to stay", err)
		}
	}
	return err
}

func hostSide(b network.PortBinding) string {
	port := b.HostPort
	if port == "" {
		port = "any port"
	}
	switch {
	case !b.HostIP.IsValid():
		return "host port " + port
	case b.HostIP.Is6():
		return "[" + b.HostIP.String() + "]:" + port
	}
	return b.HostIP.String() + ":" + port
}

// byName publishes what All does one by one, but for port without.
func (o Options) byName(without network.Port) Options {
	o.All = false
	for p := range o.Exposed {
		if _, ok := o.Bindings[p]; !ok && p != without {
			o.Bindings[p] = []network.PortBinding{{}}
		}
	}
	return o
}

// clone returns o with bindings that may be changed, port by port.
func (o Options) clone() Options {
	if o.Bindings = maps.Clone(o.Bindings); o.Bindings == nil {
		o.Bindings = network.PortMap{}
	}
	return o
}
