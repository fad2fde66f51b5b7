// Package ipam decides which subnet a network gets and which address an
// endpoint gets. It is arithmetic on netip values and nothing else: it reads no
// file, opens no socket and knows no container.
//
//	 default pools        what is taken: other networks, host routes
//	172.17.0.0/16 ...            |
//	      |                      v
//	      +-----------> NextSubnet, Overlaps ----> subnet
//	                                                 |
//	  user: subnet, range, gateway -----------> NewPool(Config)
//	                                                 |
//	        +------------------------ Pool ----------+-----------------------+
//	        | net | gw | used | used | first free | ....... free ... | bcast |
//	        +---------------------------^------------------------------------+
//	                                  Next()      Take(a)   Release(a)
//
// An address pool hands out the lowest free address, as Docker's bridge does:
// the first container of 172.17.0.0/16 is 172.17.0.2. The work is independent of
// the subnet's size (only used addresses are stored), so an IPv6 /64 or /8 is as
// cheap as an IPv4 /29.
//
// # What is never given away
//
// IPv4 subnets of /30 and shorter keep their network and broadcast address; IPv6
// subnets of /126 and shorter keep the subnet-router anycast address (RFC 4291,
// section 2.6.1). /31 (RFC 3021), /127 (RFC 6164), /32 and /128 keep nothing. The
// gateway, auxiliary addresses and the ranges that somebody else gives away are
// reserved for the pool's lifetime.
//
// # Lifetime
//
// A Pool is plain memory; it is dropped with its network. Nothing is to close.
//
// # Concurrency
//
// A Pool has no lock: its owner (the engine) calls it under its own.
package ipam
