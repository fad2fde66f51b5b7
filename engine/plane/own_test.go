package plane

import (
	"net/netip"
	"testing"

	"github.com/footbridge-net/footbridge/internal/packet"
)

func TestNamesMayHaveAnAddressBesideTheGateway(t *testing.T) {
	at := netip.MustParseAddr("10.99.0.3")
	o := Options{Rules: Rules{DNS: DNS{Addr4: at}, HostPorts: []PortRange{{"udp", 1, 65535}}}, Gateway4: netip.MustParsePrefix("10.99.0.1/24")}
	if s := o.stackOptions(); s.Service4 != at || s.Service6.IsValid() || s.MuteServices {
		t.Errorf("%+v", s)
	}
	// The gateway's port of names is the host's then.
	if open := o.hostPort(); !open(packet.ProtoUDP, netip.AddrPortFrom(o.Gateway4.Addr(), dnsPort)) || open(packet.ProtoUDP, netip.AddrPortFrom(at, dnsPort)) {
		t.Error("which port 53 is the host's")
	}
	o.Rules.DNS.Off = true
	if s := o.stackOptions(); !s.MuteServices {
		t.Errorf("without names: %+v", s)
	}
	newPlane(t, o)
}

func TestAShutHostHasNoPortsAndNoNames(t *testing.T) {
	var published Published
	published.Add("tcp", netip.MustParseAddrPort("0.0.0.0:8000"))
	o := Options{Gateway4: netip.MustParsePrefix("10.99.0.1/24"), Published: &published, Rules: Rules{NoHost: true}}
	if o.hostPort() != nil {
		t.Error("what is published is reached at the gateway")
	}
	p := newPlane(t, o)
	if names := p.hosts(); len(names) > 0 {
		t.Errorf("the host is called %v", names)
	}
	if !p.out.TakesTCP(netip.MustParseAddrPort("10.99.0.1:8000")) {
		t.Error("the gateway refuses, and is not unreachable")
	}
}
