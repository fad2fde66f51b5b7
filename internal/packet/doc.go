// Package packet reads and writes the frames that cross a network: Ethernet,
// ARP, IPv4, IPv6, UDP, ICMP and neighbour discovery, as pure functions on
// bytes.
//
//	+----------+---------------+-----------+---------+
//	| Ethernet | IPv4 | IPv6   | UDP, ICMP | payload |
//	+----------+---------------+-----------+---------+
//	^ Ethernet   ^ ParseIP        ^ ParseUDP
//
// Parsers never panic and never look behind the slice they were given;
// whatever a container sends is hostile until a parser has accepted it.
// Builders write into slices of the caller and compute full checksums, except
// where a name says Partial: those leave the pseudo-header sum for the
// receiver's kernel (virtio's NEEDS_CSUM).
//
// Lifetime: nothing is kept. Concurrency: everything is safe to call from any
// goroutine.
package packet
