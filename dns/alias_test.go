package dns

import (
	"net/netip"
	"slices"
	"testing"

	miekg "github.com/miekg/dns"
)

// An alias is the asking container's alone, follows the name that it stands for, and comes before a container of its
// own name.
func TestAnAliasIsOneContainersAlone(t *testing.T) {
	names := NewNames("net")
	other := netip.MustParseAddr("172.20.0.9")
	names.Add("1", []string{"cache"}, []netip.Addr{other})
	s := newServer(t, Options{Zone: names, Client: func(src netip.Addr) Client {
		if src == client1.Addr() {
			return Client{Aliases: map[string]Alias{"db": {Zone: names, Name: "postgres"}, "cache": {Zone: names, Name: "postgres"}}}
		}
		return Client{}
	}})
	check := func(from netip.AddrPort, name string, rcode int, want ...netip.Addr) {
		t.Helper()
		m := ask(t, s, from, question(name, miekg.TypeA))
		if got := addrsOf(m); m.Rcode != rcode || !slices.Equal(got, want) {
			t.Errorf("%s asks for %s: %s %v, want %s %v", from, name, miekg.RcodeToString[m.Rcode], got, miekg.RcodeToString[rcode], want)
		}
	}
	check(client1, "db.", miekg.RcodeNameError) // nobody is called postgres yet
	check(client1, "cache.", miekg.RcodeSuccess, other)
	names.Add("2", []string{"postgres"}, []netip.Addr{c3v4, c3v6})
	check(client1, "dB.", miekg.RcodeSuccess, c3v4)
	check(client1, "cache.", miekg.RcodeSuccess, c3v4)
	check(client2, "db.", miekg.RcodeNameError)
	check(client2, "cache.", miekg.RcodeSuccess, other)
	if m := ask(t, s, client1, question(reverseName(t, c3v4), miekg.TypePTR)); len(m.Answer) != 1 || m.Answer[0].(*miekg.PTR).Ptr != "postgres.net." {
		t.Errorf("the address leads back to %v", m.Answer)
	}
	names.Remove("2")
	check(client1, "db.", miekg.RcodeNameError)
}

func TestTheHostHasNames(t *testing.T) {
	out := startResolver(t, answering("203.0.113.66"))
	gateway := netip.MustParseAddr("172.20.0.1")
	names := NewNames("net")
	hosts := map[string][]netip.Addr{"host.docker.internal": {gateway}}
	for what, o := range map[string]Options{
		"with names":       {Zone: names, Hosts: hosts, Subnets: subnets, Upstream: asking(t, UpstreamOptions{}, out.addr)},
		"without names":    {Hosts: hosts, Subnets: subnets, Upstream: asking(t, UpstreamOptions{}, out.addr)},
		"internal network": {Zone: names, Hosts: hosts, Subnets: subnets},
	} {
		s := newServer(t, o)
		if got := addrsOf(ask(t, s, client1, question("Host.docker.internal.", miekg.TypeA))); !slices.Equal(got, []netip.Addr{gateway}) {
			t.Errorf("%s: %v", what, got)
		}
		if m := ask(t, s, client1, question("host.docker.internal.", miekg.TypeAAAA)); m.Rcode != miekg.RcodeSuccess || len(m.Answer) != 0 {
			t.Errorf("%s: the other family: %v", what, m)
		}
		if m := ask(t, s, client1, question(reverseName(t, gateway), miekg.TypePTR)); m.Rcode != miekg.RcodeNameError {
			t.Errorf("%s: the gateway's address leads back: %v", what, m)
		}
	}
	if n := out.udp.Load() + out.tcp.Load(); n != 0 {
		t.Errorf("the upstream saw %d questions", n)
	}
	// A container of that name is meant before the host.
	names.Add("1", []string{"host.docker.internal"}, []netip.Addr{c3v4})
	s := newServer(t, Options{Zone: names, Hosts: hosts})
	if got := addrsOf(ask(t, s, client1, question("host.docker.internal.", miekg.TypeA))); !slices.Equal(got, []netip.Addr{c3v4}) {
		t.Errorf("with a container of that name: %v", got)
	}
}
