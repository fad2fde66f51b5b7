package dns

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	miekg "github.com/miekg/dns"
)

func reverseName(t *testing.T, addr netip.Addr) string {
	t.Helper()
	name, err := miekg.ReverseAddr(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// The upstream would answer every question; that of the container names must not reach it.
func TestContainersAreAnsweredHere(t *testing.T) {
	out := startResolver(t, answering("203.0.113.66"))
	s := newServer(t, Options{Zone: myBridge(), Subnets: subnets, Upstream: asking(t, UpstreamOptions{}, out.addr)})
	tests := []struct {
		name  string
		qtype uint16
		rcode int
		want  string // records' data, joined by spaces
	}{
		{"c3.", miekg.TypeA, miekg.RcodeSuccess, "172.20.0.4"},
		{"c3.", miekg.TypeAAAA, miekg.RcodeSuccess, "fd00:20::4"},
		{"C3.My_Bridge.", miekg.TypeA, miekg.RcodeSuccess, "172.20.0.4"},
		{"dB.", miekg.TypeA, miekg.RcodeSuccess, "172.20.0.4"},
		{"c3.", miekg.TypeMX, miekg.RcodeSuccess, ""},
		{"c3.", miekg.TypeSRV, miekg.RcodeSuccess, ""},
		{"c3.", miekg.TypeTXT, miekg.RcodeSuccess, ""},
		{"c3.", miekg.TypeHTTPS, miekg.RcodeSuccess, ""},
		{reverseName(t, c3v4), miekg.TypePTR, miekg.RcodeSuccess, "c3.my_bridge."},
		{strings.ToUpper(reverseName(t, c3v6)), miekg.TypePTR, miekg.RcodeSuccess, "c3.my_bridge."},
		{reverseName(t, c3v4), miekg.TypeA, miekg.RcodeSuccess, ""},
		{reverseName(t, netip.MustParseAddr("172.20.9.9")), miekg.TypePTR, miekg.RcodeNameError, ""},
		{reverseName(t, netip.MustParseAddr("fd00:20::9")), miekg.TypePTR, miekg.RcodeNameError, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+miekg.TypeToString[tt.qtype], func(t *testing.T) {
			q := question(tt.name, tt.qtype)
			q.CheckingDisabled = true
			b := inline(s, client1, pack(t, q))
			if b == nil {
				t.Fatal("not answered before HandleDatagram returned")
			}
			m := unpack(t, b)
			var data []string
			for _, rr := range m.Answer {
				h := rr.Header()
				data = append(data, strings.TrimPrefix(rr.String(), h.String()))
				if h.Ttl > 5 || h.Name != tt.name {
					t.Errorf("record %v: want name %s and a TTL of 5 s at most", rr, tt.name)
				}
			}
			if got := strings.Join(data, " "); m.Rcode != tt.rcode || got != tt.want {
				t.Errorf("%s %q, want %s %q", miekg.RcodeToString[m.Rcode], got, miekg.RcodeToString[tt.rcode], tt.want)
			}
			if m.Id != q.Id || len(m.Question) != 1 || m.Question[0] != q.Question[0] {
				t.Errorf("id %d question %v, want those asked: %d %v", m.Id, m.Question, q.Id, q.Question)
			}
			if !m.Response || !m.Authoritative || !m.RecursionAvailable || !m.RecursionDesired || !m.CheckingDisabled || m.Truncated || m.AuthenticatedData {
				t.Errorf("header bits %+v", m.MsgHdr)
			}
		})
	}
	if n := out.udp.Load() + out.tcp.Load(); n != 0 {
		t.Errorf("the upstream saw %d questions", n)
	}
}

func TestOnlyOneFamilyIsNoData(t *testing.T) {
	n := NewNames("net")
	n.Add("1", []string{"four"}, []netip.Addr{c3v4})
	n.Add("2", []string{"none"}, nil)
	s := newServer(t, Options{Zone: n})
	for _, name := range []string{"four.", "none."} {
		m := ask(t, s, client1, question(name, miekg.TypeAAAA))
		if m.Rcode != miekg.RcodeSuccess || len(m.Answer) != 0 || !m.Authoritative {
			t.Errorf("%s AAAA: %v, want an empty NOERROR with AA", name, m)
		}
	}
}

func TestEmptyLabelsAndDotsInLabelsAreNobodysName(t *testing.T) {
	n := NewNames("net")
	n.Add("1", []string{"a.b"}, []netip.Addr{c3v4})
	s := newServer(t, Options{Zone: n})
	if m := ask(t, s, client1, question("a.b.", miekg.TypeA)); len(m.Answer) != 1 {
		t.Errorf("a.b: %v", m)
	}
	for _, name := range []string{`a\.b.`, "."} {
		if m := ask(t, s, client1, question(name, miekg.TypeA)); m.Rcode != miekg.RcodeNameError {
			t.Errorf("%s: %v, want NXDOMAIN", name, m)
		}
	}
}

func TestInternalNetworkNeverForwards(t *testing.T) {
	out := startResolver(t, answering("203.0.113.66"))
	up := asking(t, UpstreamOptions{}, out.addr)
	s := newServer(t, Options{
		Zone: myBridge(), Subnets: subnets,
		// Not even for a container that has servers of its own.
		Client: func(netip.Addr) Client { return Client{Upstream: up} },
	})
	for _, name := range []string{"example.com.", "secret.exfil.example.", "single.", "c3.example.", ".", reverseName(t, netip.MustParseAddr("203.0.113.1"))} {
		for _, qtype := range []uint16{miekg.TypeA, miekg.TypeAAAA, miekg.TypePTR, miekg.TypeSRV, miekg.TypeTXT, miekg.TypeANY} {
			q := question(name, qtype)
			m := unpack(t, inline(s, client1, pack(t, q)))
			if m.Rcode != miekg.RcodeNameError || !m.Authoritative || m.RecursionAvailable {
				t.Errorf("%s %s: %+v, want NXDOMAIN, AA, no RA", name, miekg.TypeToString[qtype], m.MsgHdr)
			}
		}
	}
	if m := ask(t, s, client1, question("c3.", miekg.TypeA)); len(m.Answer) != 1 {
		t.Errorf("c3: %v, want its address", m)
	}
	if n := out.udp.Load() + out.tcp.Load(); n != 0 {
		t.Errorf("the upstream saw %d questions", n)
	}
}

func TestNetworkWithoutNamesForwardsAll(t *testing.T) {
	out := startResolver(t, answering("203.0.113.66"))
	s := newServer(t, Options{Upstream: asking(t, UpstreamOptions{}, out.addr), Subnets: subnets})
	if m := ask(t, s, client1, question("c3.", miekg.TypeA)); !slices.Equal(addrsOf(m), []netip.Addr{netip.MustParseAddr("203.0.113.66")}) {
		t.Errorf("c3: %v, want the upstream's answer", m)
	}
	if m := ask(t, s, client1, question(reverseName(t, c3v4), miekg.TypePTR)); m.Rcode != miekg.RcodeNameError {
		t.Errorf("an address of the network: %v, want NXDOMAIN", m)
	}
	if n := out.udp.Load(); n != 1 {
		t.Errorf("the upstream saw %d questions, want 1", n)
	}
}

func TestContainersOwnView(t *testing.T) {
	mine := startResolver(t, answering("203.0.113.1"))
	other := startResolver(t, answering("203.0.113.2"))
	front := NewNames("front")
	there := netip.MustParseAddr("172.21.0.9")
	front.Add("ep", []string{"web", "c3"}, []netip.Addr{there})
	up := asking(t, UpstreamOptions{}, other.addr)
	s := newServer(t, Options{
		Zone: myBridge(), Upstream: asking(t, UpstreamOptions{}, mine.addr),
		Client: func(src netip.Addr) Client {
			if src != client1.Addr() {
				return Client{}
			}
			return Client{Zones: []Zone{nil, front}, Upstream: up}
		},
	})
	tests := []struct {
		src  netip.AddrPort
		name string
		want string
	}{
		{client1, "web.", "172.21.0.9"},
		{client1, "web.front.", "172.21.0.9"},
		{client1, "c3.", "172.20.0.4"}, // its own network first
		{client1, "example.com.", "203.0.113.2"},
		{client2, "web.", "203.0.113.1"}, // no member of front
		{client2, "example.com.", "203.0.113.1"},
	}
	for _, tt := range tests {
		m := ask(t, s, tt.src, question(tt.name, miekg.TypeA))
		if got := addrsOf(m); !slices.Equal(got, []netip.Addr{netip.MustParseAddr(tt.want)}) {
			t.Errorf("%v asks %s: %v, want %s", tt.src.Addr(), tt.name, got, tt.want)
		}
	}
	if m := ask(t, s, client1, question(reverseName(t, there), miekg.TypePTR)); len(m.Answer) != 1 || m.Answer[0].(*miekg.PTR).Ptr != "web.front." {
		t.Errorf("reverse of the other network: %v", m)
	}
}

func TestAddressesAreShuffled(t *testing.T) {
	n := NewNames("net")
	for i := range 4 {
		n.Add(string(rune('a'+i)), []string{"all"}, []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})})
	}
	s := newServer(t, Options{Zone: n})
	first := make(map[netip.Addr]int)
	for range 400 { // one of four stays away 400 times: (3/4)^400, never
		got := addrsOf(ask(t, s, client1, question("all.", miekg.TypeA)))
		if len(got) != 4 {
			t.Fatalf("got %v, want all four", got)
		}
		first[got[0]]++
		slices.SortFunc(got, netip.Addr.Compare)
		if len(slices.Compact(got)) != 4 {
			t.Fatalf("an address twice in %v", got)
		}
	}
	if len(first) != 4 {
		t.Errorf("first addresses: %v, want each one at times", first)
	}
}

func TestClosedServerIsSilent(t *testing.T) {
	s := newServer(t, Options{Zone: myBridge()})
	s.Close()
	if b := inline(s, client1, pack(t, question("c3.", miekg.TypeA))); b != nil {
		t.Errorf("answered after Close: % x", b)
	}
}
