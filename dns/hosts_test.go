package dns

import (
	"net/netip"
	"testing"

	miekg "github.com/miekg/dns"
)

// A name of the container's hosts file has the addresses that stand there, and none of
// the other family; it does so for that container alone, and for addresses alone.
func TestTheHostsFileIsKnown(t *testing.T) {
	out := startResolver(t, answering("203.0.113.66"))
	hosts := map[string][]netip.Addr{
		"box.example": {netip.MustParseAddr("192.0.2.7")},
		"c3":          {netip.MustParseAddr("192.0.2.8")},
		"the.host":    {netip.MustParseAddr("192.0.2.9")},
	}
	s := newServer(t, Options{
		Zone: myBridge(), Upstream: asking(t, UpstreamOptions{}, out.addr),
		Hosts: map[string][]netip.Addr{"the.host": {netip.MustParseAddr("10.0.0.1")}},
		Client: func(src netip.Addr) Client {
			if src == client1.Addr() {
				return Client{Hosts: hosts}
			}
			return Client{}
		},
	})
	for _, tt := range []struct {
		from  netip.AddrPort
		name  string
		qtype uint16
		want  string
		asked uint64 // questions that left
	}{
		{client1, "box.example.", miekg.TypeAAAA, "", 0},
		{client1, "Box.Example.", miekg.TypeA, "192.0.2.7", 0},
		{client1, "c3.", miekg.TypeA, "172.20.0.4", 0}, // a container's name
		{client1, "the.host.", miekg.TypeA, "192.0.2.9", 0},
		{client1, "box.example.", miekg.TypeMX, "*", 1},
		{netip.AddrPortFrom(netip.MustParseAddr("172.20.0.99"), 1), "box.example.", miekg.TypeA, "203.0.113.66", 1},
	} {
		before := out.udp.Load()
		m := ask(t, s, tt.from, question(tt.name, tt.qtype))
		got := ""
		for _, rr := range m.Answer {
			if a, ok := rr.(*miekg.A); ok {
				got += a.A.String()
			}
		}
		if tt.want != "*" && (m.Rcode != miekg.RcodeSuccess || got != tt.want) {
			t.Errorf("%v asks for %s %s: %s %q, want %q", tt.from, tt.name, miekg.TypeToString[tt.qtype], miekg.RcodeToString[m.Rcode], got, tt.want)
		}
		if n := uint64(out.udp.Load() - before); n != tt.asked {
			t.Errorf("%s %s: %d questions left, want %d", tt.name, miekg.TypeToString[tt.qtype], n, tt.asked)
		}
	}
}
