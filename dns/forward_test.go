package dns

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/footbridge-net/footbridge/internal/testserver"
)

func TestUpstreamRcodesPassTruthfully(t *testing.T) {
	soa, _ := miekg.NewRR("example.com. 300 IN SOA ns.example.com. root.example.com. 1 2 3 4 5")
	for _, rcode := range []int{miekg.RcodeNameError, miekg.RcodeServerFailure, miekg.RcodeRefused, miekg.RcodeFormatError, miekg.RcodeNotImplemented} {
		r := startResolver(t, func(w miekg.ResponseWriter, m *miekg.Msg) {
			reply := new(miekg.Msg).SetRcode(m, rcode)
			reply.RecursionAvailable = true
			reply.Ns = []miekg.RR{soa}
			w.WriteMsg(reply)
		})
		s := newServer(t, Options{Zone: myBridge(), Upstream: asking(t, UpstreamOptions{}, r.addr)})
		m := ask(t, s, client1, question("nobody.example.com.", miekg.TypeA))
		if m.Rcode != rcode || len(m.Ns) != 1 || m.Ns[0].String() != soa.String() || m.Authoritative {
			t.Errorf("%v, want %s with the server's SOA", m, miekg.RcodeToString[rcode])
		}
	}
}

func TestNamesThatAreNoContainersAreForwarded(t *testing.T) {
	r := startResolver(t, answering("203.0.113.7"))
	s := newServer(t, Options{Zone: myBridge(), Subnets: subnets, Upstream: asking(t, UpstreamOptions{}, r.addr)})
	names := []string{
		"intranet.", "example.com.",
		"c3.corp.example.",  // the search list's attempt is the upstream's to answer
		"nobody.my_bridge.", // a network may be named as a real domain is
		"20.172.in-addr.arpa.", "1.113.0.203.in-addr.arpa.",
		`c3\.my_bridge.`, `we\000ird.`,
	}
	for _, name := range names {
		if m := ask(t, s, client1, question(name, miekg.TypeA)); len(m.Answer) != 1 || m.Question[0].Name != name {
			t.Errorf("%s: %v, want the upstream's answer", name, m)
		}
	}
	if st := s.Stats(); st.Forwarded != uint64(len(names)) || st.Queries != st.Forwarded || st.Failed+st.Refused+st.Malformed+st.Names != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestNoServersIsServfail(t *testing.T) {
	s := newServer(t, Options{Upstream: asking(t, UpstreamOptions{})})
	q := question("Example.com.", miekg.TypeA)
	q.SetEdns0(1232, false)
	m := ask(t, s, client1, q)
	if m.Rcode != miekg.RcodeServerFailure || m.Id != q.Id || m.Question[0] != q.Question[0] || !m.RecursionAvailable || m.Authoritative || m.IsEdns0() == nil {
		t.Errorf("%v, want SERVFAIL to the question asked", m)
	}
}

// Records in the additional section are only stepped over when the question is
// read; what is forwarded must be whole.
func TestMalformedMessagesAreNotForwarded(t *testing.T) {
	// Not a miekg server: that would itself answer FORMERR.
	var came atomic.Int32
	pc := testserver.UDP(t, testserver.Loopback, func(_ net.Addr, b []byte) []byte {
		came.Add(1)
		b[2] |= 0x80
		return b
	})
	s := newServer(t, Options{Upstream: asking(t, UpstreamOptions{}, pc.LocalAddr().(*net.UDPAddr).AddrPort())})
	replies := make(chan []byte, 1)
	// An A record of three bytes, and one whose name is a pointer to itself.
	for _, extra := range []string{"\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x03abc", "\xc0\x14\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04abcd"} {
		s.HandleDatagram(client1, raw(bitRD, [4]uint16{1, 0, 0, 1}, qC3A+extra), func(b []byte) { replies <- append([]byte{}, b...) })
		select {
		case b := <-replies:
			if m := unpack(t, b); m.Rcode != miekg.RcodeFormatError {
				t.Errorf("%v, want FORMERR", m)
			}
		case <-time.After(patience):
			t.Fatal("no reply")
		}
	}
	if n := came.Load(); n != 0 {
		t.Errorf("the upstream saw %d of them", n)
	}
}

func TestForwardingLimits(t *testing.T) {
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	r := startResolver(t, func(w miekg.ResponseWriter, m *miekg.Msg) {
		arrived <- struct{}{}
		<-release
		answering("203.0.113.7")(w, m)
	})
	s := newServer(t, Options{
		Zone: myBridge(), Upstream: asking(t, UpstreamOptions{}, r.addr),
		Limits: Limits{Forwards: 3, Client: ClientLimits{Forwards: 2}},
	})
	refusedInline := func(src netip.AddrPort) bool {
		b := inline(s, src, pack(t, question("over.example.com.", miekg.TypeA)))
		return b != nil && unpack(t, b).Rcode == miekg.RcodeRefused
	}
	// HandleDatagram returns though the upstream says nothing.
	waiting := []<-chan []byte{
		send(t, s, client1, question("a.example.com.", miekg.TypeA)),
		send(t, s, client1, question("b.example.com.", miekg.TypeA)),
	}
	otherPort := netip.AddrPortFrom(client1.Addr(), 999)
	if !refusedInline(otherPort) {
		t.Error("a third question of the same address wasn't refused")
	}
	waiting = append(waiting, send(t, s, client2, question("c.example.com.", miekg.TypeA)))
	if !refusedInline(client2) {
		t.Error("a fourth question in all wasn't refused")
	}
	if b := inline(s, client1, pack(t, question("c3.", miekg.TypeA))); b == nil || len(unpack(t, b).Answer) != 1 {
		t.Error("containers' names must be answered at the limit too")
	}
	for range waiting {
		<-arrived
	}
	close(release)
	for i, w := range waiting {
		select {
		case b := <-w:
			if m := unpack(t, b); len(m.Answer) != 1 {
				t.Errorf("question %d: %v, want its answer", i, m)
			}
		case <-time.After(patience):
			t.Fatalf("question %d: no reply", i)
		}
	}
	// Answered means that the place is free again.
	if m := ask(t, s, client1, question("d.example.com.", miekg.TypeA)); len(m.Answer) != 1 {
		t.Errorf("after the others were answered: %v", m)
	}
	if got := s.Stats().Refused; got != 2 {
		t.Errorf("refused %d, want 2", got)
	}
}

// oversized answers with 200 addresses whatever the client can take.
func oversized(t testing.TB) netip.AddrPort {
	t.Helper()
	pc := testserver.UDP(t, testserver.Loopback, func(_ net.Addr, query []byte) []byte {
		q := new(miekg.Msg)
		if q.Unpack(query) != nil {
			return nil
		}
		r := new(miekg.Msg).SetReply(q)
		r.RecursionAvailable, r.Compress = true, true
		count := 200
		if q.Question[0].Name == "huge." {
			count = 600
		}
		for i := range count {
			r.Answer = append(r.Answer, &miekg.A{
				Hdr: miekg.RR_Header{Name: q.Question[0].Name, Rrtype: miekg.TypeA, Class: miekg.ClassINET},
				A:   net.IPv4(203, 0, byte(i>>8), byte(i)),
			})
		}
		b, _ := r.Pack()
		return b
	})
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestUpstreamRepliesAreCutToTheClientsSize(t *testing.T) {
	s := newServer(t, Options{Upstream: asking(t, UpstreamOptions{}, oversized(t))})
	tests := []struct {
		name string
		edns uint16
		size int
		all  int // 0: truncated
	}{
		{"big.", 0, 512, 0},
		{"big.", 1232, 1232, 0},
		{"big.", 4096, 4096, 200},
		{"huge.", 4096, 4096, 0}, // longer than the buffer it is read into
		{"huge.", 65535, 65535, 600},
	}
	for _, tt := range tests {
		q := question(tt.name, miekg.TypeA)
		if tt.edns != 0 {
			q.SetEdns0(tt.edns, false)
		}
		var b []byte
		select {
		case b = <-send(t, s, client1, q):
		case <-time.After(patience):
			t.Fatal("no reply")
		}
		m := unpack(t, b)
		if len(b) > tt.size || m.Truncated != (tt.all == 0) || tt.all != 0 && len(m.Answer) != tt.all || m.Question[0] != q.Question[0] || !m.RecursionAvailable {
			t.Errorf("%s, EDNS size %d: %d bytes, TC %v, %d records", tt.name, tt.edns, len(b), m.Truncated, len(m.Answer))
		}
	}
}

func TestCloseEndsExchanges(t *testing.T) {
	arrived := make(chan struct{})
	mute := startResolver(t, func(miekg.ResponseWriter, *miekg.Msg) { close(arrived) })
	s := newServer(t, Options{Upstream: asking(t, UpstreamOptions{Timeout: time.Hour, Total: time.Hour}, mute.addr)})
	reply := send(t, s, client1, question("example.com.", miekg.TypeA))
	<-arrived
	closed := make(chan struct{})
	go func() {
		s.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("Close didn't return")
	}
	select {
	case b := <-reply:
		t.Errorf("a reply after Close: % x", b)
	default:
	}
}
