package dns

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

// serve starts s on a loopback port and returns its address.
func serve(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.ServeTCP(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; err != nil {
			t.Errorf("ServeTCP after Close: %v", err)
		}
	})
	return l.Addr().String()
}

func dial(t *testing.T, from, to string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// expectReset opens a connection that the server has no room for. The reset may
// come before the dial has returned.
func expectReset(t *testing.T, from, to, why string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to)
	if err == nil {
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s: %v, want a reset", why, err)
	}
}

func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func readReply(t *testing.T, c net.Conn) *miekg.Msg {
	t.Helper()
	buf := make([]byte, maxMessage)
	b, _, err := readMessage(c, buf)
	if err != nil {
		t.Fatalf("read a reply: %v", err)
	}
	return unpack(t, b)
}

// expectEnd waits until the server has closed c.
func expectEnd(t *testing.T, c net.Conn, why string) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	var ne net.Error
	if n != 0 || err == nil || errors.As(err, &ne) && ne.Timeout() {
		t.Errorf("%s: connection still open (%d bytes, %v)", why, n, err)
	}
}

func TestPipelinedQuestions(t *testing.T) {
	release := make(chan struct{})
	r := startResolver(t, func(w miekg.ResponseWriter, m *miekg.Msg) {
		if m.Question[0].Name == "slow.example." {
			<-release
		}
		answering("203.0.113.7")(w, m)
	})
	s := newServer(t, Options{Zone: myBridge(), Upstream: asking(t, UpstreamOptions{}, r.addr)})
	c := dial(t, "127.0.0.1", serve(t, s))
	slow, own, fast := question("slow.example.", miekg.TypeA), question("c3.", miekg.TypeA), question("fast.example.", miekg.TypeA)
	var out []byte
	for _, q := range []*miekg.Msg{slow, own, fast} {
		out = append(out, framed(pack(t, q))...)
	}
	c.Write(out)
	// The slow one holds nobody up.
	got := map[uint16]*miekg.Msg{}
	for range 2 {
		m := readReply(t, c)
		got[m.Id] = m
	}
	if m := got[own.Id]; m == nil || len(m.Answer) != 1 || addrsOf(m)[0] != c3v4 {
		t.Errorf("c3: %v", m)
	}
	if m := got[fast.Id]; m == nil || len(m.Answer) != 1 {
		t.Errorf("fast: %v", m)
	}
	// Who has said all may close that half and still gets the answers.
	c.CloseWrite()
	close(release)
	if m := readReply(t, c); m.Id != slow.Id || len(m.Answer) != 1 {
		t.Errorf("slow: %v", m)
	}
	expectEnd(t, c, "after all answers")
}

func TestTCPAnswersAreWhole(t *testing.T) {
	n := NewNames("net")
	for i := range 1000 {
		n.Add(string(rune('a'+i)), []string{"all"}, []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})})
	}
	r := startResolver(t, truncating)
	s := newServer(t, Options{Zone: n, Upstream: asking(t, UpstreamOptions{}, r.addr)})
	c := dial(t, "127.0.0.1", serve(t, s))
	for name, want := range map[string]int{"all.": 1000, "example.com.": 100} {
		c.Write(framed(pack(t, question(name, miekg.TypeA))))
		if m := readReply(t, c); len(m.Answer) != want || m.Truncated {
			t.Errorf("%s: %d records, TC %v; want %d", name, len(m.Answer), m.Truncated, want)
		}
	}
}

func TestInternalNetworkNeverForwardsOverTCP(t *testing.T) {
	s := newServer(t, Options{Zone: myBridge()})
	c := dial(t, "127.0.0.1", serve(t, s))
	c.Write(framed(pack(t, question("exfil.example.com.", miekg.TypeTXT))))
	if m := readReply(t, c); m.Rcode != miekg.RcodeNameError {
		t.Errorf("%v, want NXDOMAIN", m)
	}
}

func TestStreamsThatAreNotDNS(t *testing.T) {
	s := newServer(t, Options{Zone: myBridge(), Limits: Limits{Client: ClientLimits{Connections: 64}}})
	addr := serve(t, s)
	for _, tt := range []struct{ what, bytes string }{
		{"length 0", "\x00\x00"},
		{"length 11", "\x00\x0b"},
		{"half a length, then the end", "\x00"},
		{"half a message, then the end", "\x00\x20abcdef"},
	} {
		c := dial(t, "127.0.0.1", addr)
		io.WriteString(c, tt.bytes)
		if strings.HasSuffix(tt.what, "end") {
			c.CloseWrite()
		}
		expectEnd(t, c, tt.what)
	}
	c := dial(t, "127.0.0.1", addr)
	io.WriteString(c, "\xff\xff")
	c.Write(raw(0, [4]uint16{1}, qC3A)[:headerLen])
	if m := readReply(t, c); m.Rcode != miekg.RcodeFormatError || m.Id != 0xabcd {
		t.Errorf("length 65535: %v, want FORMERR", m)
	}
	expectEnd(t, c, "length 65535")

	// A response gets no answer, and does no harm to what follows.
	c = dial(t, "127.0.0.1", addr)
	c.Write(append(framed(raw(bitQR, [4]uint16{1}, qC3A)), framed(raw(0, [4]uint16{1}, qC3A))...))
	if m := readReply(t, c); len(m.Answer) != 1 {
		t.Errorf("after a response: %v", m)
	}
}

func TestSlowClientsAreCutOff(t *testing.T) {
	s := newServer(t, Options{Zone: myBridge(), Limits: Limits{Idle: 300 * time.Millisecond}})
	addr := serve(t, s)
	expectEnd(t, dial(t, "127.0.0.1", addr), "says nothing")

	c := dial(t, "127.0.0.1", addr)
	c.Write(framed(pack(t, question("c3.", miekg.TypeA))))
	readReply(t, c)
	expectEnd(t, c, "says nothing more")

	// A byte at a time would take a minute for this message.
	c = dial(t, "127.0.0.1", addr)
	c.Write([]byte{0x0f, 0xff})
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		expectEnd(t, c, "a byte at a time")
	}()
	for sent := 0; ; sent++ {
		select {
		case <-gone:
			if sent > 2000 {
				t.Errorf("cut off after %d bytes only", sent)
			}
			return
		case <-tick.C:
			c.Write([]byte{'x'}) // fails once the server has closed
		}
	}
}

func TestIdleConnectionsHoldNobodyUp(t *testing.T) {
	s := newServer(t, Options{Zone: myBridge(), Limits: Limits{Connections: 7, Client: ClientLimits{Connections: 4}, Idle: time.Hour}})
	addr := serve(t, s)
	works := func(c net.Conn) {
		t.Helper()
		c.Write(framed(pack(t, question("c3.", miekg.TypeA))))
		if m := readReply(t, c); len(m.Answer) != 1 {
			t.Errorf("%v", m)
		}
	}
	idle := dial(t, "127.0.0.1", addr)
	for range 3 {
		works(dial(t, "127.0.0.1", addr))
	}
	for range 20 {
		expectReset(t, "127.0.0.1", addr, "over the address's limit")
	}
	for range 2 {
		works(dial(t, "127.0.0.2", addr)) // another container
	}
	works(dial(t, "127.0.0.3", addr)) // of the last place each may have one
	expectReset(t, "127.0.0.4", addr, "over the limit")
	if got := s.Stats().Refused; got != 21 {
		t.Errorf("refused %d, want 21", got)
	}
	if b := inline(s, client1, pack(t, question("c3.", miekg.TypeA))); b == nil {
		t.Error("no answer over UDP")
	}
	works(idle)
}

// A client that asks and never reads must not hold a goroutine for ever.
func TestClientThatDoesNotRead(t *testing.T) {
	n := NewNames("net")
	for i := range 1000 {
		n.Add(string(rune('a'+i)), []string{"all"}, []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})})
	}
	s := newServer(t, Options{Zone: n, Limits: Limits{Write: 100 * time.Millisecond, Idle: time.Hour}})
	c := dial(t, "127.0.0.1", serve(t, s))
	q := framed(pack(t, question("all.", miekg.TypeA)))
	for { // 16 KiB of answer to each: the socket's buffers fill
		if _, err := c.Write(q); err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				t.Fatal("the server keeps the connection")
			}
			return
		}
	}
}

func TestServeTCPEnds(t *testing.T) {
	s := newServer(t, Options{Zone: myBridge(), NetworkName: "my_bridge"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.ServeTCP(l); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "my_bridge") {
		t.Errorf("closed listener: %v", err)
	}
	s.Close()
	l, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ServeTCP(l); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
}
