package plane

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/stack"
)

// What is internal neither reaches others nor is reached, whatever its modes say.
func TestAnInternalNetworkIsNeverOpen(t *testing.T) {
	o := Options{Crossing: new(stack.Crossing), Rules: Rules{Mode4: ModeNATUnprotected}}
	if s := o.stackOptions(); s.Crossing != o.Crossing || !s.Open4 || s.Open6 {
		t.Errorf("%+v", s)
	}
	o.Internal = true
	if s := o.stackOptions(); s.Crossing != nil || s.Open4 || s.Open6 {
		t.Errorf("internal: %+v", s)
	}
}

func TestNamesHaveAnAddressWhereThereIsNoGateway(t *testing.T) {
	o := Options{Internal: true, Rules: Rules{Mode6: ModeIsolated}, Zone: dns.NewNames("n")}
	if s := o.stackOptions(); s.Service4.IsValid() || s.Service6 != Resolver6 {
		t.Errorf("%+v", s)
	}
	o.Zone = nil
	if s := o.stackOptions(); s.Service6.IsValid() {
		t.Errorf("without names: %+v", s)
	}
}

func TestExceptionsAreOfKnownProtocols(t *testing.T) {
	p := newPlane(t, Options{Rules: Rules{NoICC: true}})
	a, b := netip.MustParseAddr("10.99.0.2"), netip.MustParseAddr("10.99.0.3")
	for _, proto := range []string{"tcp", "udp", "sctp"} {
		if err := p.SetExceptions("e", []Exception{{a, b, PortRange{proto, 1, 2}}}); err != nil {
			t.Errorf("%s: %v", proto, err)
		}
	}
	if err := p.SetExceptions("e", []Exception{{a, b, PortRange{"icmp", 1, 2}}}); err == nil || !strings.Contains(err.Error(), `"icmp"`) {
		t.Errorf("icmp: %v", err)
	}
	if err := p.SetExceptions("e", []Exception{{a, a, PortRange{"tcp", 1, 2}}}); !errors.Is(err, stack.ErrException) {
		t.Errorf("itself: %v", err)
	}
}
