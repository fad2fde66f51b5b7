package dns

import (
	"encoding/binary"
	"net/netip"

	miekg "github.com/miekg/dns"
)

const (
	// ownUDPSize is the largest UDP answer that we make ourselves and the size
	// that we name in OPT: 1280 (the least MTU of IPv6) less 48 bytes of headers, so
	// that it is never cut into fragments. A client who wants less gets less.
	ownUDPSize = 1232

	// answerTTL is how long a container's address may be kept, in seconds. An
	// address can belong to another container right after its owner is gone, and a
	// question costs a microsecond, so it is short. It isn't 0, because some
	// programs that resolve again upon expiry then do nothing else.
	answerTTL = 1

	// nameAtQuestion is a compression pointer to the question's name.
	nameAtQuestion = 0xc000 | headerLen
)

// reply is an answer being written. Every one starts with the question as the
// client sent it, in its own upper and lower case.
type reply struct {
	b       []byte
	start   int // of the message in b
	q       *query
	bits    uint16
	answers uint16
	limit   int // bytes, with the OPT record
}

// newReply begins an answer of at most limit bytes behind what is in b.
func newReply(b []byte, q *query, limit int, bits uint16) reply {
	r := reply{b: b, start: len(b), q: q, limit: limit, bits: bits}
	r.b = append(r.b, make([]byte, headerLen)...)
	r.b = append(r.b, q.question...)
	return r
}

// addr adds an A or AAAA record for the question's name. false means that it
// didn't fit: the answer is marked truncated.
func (r *reply) addr(a netip.Addr) bool {
	if a.Is4() {
		v4 := a.As4()
		return r.record(miekg.TypeA, v4[:])
	}
	v6 := a.As16()
	return r.record(miekg.TypeAAAA, v6[:])
}

// ptr adds a PTR record for the question's name.
func (r *reply) ptr(name string) error {
	var wire [maxNameLen]byte
	n, err := miekg.PackDomainName(miekg.Fqdn(name), wire[:], 0, nil, false)
	if err != nil {
		return err
	}
	r.record(miekg.TypePTR, wire[:n])
	return nil
}

func (r *reply) record(rrtype uint16, data []byte) bool {
	if len(r.b)-r.start+12+len(data)+r.optLen() > r.limit {
		r.bits |= bitTC
		return false
	}
	r.b = binary.BigEndian.AppendUint16(r.b, nameAtQuestion)
	r.b = binary.BigEndian.AppendUint16(r.b, rrtype)
	r.b = binary.BigEndian.AppendUint16(r.b, miekg.ClassINET)
	r.b = binary.BigEndian.AppendUint32(r.b, answerTTL)
	r.b = binary.BigEndian.AppendUint16(r.b, uint16(len(data)))
	r.b = append(r.b, data...)
	r.answers++
	return true
}

// finish writes the OPT record, if the client sent one, and the header, and
// returns all of b.
func (r *reply) finish(rcode int) []byte {
	additionals := uint16(0)
	if r.q.edns {
		additionals = 1
		r.b = append(r.b, 0)
		r.b = binary.BigEndian.AppendUint16(r.b, miekg.TypeOPT)
		r.b = binary.BigEndian.AppendUint16(r.b, ownUDPSize)
		do := byte(0)
		if r.q.do {
			do = 0x80 // RFC 3225: copied into the answer
		}
		r.b = append(r.b, byte(rcode>>4), 0, do, 0, 0, 0)
	}
	questions := uint16(0)
	if r.q.question != nil {
		questions = 1
	}
	h := r.b[r.start:]
	binary.BigEndian.PutUint16(h[0:], r.q.id())
	echoed := r.q.flags() & (maskOpcode | bitRD | bitCD)
	binary.BigEndian.PutUint16(h[2:], bitQR|echoed|r.bits|uint16(rcode&maskRcode))
	binary.BigEndian.PutUint16(h[4:], questions)
	binary.BigEndian.PutUint16(h[6:], r.answers)
	binary.BigEndian.PutUint16(h[8:], 0)
	binary.BigEndian.PutUint16(h[10:], additionals)
	return r.b
}

func (r *reply) optLen() int {
	if r.q.edns {
		return optLen
	}
	return 0
}

// truncate cuts an upstream's reply to a UDP client's size and sets TC if
// anything had to go.
func truncate(msg []byte, q *query, limit int) []byte {
	var m miekg.Msg
	if err := m.Unpack(msg); err == nil {
		m.Truncate(limit)
		if out, err := m.Pack(); err == nil && len(out) <= limit {
			return out
		}
	}
	return cutDown(msg, q)
}

// cutDown keeps only a reply's header bits and the question, and sets TC.
func cutDown(msg []byte, q *query) []byte {
	bits := binary.BigEndian.Uint16(msg[2:])
	r := newReply(nil, q, minUDPSize, bits&(bitAA|bitRA)|bitTC)
	return r.finish(int(bits & maskRcode))
}
