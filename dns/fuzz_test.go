package dns

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/footbridge-net/footbridge/internal/turn"
)

// seeds are messages of each kind that the tables of the other tests know.
func seeds(f *testing.F) [][]byte {
	edns := question("c3.my_bridge.", miekg.TypeAAAA)
	edns.SetEdns0(1400, true)
	list := [][]byte{
		pack(f, question("c3.", miekg.TypeA)),
		pack(f, question("all.", miekg.TypeA)),
		pack(f, question("EXAMPLE.com.", miekg.TypeTXT)),
		pack(f, question("4.0.20.172.in-addr.arpa.", miekg.TypePTR)),
		pack(f, question(strings.Repeat("0.", 31)+"f.ip6.arpa.", miekg.TypePTR)),
		pack(f, edns),
		raw(bitRD, [4]uint16{1, 0, 0, 1}, qC3A+opt4096),
		raw(bitRD, [4]uint16{1, 0, 0, 1}, qC3A+"\x00\x00\x29\x10\x00\x00\x01\x00\x00\x00\x00"),
		raw(0, [4]uint16{1, 0, 0, 1}, qC3A+"\xc0\x14\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04abcd"),
		raw(bitQR, [4]uint16{1}, qC3A),
		raw(5<<11, [4]uint16{1}, ""),
		raw(0, [4]uint16{1}, "\xc0\x0c\x00\x01\x00\x01"),
		raw(0, [4]uint16{1}, strings.Repeat("\x01x", 127)+"\x00\x00\x01\x00\x01"),
		raw(0, [4]uint16{65535, 65535, 65535, 65535}, qC3A),
		{1, 2, 3},
	}
	return list
}

func fuzzZone() *Names {
	n := myBridge()
	for i := range 100 {
		n.Add(string(rune('a'+i)), []string{"all"}, []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})})
	}
	return n
}

// checkReply holds a reply against the question it is to, and our reading of
// the question against miekg's.
func checkReply(t *testing.T, msg, reply []byte, limit int) {
	t.Helper()
	m := unpack(t, reply)
	if len(reply) > limit {
		t.Errorf("%d bytes for a client that takes %d", len(reply), limit)
	}
	if m.Id != binary.BigEndian.Uint16(msg) || !m.Response || m.Opcode != int(msg[2]>>3&0xf) {
		t.Errorf("header %+v doesn't answer % x", m.MsgHdr, msg[:headerLen])
	}
	if len(m.Question) == 0 {
		if m.Rcode != miekg.RcodeFormatError && m.Rcode != miekg.RcodeNotImplemented {
			t.Errorf("%s without the question", miekg.RcodeToString[m.Rcode])
		}
	} else if end := questionEnd(reply); end > len(msg) || !bytes.Equal(reply[headerLen:end], msg[headerLen:end]) {
		t.Errorf("question %v isn't the one in % x", m.Question, msg)
	}
	var q query
	if q.read(msg) != good {
		if m.Rcode == miekg.RcodeSuccess || len(m.Answer) != 0 {
			t.Errorf("an answer to a question that isn't good: %v", m)
		}
		return
	}
	asked := new(miekg.Msg)
	if err := asked.Unpack(msg); err != nil {
		// The additional section is read by us only as far as OPT; see
		// TestMalformedMessagesAreNotForwarded.
		if binary.BigEndian.Uint16(msg[10:]) == 0 {
			t.Errorf("good to us, not to miekg: %v", err)
		}
		asked.Question = m.Question
	}
	if asked.Question[0].Qtype != q.qtype {
		t.Errorf("type %d, miekg says %d", q.qtype, asked.Question[0].Qtype)
	}
	if name := asked.Question[0].Name; q.keyLen > 0 && !strings.Contains(name, `\`) && strings.ToLower(name) != q.name()+"." {
		t.Errorf("name %q, miekg says %q", q.name(), name)
	}
	if o := asked.IsEdns0(); o != nil && (!q.edns || q.do != o.Do() || q.size != max(o.UDPSize(), minUDPSize)) {
		t.Errorf("EDNS %v size %d DO %v, miekg says %v", q.edns, q.size, q.do, o)
	}
	if q.edns != (m.IsEdns0() != nil) {
		t.Errorf("OPT in the question %v, in the reply %v", q.edns, m.IsEdns0())
	}
}

func questionEnd(msg []byte) int {
	end, _ := skipName(msg, headerLen)
	return end + 4
}

func FuzzHandleDatagram(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	servers := []*Server{
		newServer(f, Options{Zone: fuzzZone(), Subnets: subnets}),
		// Forwards, but nowhere: each ends as SERVFAIL.
		newServer(f, Options{Zone: fuzzZone(), Subnets: subnets, Upstream: asking(f, UpstreamOptions{})}),
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		var q query
		verdict := q.read(msg)
		limit := ownUDPSize
		if verdict != silence {
			limit = max(minUDPSize, min(int(q.size), ownUDPSize))
		}
		for _, s := range servers {
			replies := make(chan []byte, 2)
			mine := bytes.Clone(msg)
			s.HandleDatagram(client1, mine, func(b []byte) { replies <- bytes.Clone(b) })
			if !bytes.Equal(mine, msg) {
				t.Fatal("the query was written to")
			}
			clear(mine)
			if verdict == silence {
				if len(replies) != 0 {
					t.Errorf("answered: % x", <-replies)
				}
				continue
			}
			select {
			case b := <-replies:
				checkReply(t, msg, b, limit)
			case <-time.After(patience):
				t.Fatal("no reply")
			}
		}
	})
}

// script is a connection whose client has said all it will say.
type script struct {
	net.Conn // for the methods that aren't called
	in       *bytes.Reader
	out      bytes.Buffer
}

func (c *script) Read(b []byte) (int, error)       { return c.in.Read(b) }
func (c *script) Write(b []byte) (int, error)      { return c.out.Write(b) }
func (c *script) Close() error                     { return nil }
func (c *script) SetReadDeadline(time.Time) error  { return nil }
func (c *script) SetWriteDeadline(time.Time) error { return nil }

func FuzzTCPStream(f *testing.F) {
	var all []byte
	for _, b := range seeds(f) {
		f.Add(framed(b))
		if len(b) >= headerLen {
			all = append(all, framed(b)...)
		}
	}
	f.Add(all)
	f.Add([]byte{0, 0})
	f.Add([]byte{0xff, 0xff, 1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 12, 1})
	servers := []*Server{
		newServer(f, Options{Zone: fuzzZone(), Subnets: subnets}),
		newServer(f, Options{Zone: fuzzZone(), Subnets: subnets, Upstream: asking(f, UpstreamOptions{})}),
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		// What of the stream is to be answered, by id; several may share one.
		expected := make(map[uint16]int)
		count := 0
		for r := bytes.NewReader(in); ; {
			msg, whole, err := readMessage(r, make([]byte, maxQuery))
			if err != nil {
				break
			}
			if msg[2]&0x80 == 0 {
				expected[binary.BigEndian.Uint16(msg)]++
				count++
			}
			if !whole {
				break
			}
		}
		for _, s := range servers {
			c := &script{in: bytes.NewReader(in)}
			s.serveConn(c, client1.Addr(), turn.New(func() {}))
			got := make(map[uint16]int)
			buf := make([]byte, maxMessage)
			replies := 0
			for {
				b, _, err := readMessage(&c.out, buf)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("the stream of replies: %v", err)
				}
				m := unpack(t, b)
				got[m.Id]++
				replies++
				if got[m.Id] > expected[m.Id] {
					t.Errorf("%d replies with id %d, want %d", got[m.Id], m.Id, expected[m.Id])
				}
			}
			if replies != count {
				t.Errorf("%d replies, want %d", replies, count)
			}
		}
	})
}
