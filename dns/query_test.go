package dns

import (
	"net/netip"
	"strings"
	"testing"

	miekg "github.com/miekg/dns"
)

// raw builds a message from a header (flags, four counts) and a body.
func raw(flags uint16, counts [4]uint16, body string) []byte {
	b := []byte{0xab, 0xcd, byte(flags >> 8), byte(flags)}
	for _, c := range counts {
		b = append(b, byte(c>>8), byte(c))
	}
	return append(b, body...)
}

const (
	qC3A    = "\x02c3\x00\x00\x01\x00\x01"
	opt4096 = "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"
)

func TestMalformedQuestions(t *testing.T) {
	s := newServer(t, Options{Zone: myBridge()})
	const quiet = -1
	tests := []struct {
		what string
		msg  []byte
		want int
	}{
		{"nothing", nil, quiet},
		{"less than a header", raw(0, [4]uint16{1}, "")[:11], quiet},
		{"a response", raw(0x8000, [4]uint16{1}, qC3A), quiet},
		{"a header without question", raw(0, [4]uint16{}, ""), miekg.RcodeFormatError},
		{"a header that promises a question", raw(0, [4]uint16{1}, ""), miekg.RcodeFormatError},
		{"two questions", raw(0, [4]uint16{2}, qC3A+qC3A), miekg.RcodeFormatError},
		{"an answer in a question", raw(0, [4]uint16{1, 1}, qC3A), miekg.RcodeFormatError},
		{"bytes behind the end", raw(0, [4]uint16{1}, qC3A+"x"), miekg.RcodeFormatError},
		{"no type and class", raw(0, [4]uint16{1}, "\x02c3\x00\x00\x01"), miekg.RcodeFormatError},
		{"a label that ends behind the message", raw(0, [4]uint16{1}, "\x3fc3"), miekg.RcodeFormatError},
		{"a label of 64 bytes", raw(0, [4]uint16{1}, "\x40"+strings.Repeat("x", 64)+"\x00\x00\x01\x00\x01"), miekg.RcodeFormatError},
		{"a name of 256 bytes", raw(0, [4]uint16{1}, strings.Repeat("\x01x", 128)+"\x00\x00\x01\x00\x01"), miekg.RcodeFormatError},
		{"a pointer to itself", raw(0, [4]uint16{1}, "\xc0\x0c\x00\x01\x00\x01"), miekg.RcodeFormatError},
		{"a pointer into the header", raw(0, [4]uint16{1}, "\x02c3\xc0\x00\x00\x01\x00\x01"), miekg.RcodeFormatError},
		{"two OPT records", raw(0, [4]uint16{1, 0, 0, 2}, qC3A+opt4096+opt4096), miekg.RcodeFormatError},
		{"an OPT record with an owner", raw(0, [4]uint16{1, 0, 0, 1}, qC3A+"\x01x"+opt4096), miekg.RcodeFormatError},
		{"an OPT record cut short", raw(0, [4]uint16{1, 0, 0, 1}, qC3A+opt4096[:9]), miekg.RcodeFormatError},
		{"an option longer than its record", raw(0, [4]uint16{1, 0, 0, 1}, qC3A+"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x08"), miekg.RcodeFormatError},
		{"an additional record that is missing", raw(0, [4]uint16{1, 0, 0, 2}, qC3A+opt4096), miekg.RcodeFormatError},
		{"5000 bytes", raw(0, [4]uint16{1}, qC3A+strings.Repeat("\x00", 5000)), miekg.RcodeFormatError},
		{"EDNS version 1", raw(0, [4]uint16{1, 0, 0, 1}, qC3A+"\x00\x00\x29\x10\x00\x00\x01\x00\x00\x00\x00"), miekg.RcodeBadVers},
		{"opcode NOTIFY", raw(4<<11, [4]uint16{1}, qC3A), miekg.RcodeNotImplemented},
		{"opcode UPDATE, cut short", raw(5<<11, [4]uint16{1}, ""), miekg.RcodeNotImplemented},
		{"class CHAOS", raw(0, [4]uint16{1}, "\x02c3\x00\x00\x01\x00\x03"), miekg.RcodeNotImplemented},
		{"class ANY", raw(0, [4]uint16{1}, "\x02c3\x00\x00\x01\x00\xff"), miekg.RcodeNotImplemented},
		{"AXFR", raw(0, [4]uint16{1}, "\x02c3\x00\x00\xfc\x00\x01"), miekg.RcodeRefused},
		{"a plain question", raw(0, [4]uint16{1}, qC3A), miekg.RcodeSuccess},
		{"with EDNS", raw(0, [4]uint16{1, 0, 0, 1}, qC3A+opt4096), miekg.RcodeSuccess},
	}
	for _, tt := range tests {
		t.Run(tt.what, func(t *testing.T) {
			b := inline(s, client1, tt.msg)
			if tt.want == quiet {
				if b != nil {
					t.Fatalf("answered: % x", b)
				}
				return
			}
			if b == nil {
				t.Fatal("not answered")
			}
			m := unpack(t, b)
			if m.Rcode != tt.want || m.Id != 0xabcd || !m.Response {
				t.Errorf("%v, want rcode %s", m, miekg.RcodeToString[tt.want])
			}
			if m.Opcode != int(tt.msg[2]>>3&0xf) {
				t.Errorf("opcode %d isn't the question's", m.Opcode)
			}
		})
	}
}

func TestEDNSIsEchoed(t *testing.T) {
	s := newServer(t, Options{Zone: myBridge()})
	q := question("c3.", miekg.TypeA)
	if m := ask(t, s, client1, q); m.IsEdns0() != nil {
		t.Errorf("an OPT record for a client without EDNS: %v", m)
	}
	q.SetEdns0(4096, true)
	q.IsEdns0().Option = append(q.IsEdns0().Option, &miekg.EDNS0_COOKIE{Code: miekg.EDNS0COOKIE, Cookie: "0102030405060708"})
	o := ask(t, s, client1, q).IsEdns0()
	if o == nil || o.UDPSize() != ownUDPSize || !o.Do() || o.Version() != 0 || len(o.Option) != 0 {
		t.Errorf("OPT record %v, want size %d with DO and without options", o, ownUDPSize)
	}
}

func TestTruncation(t *testing.T) {
	n := NewNames("net")
	for i := range 300 {
		n.Add(string(rune('a'+i)), []string{"all"}, []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})})
	}
	s := newServer(t, Options{Zone: n})
	tests := []struct {
		edns    uint16 // 0: none
		size    int
		atLeast int // records
	}{
		{0, 512, 30},
		{100, 512, 29}, // less than 512 means 512
		{700, 700, 40},
		{4096, ownUDPSize, 70},
	}
	for _, tt := range tests {
		q := question("all.", miekg.TypeA)
		if tt.edns != 0 {
			q.SetEdns0(tt.edns, false)
		}
		b := inline(s, client1, pack(t, q))
		m := unpack(t, b)
		if len(b) > tt.size || !m.Truncated || len(m.Answer) < tt.atLeast || (tt.edns != 0) != (m.IsEdns0() != nil) {
			t.Errorf("EDNS size %d: %d bytes, TC %v, %d records; want at most %d bytes, TC, at least %d records",
				tt.edns, len(b), m.Truncated, len(m.Answer), tt.size, tt.atLeast)
		}
	}
}
