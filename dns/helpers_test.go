package dns

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

var (
	client1 = netip.MustParseAddrPort("172.20.0.2:40000")
	client2 = netip.MustParseAddrPort("172.20.0.3:40000")
	c3v4    = netip.MustParseAddr("172.20.0.4")
	c3v6    = netip.MustParseAddr("fd00:20::4")
	subnets = []netip.Prefix{netip.MustParsePrefix("172.20.0.0/16"), netip.MustParsePrefix("fd00:20::/64")}
)

// myBridge is a network with one container, c3, of both families, alias "db".
func myBridge() *Names {
	n := NewNames("my_bridge")
	n.Add("ep3", []string{"c3", "db"}, []netip.Addr{c3v4, c3v6})
	return n
}

func newServer(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// asking returns an Upstream of exactly these servers.
func asking(t testing.TB, o UpstreamOptions, servers ...netip.AddrPort) *Upstream {
	t.Helper()
	o.Servers = servers
	u, err := NewUpstream("", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

func question(name string, qtype uint16) *miekg.Msg {
	return new(miekg.Msg).SetQuestion(name, qtype)
}

func pack(t testing.TB, m *miekg.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatalf("pack %v: %v", m, err)
	}
	return b
}

func unpack(t testing.TB, b []byte) *miekg.Msg {
	t.Helper()
	m := new(miekg.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatalf("reply % x doesn't parse: %v", b, err)
	}
	return m
}

// inline hands s a datagram and returns the reply that was given before
// HandleDatagram returned; nil if there was none.
func inline(s *Server, src netip.AddrPort, query []byte) []byte {
	var got []byte
	s.HandleDatagram(src, query, func(b []byte) { got = append([]byte{}, b...) })
	return got
}

// ask hands s a question and waits for the reply.
func ask(t testing.TB, s *Server, src netip.AddrPort, m *miekg.Msg) *miekg.Msg {
	t.Helper()
	select {
	case b := <-send(t, s, src, m):
		return unpack(t, b)
	case <-time.After(patience):
		t.Fatalf("no reply to %v", m.Question)
		return nil
	}
}

// send hands s a question and returns where its reply will come.
func send(t testing.TB, s *Server, src netip.AddrPort, m *miekg.Msg) <-chan []byte {
	t.Helper()
	replies := make(chan []byte, 1)
	query := pack(t, m)
	s.HandleDatagram(src, query, func(b []byte) { replies <- append([]byte{}, b...) })
	clear(query) // valid during the call only
	return replies
}

func addrsOf(m *miekg.Msg) []netip.Addr {
	var addrs []netip.Addr
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *miekg.A:
			a, _ := netip.AddrFromSlice(rr.A.To4())
			addrs = append(addrs, a)
		case *miekg.AAAA:
			a, _ := netip.AddrFromSlice(rr.AAAA)
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// resolver is a real DNS server on loopback, UDP and TCP on one port.
type resolver struct {
	addr netip.AddrPort
	udp  atomic.Int32 // questions that came
	tcp  atomic.Int32
}

func startResolver(t testing.TB, h miekg.HandlerFunc) *resolver {
	t.Helper()
	r := &resolver{}
	pc, l := listenBoth(t)
	r.addr = pc.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, s := range []*miekg.Server{{PacketConn: pc}, {Listener: l}} {
		count := &r.udp
		if s.Listener != nil {
			count = &r.tcp
		}
		s.Handler = miekg.HandlerFunc(func(w miekg.ResponseWriter, m *miekg.Msg) {
			count.Add(1)
			h(w, m)
		})
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go s.ActivateAndServe()
		<-up
		t.Cleanup(func() { s.Shutdown() })
	}
	return r
}

// listenBoth finds a port that is free for UDP and TCP.
func listenBoth(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, l
		}
		pc.Close()
	}
	t.Fatal("no port that is free for UDP and TCP")
	return nil, nil
}

// answering answers every A question with addr.
func answering(addr string) miekg.HandlerFunc {
	return func(w miekg.ResponseWriter, m *miekg.Msg) {
		r := new(miekg.Msg).SetReply(m)
		r.RecursionAvailable = true
		rr, _ := miekg.NewRR(m.Question[0].Name + " 60 IN A " + addr)
		r.Answer = []miekg.RR{rr}
		w.WriteMsg(r)
	}
}

func failing(rcode int) miekg.HandlerFunc {
	return func(w miekg.ResponseWriter, m *miekg.Msg) {
		w.WriteMsg(new(miekg.Msg).SetRcode(m, rcode))
	}
}

// silent never answers.
func silent(miekg.ResponseWriter, *miekg.Msg) {}

// closedPort is an address where nobody listens.
func closedPort(t testing.TB) netip.AddrPort {
	t.Helper()
	pc, l := listenBoth(t)
	defer pc.Close()
	defer l.Close()
	return pc.LocalAddr().(*net.UDPAddr).AddrPort()
}
