// Package plane puts one network's data plane together out of the packages that
// know their part and not each other.
//
//	                       Plane (one a network, while it has endpoints)
//	container  +--------------------------------------------------------------+
//	  TAP <----|-> stack.Network --TCP SYN, UDP, ping--> forwarder --> outside |
//	  Attach   |     gateway <------DialTCP, SendUDP---- portfwd  <-- Publish  |
//	           |     :53 UDP, TCP ---------------------> dns.Server --> host's |
//	           +--------------------------------------------------------------+
//
// A datagram that leaves is first offered to portfwd (it may answer a published
// flow), then to the forwarder. An internal network has neither of the two and
// its DNS server has nobody to ask: what it cannot reach it does not have.
//
// # Lifetime
//
// New makes everything, Close ends it in the opposite order: published ports,
// DNS, flows to the outside, switch. A [Port] is closed by its maker; Close of the
// Plane closes those that are left. The namespaces given to Attach stay the
// caller's.
//
// # Concurrency
//
// Every method may be called from any goroutine. The package has no goroutines
// of its own but those that serve DNS over TCP.
package plane
