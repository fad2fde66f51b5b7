package plane

import (
	"fmt"
	"net/netip"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/stack"
)

// Where names are asked in a family that has no gateway (ModeIsolated), on networks with
// names: addresses that no subnet of a network has, by a route of the interface. The
// IPv6 one is of the unique local prefix whose 40 bits spell "names".
var (
	Resolver4 = netip.MustParseAddr("169.254.53.53")
	Resolver6 = netip.MustParseAddr("fd6e:616d:6573::53")
)

// Exception lets one container of a network whose Rules are NoICC reach ports of another,
// and the answers come back.
type Exception struct {
	From, To netip.Addr
	PortRange
}

// protocols are those of a PortRange, by name.
var protocols = map[string]uint8{"tcp": packet.ProtoTCP, "udp": packet.ProtoUDP, "sctp": 132}

// SetExceptions makes the exceptions of an owner those of list, instead of what it had.
func (p *Plane) SetExceptions(owner string, list []Exception) error {
	out := make([]stack.Exception, len(list))
	for i, x := range list {
		proto, ok := protocols[x.Proto]
		if !ok {
			return fmt.Errorf("network %s: exception for protocol %q", p.opts.Name, x.Proto)
		}
		out[i] = stack.Exception{From: x.From, To: x.To, Proto: proto, First: x.First, Last: x.Last}
	}
	if err := p.net.SetExceptions(owner, out); err != nil {
		return fmt.Errorf("network %s: %w", p.opts.Name, err)
	}
	return nil
}

// stackOptions are what o says of the network's switch and gateway.
func (o *Options) stackOptions() stack.Options {
	s := stack.Options{
		Name: o.Name, MTU: o.MTU, Logger: o.Logger,
		Gateway4: o.gateway(true), Gateway6: o.gateway(false), Subnet4: o.subnet(true), Subnet6: o.subnet(false),
		Announce: o.Rules.Announce, NoICC: o.Rules.NoICC,
	}
	s.Service4, s.Service6, s.MuteServices = o.Rules.DNS.Addr4, o.Rules.DNS.Addr6, o.Rules.DNS.Off
	s.MoreServices = o.Rules.DNS.More
	if o.Zone != nil { // there are names to ask for
		if o.Rules.Mode4 == ModeIsolated {
			s.Service4 = Resolver4
		}
		if o.Rules.Mode6 == ModeIsolated {
			s.Service6 = Resolver6
		}
	}
	if !o.Internal { // which nothing enters and nothing leaves
		s.Crossing = o.Crossing
		s.Open4, s.Open6 = o.Rules.Mode4 == ModeNATUnprotected, o.Rules.Mode6 == ModeNATUnprotected
	}
	return s
}
