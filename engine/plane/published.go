package plane

import (
	"net/netip"
	"sync/atomic"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// Published are the ports of the host that are published at all of its addresses, by
// whichever network. A gateway's address is one of them to its containers, as with
// Docker: what is sent to such a port there goes where the host's own port leads.
//
//	container --> gateway:8000 --Published.has?--> 127.0.0.1:8000 --listener--> container
//
// What is published at single addresses is not at the gateway's. The zero value is
// empty. All methods may be called from any goroutine; has takes no lock.
type Published struct {
	// A bit a port, for each family and protocol: the question is asked for every SYN
	// and datagram to a gateway.
	open [2][2][1 << 16 / 64]atomic.Uint64

	hairpins hairpins
}

// Add says that at is published, and Remove that it is not any more. Only unspecified
// addresses count. A socket of the host can be bound once, so nobody counts.
func (p *Published) Add(proto string, at netip.AddrPort) {
	if word, bit := p.word(proto, at); word != nil {
		word.Or(bit)
	}
}

// Remove is the opposite of Add.
func (p *Published) Remove(proto string, at netip.AddrPort) {
	if word, bit := p.word(proto, at); word != nil {
		word.And(^bit)
	}
}

// word is nil for what does not count.
func (p *Published) word(proto string, at netip.AddrPort) (word *atomic.Uint64, bit uint64) {
	number, ok := protocols[proto]
	if !ok || number != packet.ProtoTCP && number != packet.ProtoUDP || !at.Addr().IsUnspecified() {
		return nil, 0
	}
	return p.at(number, at.Addr().Is4(), at.Port())
}

func (p *Published) at(proto uint8, is4 bool, port uint16) (*atomic.Uint64, uint64) {
	family, kind := 0, 0
	if !is4 {
		family = 1
	}
	if proto == packet.ProtoUDP {
		kind = 1
	}
	return &p.open[family][kind][port/64], 1 << (port % 64)
}

// has reports whether a port is published at all addresses of a family. p may be nil.
func (p *Published) has(proto uint8, is4 bool, port uint16) bool {
	if p == nil {
		return false
	}
	word, bit := p.at(proto, is4, port)
	return word.Load()&bit != 0
}
