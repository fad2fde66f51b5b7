package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/footbridge-net/footbridge/internal/testserver"
)

// short is a timeout for servers of which the test knows that they don't answer.
const short = 200 * time.Millisecond

func exchangeOK(t *testing.T, u *Upstream, q *miekg.Msg, tcp bool) *miekg.Msg {
	t.Helper()
	b, err := u.Exchange(t.Context(), pack(t, q), tcp)
	if err != nil {
		t.Fatalf("Exchange: %v", err)
	}
	m := unpack(t, b)
	if m.Id != q.Id || len(m.Question) != 1 || m.Question[0] != q.Question[0] {
		t.Errorf("id %d question %v, want those asked: %d %v", m.Id, m.Question, q.Id, q.Question)
	}
	return m
}

func TestFailover(t *testing.T) {
	good := startResolver(t, answering("203.0.113.7"))
	servfail := startResolver(t, failing(miekg.RcodeServerFailure))
	refused := startResolver(t, failing(miekg.RcodeRefused))
	nxdomain := startResolver(t, failing(miekg.RcodeNameError))
	mute := startResolver(t, silent)
	closed := closedPort(t)
	tests := []struct {
		what    string
		servers []netip.AddrPort
		rcode   int // -1: no answer
		records int
	}{
		{"the first is good", []netip.AddrPort{good.addr, nxdomain.addr}, miekg.RcodeSuccess, 1},
		{"nobody listens", []netip.AddrPort{closed, good.addr}, miekg.RcodeSuccess, 1},
		{"no answer", []netip.AddrPort{mute.addr, good.addr}, miekg.RcodeSuccess, 1},
		{"SERVFAIL", []netip.AddrPort{servfail.addr, good.addr}, miekg.RcodeSuccess, 1},
		{"REFUSED", []netip.AddrPort{refused.addr, good.addr}, miekg.RcodeSuccess, 1},
		{"NXDOMAIN is an answer", []netip.AddrPort{nxdomain.addr, good.addr}, miekg.RcodeNameError, 0},
		{"SERVFAIL says more than REFUSED", []netip.AddrPort{refused.addr, servfail.addr, closed}, miekg.RcodeServerFailure, 0},
		{"REFUSED says more than nothing", []netip.AddrPort{mute.addr, refused.addr}, miekg.RcodeRefused, 0},
		{"nothing at all", []netip.AddrPort{mute.addr, closed}, -1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			u := asking(t, UpstreamOptions{Timeout: short}, tt.servers...)
			q := question("Example.com.", miekg.TypeA)
			if tt.rcode < 0 {
				if _, err := u.Exchange(t.Context(), pack(t, q), false); !errors.Is(err, ErrNoAnswer) {
					t.Errorf("error %v, want ErrNoAnswer", err)
				}
				return
			}
			m := exchangeOK(t, u, q, false)
			if m.Rcode != tt.rcode || len(m.Answer) != tt.records {
				t.Errorf("%v, want %s and %d records", m, miekg.RcodeToString[tt.rcode], tt.records)
			}
		})
	}
}

func TestTotalBound(t *testing.T) {
	mute := startResolver(t, silent)
	good := startResolver(t, answering("203.0.113.7"))
	u := asking(t, UpstreamOptions{Timeout: time.Minute, Total: short}, mute.addr, good.addr)
	if _, err := u.Exchange(t.Context(), pack(t, question("example.com.", miekg.TypeA)), false); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("error %v, want ErrNoAnswer", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	u = asking(t, UpstreamOptions{}, mute.addr)
	if _, err := u.Exchange(ctx, pack(t, question("example.com.", miekg.TypeA)), false); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestExchangeErrors(t *testing.T) {
	q := pack(t, question("example.com.", miekg.TypeA))
	u := asking(t, UpstreamOptions{})
	if _, err := u.Exchange(t.Context(), q, false); !errors.Is(err, ErrNoServers) {
		t.Errorf("without servers: %v, want ErrNoServers", err)
	}
	for _, b := range [][]byte{nil, q[:11], q[:20], append(bytes.Clone(q), 0)} {
		if _, err := u.Exchange(t.Context(), b, false); !errors.Is(err, ErrNotAQuery) {
			t.Errorf("% x: %v, want ErrNotAQuery", b, err)
		}
	}
	if _, err := NewUpstream("", UpstreamOptions{Servers: []netip.AddrPort{{}}}); err == nil {
		t.Error("a server without address was accepted")
	}
}

func TestBusy(t *testing.T) {
	arrived := make(chan struct{})
	release := make(chan struct{})
	r := startResolver(t, func(w miekg.ResponseWriter, m *miekg.Msg) {
		arrived <- struct{}{}
		<-release
		answering("203.0.113.7")(w, m)
	})
	u := asking(t, UpstreamOptions{MaxInFlight: 1}, r.addr)
	q := pack(t, question("example.com.", miekg.TypeA))
	first := make(chan error, 1)
	go func() {
		_, err := u.Exchange(context.Background(), q, false)
		first <- err
	}()
	<-arrived
	if _, err := u.Exchange(t.Context(), q, false); !errors.Is(err, ErrBusy) {
		t.Errorf("second exchange: %v, want ErrBusy", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Errorf("first exchange: %v", err)
	}
}

// What an attacker who cannot see the traffic would have to guess.
func TestEachExchangeHasItsOwnPortAndID(t *testing.T) {
	type seen struct {
		id   uint16
		from string
	}
	came := make(chan seen, 1)
	r := startResolver(t, func(w miekg.ResponseWriter, m *miekg.Msg) {
		came <- seen{m.Id, w.RemoteAddr().String()}
		answering("203.0.113.7")(w, m)
	})
	u := asking(t, UpstreamOptions{}, r.addr)
	q := question("example.com.", miekg.TypeA)
	ids, ports := make(map[uint16]bool), make(map[string]bool)
	for range 32 {
		exchangeOK(t, u, q, false)
		s := <-came
		ids[s.id], ports[s.from] = true, true
	}
	if len(ids) < 28 || len(ports) < 28 {
		t.Errorf("32 exchanges used %d ids and %d ports", len(ids), len(ports))
	}
}

func TestForwardedVerbatim(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	u := asking(t, UpstreamOptions{}, pc.LocalAddr().(*net.UDPAddr).AddrPort())
	q := question("MiXeD.example.com.", miekg.TypeA)
	q.SetEdns0(1400, true)
	q.IsEdns0().Option = append(q.IsEdns0().Option, &miekg.EDNS0_LOCAL{Code: 65001, Data: []byte("as it is")})
	query := pack(t, q)
	go u.Exchange(t.Context(), query, false)
	buf := make([]byte, 2048)
	pc.SetReadDeadline(time.Now().Add(patience))
	n, _, err := pc.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buf[2:n], query[2:]) {
		t.Errorf("the server got\n% x, the client sent\n% x", buf[2:n], query[2:])
	}
}

// Everything that looks almost like the reply comes before it.
func TestForgedRepliesAreIgnored(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	elsewhere, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()

	reply := func(t *testing.T, q *miekg.Msg, addr string, change func(*miekg.Msg)) []byte {
		m := new(miekg.Msg).SetReply(q)
		rr, _ := miekg.NewRR(q.Question[0].Name + " 60 IN A " + addr)
		m.Answer = []miekg.RR{rr}
		if change != nil {
			change(m)
		}
		return pack(t, m)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		buf := make([]byte, 2048)
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		q := unpack(t, buf[:n])
		const forged = "203.0.113.66"
		elsewhere.WriteTo(reply(t, q, forged, nil), from)
		for _, b := range [][]byte{
			{},
			buf[:n], // the question itself
			{buf[0], buf[1], 0x80},
			reply(t, q, forged, func(m *miekg.Msg) { m.Id++ }),
			reply(t, q, forged, func(m *miekg.Msg) { m.Opcode = miekg.OpcodeNotify }),
			reply(t, q, forged, func(m *miekg.Msg) { m.Question = nil }),
			reply(t, q, forged, func(m *miekg.Msg) { m.Question[0].Name = "example.org." }),
			reply(t, q, forged, func(m *miekg.Msg) { m.Question[0].Qtype = miekg.TypeAAAA }),
			reply(t, q, forged, func(m *miekg.Msg) { m.Question[0].Qclass = miekg.ClassCHAOS }),
			reply(t, q, forged, func(m *miekg.Msg) { m.Question = append(m.Question, m.Question[0]) }),
			reply(t, q, "203.0.113.7", nil),
		} {
			pc.WriteTo(b, from)
		}
	}()
	u := asking(t, UpstreamOptions{}, pc.LocalAddr().(*net.UDPAddr).AddrPort())
	m := exchangeOK(t, u, question("example.com.", miekg.TypeA), false)
	if got := addrsOf(m); len(got) != 1 || got[0] != netip.MustParseAddr("203.0.113.7") {
		t.Errorf("got %v, want the true reply's 203.0.113.7", got)
	}
	<-served
}

func TestServerThatChangesCase(t *testing.T) {
	r := startResolver(t, func(w miekg.ResponseWriter, m *miekg.Msg) {
		m.Question[0].Name = "example.com."
		answering("203.0.113.7")(w, m)
	})
	exchangeOK(t, asking(t, UpstreamOptions{}, r.addr), question("EXAMPLE.com.", miekg.TypeA), false)
}

func TestErrorReplyWithoutQuestion(t *testing.T) {
	r := startResolver(t, func(w miekg.ResponseWriter, m *miekg.Msg) {
		r := new(miekg.Msg).SetRcode(m, miekg.RcodeFormatError)
		r.Question = nil
		w.WriteMsg(r)
	})
	b, err := asking(t, UpstreamOptions{}, r.addr).Exchange(t.Context(), pack(t, question("example.com.", miekg.TypeA)), false)
	if err != nil || unpack(t, b).Rcode != miekg.RcodeFormatError {
		t.Errorf("% x, %v; want the server's FORMERR", b, err)
	}
}

// truncating answers over UDP with nothing but TC, over TCP with 100 addresses.
func truncating(w miekg.ResponseWriter, m *miekg.Msg) {
	r := new(miekg.Msg).SetReply(m)
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		r.Truncated = true
	} else {
		for i := range 100 {
			r.Answer = append(r.Answer, &miekg.A{
				Hdr: miekg.RR_Header{Name: m.Question[0].Name, Rrtype: miekg.TypeA, Class: miekg.ClassINET},
				A:   net.IPv4(203, 0, 113, byte(i)),
			})
		}
	}
	w.WriteMsg(r)
}

func TestTruncatedRepliesFollowTheClientsTransport(t *testing.T) {
	r := startResolver(t, truncating)
	u := asking(t, UpstreamOptions{}, r.addr)
	q := question("example.com.", miekg.TypeA)
	if m := exchangeOK(t, u, q, false); !m.Truncated || len(m.Answer) != 0 || r.tcp.Load() != 0 {
		t.Errorf("UDP client: TC %v, %d records, %d questions over TCP; want the TC reply as it is", m.Truncated, len(m.Answer), r.tcp.Load())
	}
	if m := exchangeOK(t, u, q, true); m.Truncated || len(m.Answer) != 100 {
		t.Errorf("TCP client: TC %v, %d records; want 100 and no TC", m.Truncated, len(m.Answer))
	}
}

// A server that truncates and has no TCP is of no use to a client on TCP.
func TestTruncatingServerWithoutTCP(t *testing.T) {
	pc := testserver.UDP(t, testserver.Loopback, func(_ net.Addr, b []byte) []byte {
		flags := binary.BigEndian.Uint16(b[2:])
		binary.BigEndian.PutUint16(b[2:], flags|bitQR|bitTC)
		return b
	})
	udpOnly := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	good := startResolver(t, answering("203.0.113.7"))
	q := question("example.com.", miekg.TypeA)
	if m := exchangeOK(t, asking(t, UpstreamOptions{}, udpOnly, good.addr), q, true); len(m.Answer) != 1 {
		t.Errorf("%v, want the second server's answer", m)
	}
	if _, err := asking(t, UpstreamOptions{}, udpOnly).Exchange(t.Context(), pack(t, q), true); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("alone: %v, want ErrNoAnswer", err)
	}
}
