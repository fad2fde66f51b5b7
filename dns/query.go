package dns

import (
	"encoding/binary"

	miekg "github.com/miekg/dns"
)

// Sizes of RFC 1035 and RFC 6891, in bytes.
const (
	headerLen   = 12
	maxNameLen  = 255 // a name on the wire, root included
	maxLabelLen = 63
	optLen      = 11 // an OPT record without options
	minUDPSize  = 512

	// maxQuery bounds what is accepted as a question. A name is 255 bytes at
	// most; the rest is EDNS0 options and a signature, for which 4 KiB is
	// generous. It bounds the buffer that a connection holds.
	maxQuery = 4096
)

// Bits of the header's third and fourth byte, as one big-endian number.
const (
	bitQR = 1 << 15
	bitAA = 1 << 10
	bitTC = 1 << 9
	bitRD = 1 << 8
	bitRA = 1 << 7
	bitCD = 1 << 4

	maskOpcode = 0xf << 11
	maskRcode  = 0xf
)

// query is a question as a client sent it. Its slices point into the message.
//
// It is read by hand and not by miekg's Msg because that costs a dozen
// allocations for each question about a container; FuzzHandleDatagram holds the two
// against each other.
type query struct {
	msg      []byte
	question []byte // name, type and class as sent; nil if it could not be read
	qtype    uint16
	qclass   uint16

	// key is the name in lower case, labels joined by dots; keyLen 0 for the
	// root and for names with a dot inside a label, which no container has.
	key    [maxNameLen]byte
	keyLen int

	edns    bool
	version uint8
	do      bool
	size    uint16 // of the largest UDP answer the client takes
}

// verdict is what reading a message comes to.
type verdict int

const (
	silence verdict = -1 // not to be answered
	good    verdict = miekg.RcodeSuccess
)

// read takes a message apart. A verdict above good is the rcode to answer with.
func (q *query) read(msg []byte) verdict {
	q.msg, q.size = msg, minUDPSize
	if len(msg) < headerLen || q.flags()&bitQR != 0 {
		return silence
	}
	if q.flags()&maskOpcode != 0 {
		return miekg.RcodeNotImplemented
	}
	questions, answers := binary.BigEndian.Uint16(msg[4:]), binary.BigEndian.Uint16(msg[6:])
	authorities, additionals := binary.BigEndian.Uint16(msg[8:]), binary.BigEndian.Uint16(msg[10:])
	if len(msg) > maxQuery || questions != 1 || answers != 0 || authorities != 0 {
		// Only zone transfers carry an authority section, and they are refused anyway.
		return miekg.RcodeFormatError
	}
	off, ok := q.readName(headerLen)
	if !ok || off+4 > len(msg) {
		q.keyLen = 0
		return miekg.RcodeFormatError
	}
	q.qtype = binary.BigEndian.Uint16(msg[off:])
	q.qclass = binary.BigEndian.Uint16(msg[off+2:])
	off += 4
	q.question = msg[headerLen:off]
	for range additionals {
		if off, ok = q.readAdditional(off); !ok {
			return miekg.RcodeFormatError
		}
	}
	switch {
	case off != len(msg):
		return miekg.RcodeFormatError
	case q.edns && q.version != 0:
		return miekg.RcodeBadVers
	case q.qclass != miekg.ClassINET:
		return miekg.RcodeNotImplemented
	case q.qtype == miekg.TypeAXFR || q.qtype == miekg.TypeIXFR:
		// A transfer is many messages, and our own zone is nobody's to copy.
		return miekg.RcodeRefused
	}
	return good
}

// readName reads the question's name. A compression pointer is an error: there
// is nothing before the first name that it could point to.
func (q *query) readName(off int) (int, bool) {
	start, dotted := off, false
	for {
		if off >= len(q.msg) {
			return 0, false
		}
		n := int(q.msg[off])
		off++
		if off-start > maxNameLen {
			return 0, false
		}
		if n == 0 {
			break
		}
		if n > maxLabelLen || off+n > len(q.msg) || off+n-start > maxNameLen {
			return 0, false
		}
		if q.keyLen > 0 {
			q.key[q.keyLen] = '.'
			q.keyLen++
		}
		for _, c := range q.msg[off : off+n] {
			dotted = dotted || c == '.'
			q.key[q.keyLen] = lower(c)
			q.keyLen++
		}
		off += n
	}
	if dotted {
		q.keyLen = 0
	}
	return off, true
}

// readAdditional steps over one record of the additional section and takes
// what an OPT record says (RFC 6891).
func (q *query) readAdditional(off int) (int, bool) {
	nameAt := off
	off, ok := skipName(q.msg, off)
	if !ok || off+10 > len(q.msg) {
		return 0, false
	}
	fixed := q.msg[off:]
	data := off + 10
	end := data + int(binary.BigEndian.Uint16(fixed[8:]))
	if end > len(q.msg) {
		return 0, false
	}
	if binary.BigEndian.Uint16(fixed) == miekg.TypeOPT {
		if q.edns || q.msg[nameAt] != 0 || !validOptions(q.msg[data:end]) {
			return 0, false // at most one, and it belongs to the root
		}
		q.edns = true
		q.size = max(binary.BigEndian.Uint16(fixed[2:]), minUDPSize)
		q.version = fixed[5]
		q.do = fixed[6]&0x80 != 0
	}
	return end, true
}

func validOptions(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 4 || len(b)-4 < int(binary.BigEndian.Uint16(b[2:])) {
			return false
		}
		b = b[4+binary.BigEndian.Uint16(b[2:]):]
	}
	return true
}

// skipName returns the offset behind the name at off, without following pointers.
func skipName(msg []byte, off int) (int, bool) {
	for off < len(msg) {
		switch n := int(msg[off]); {
		case n == 0:
			return off + 1, true
		case n >= 0xc0:
			return off + 2, off+2 <= len(msg)
		case n > maxLabelLen:
			return 0, false
		default:
			off += 1 + n
		}
	}
	return 0, false
}

func (q *query) id() uint16    { return binary.BigEndian.Uint16(q.msg) }
func (q *query) flags() uint16 { return binary.BigEndian.Uint16(q.msg[2:]) }

// name is the question's name as zones know it.
func (q *query) name() string { return string(q.key[:q.keyLen]) }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
