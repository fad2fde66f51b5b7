// Package plane puts one network's data plane together out of the packages that
// know their part and not each other.
//
//	                       Plane (one a network, while it has endpoints)
//	container  +---------------------------------------------------------------+
//	  TAP <----|-> stack.Network --TCP SYN, UDP, ping--> forwarder --> outside |
//	  Attach   |     gateway <------DialTCP, SendUDP---- portfwd  <-- Publish  |
//	           |     :53 UDP, TCP ---------------------> dns.Server --> host's |
//	           |     DHCP, router solicitations --------> dhcp.Server          |
//	           +---------------------------------------------------------------+
//
// A datagram that leaves is first offered to portfwd (it may answer a published
// flow), then to the forwarder. An internal network has neither of the two, unless
// ports of the host were opened on it, which is all that its forwarder leads to then
// (hostports.go); and its DNS server has nobody to ask. What it cannot reach it does
// not have.
// Ports that are published at all of the host's addresses are reached at the gateways
// of networks that lead outside, too: their forwarders ask Published.
// Rules say what is different: names at an address of their own, or none at all; a host that is
// not there; an endpoint that gets its address by DHCP from a range.
// Containers that come to such a port by their gateway are noted (hairpins.go), so that
// they are not taken for clients of the host's own.
// Packets for networks that are open to others do not come that far: the switch
// passes them on (stack.Crossing).
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
// of its own but those that serve DNS over TCP, and a timer's where the gateway is
// advertised.
package plane
