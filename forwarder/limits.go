package forwarder

// Limits of the flows of one container, whatever its addresses. Zero fields have
// the default.
type Limits struct {
	// HalfOpen are TCP connections whose host side is not yet connected.
	// Default 256: a busy crawler has as many under way; a SYN flood has more.
	HalfOpen int
	// TCP are TCP connections, with those under way. Default 57344: twice the ephemeral
	// ports of a Linux container to one server.
	TCP int
	// UDP are mappings, that is source ports in use. Default 4096: a
	// BitTorrent client or resolver uses some hundred in the timeout; each is a
	// descriptor and a port of the host.
	UDP int
	// Echo are identifiers of ping in use. Default 256: a monitoring system
	// pings with one for each process.
	Echo int
}

var defaults = Limits{HalfOpen: 256, TCP: 57344, UDP: 4096, Echo: 256}

// or gives l with zero fields taken from d.
func (l Limits) or(d Limits) Limits {
	or := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	or(&l.HalfOpen, d.HalfOpen)
	or(&l.TCP, d.TCP)
	or(&l.UDP, d.UDP)
	or(&l.Echo, d.Echo)
	return l
}

// maxRemembered bounds the addresses that all mappings of a container together
// remember, which would otherwise be 2,048 for each: 8 million, some 300 MB, for
// one that makes all its mappings talk to everybody. It is twice what all the
// peers of a BitTorrent client are, at some 40 bytes each.
const maxRemembered = 64 << 10
