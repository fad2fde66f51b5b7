package worker

import (
	"net/netip"

	"github.com/footbridge-net/footbridge/engine/plane"
)

// SetExceptions says whom an endpoint reaches on a network without ICC, instead of what
// was said of it before.
func (p *Plane) SetExceptions(endpoint string, list []plane.Exception) error {
	key := p.spec.ID + "/" + endpoint
	if len(list) == 0 {
		return p.s.drop(factID{kindLinks, key})
	}
	return p.s.set(kindLinks, key, linksBody{p.spec.ID, list})
}

// resolvers are the addresses at which an endpoint asks for names, where the network has
// no gateway in the endpoint's families.
func (s *Spec) resolvers(l Link) []netip.Addr {
	if !s.Resolves {
		return nil
	}
	var out []netip.Addr
	for _, a := range l.Addresses {
		switch {
		case a.Addr().Is4() && s.Rules.Mode4 == plane.ModeIsolated:
			out = append(out, plane.Resolver4)
		case a.Addr().Is6() && s.Rules.Mode6 == plane.ModeIsolated:
			out = append(out, plane.Resolver6)
		}
	}
	return out
}
