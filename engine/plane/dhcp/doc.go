// Package dhcp decides what a network tells stations that ask it for their
// configuration: DHCPv4 (RFC 2131), DHCPv6 (RFC 8415) and router advertisements
// (RFC 4861, 8106). It is bytes in and bytes out: it has no socket, no clock but
// time.Now, and no goroutine.
//
//	        Endpoints: MAC, addresses, host name            Pool4, Pool6
//	                    | Add, Remove                            |
//	                    v                                        v
//	Question ---> +-------------------------------------------------------+
//	 from the     | Server                                                |
//	 endpoint's   |   own MAC ------> the endpoint's address, no other    |---> Answer,
//	 own MAC, or  |   another's ----> a lease from the pool, if nested    |     or nothing
//	 from one     |   a router's ---> flags that lead to the same         |
//	 behind it    +-------------------------------------------------------+
//	                    | Free, Lend, TakeBack
//	                    v
//	              Stations: what the switch knows of those behind the endpoint
//
// # Own addresses
//
// An endpoint's kernel that asks gets the address that the engine has given the
// endpoint, whatever it asks for: a REQUEST for another is refused (NAK, NotOnLink,
// lifetimes of 0). So what a container has by DHCP is what the guard lets it send from,
// what its names lead to, and what inspect shows.
//
// # Leases
//
// Stations of other MACs are there only behind an endpoint of nested stations. They get
// addresses of the network's range, which the engine gives to no container. A lease
// belongs to a MAC behind an endpoint. Where it starts to look for a free one follows
// from the MAC, so most get their address again from a server that knows nothing any
// more, also without asking for it; who asks for the one it had gets it if it is free.
// An endpoint has as many leases as there are addresses left for others at most, and
// maxLeases.
//
// The one endpoint of a network that has no other may be lent its own address, too, and all of
// the range is for it and those behind it (Endpoint.Lends). A range need not be a prefix.
//
// # Router advertisements
//
// They differ by endpoint: each is sent to one port only. Stateless configuration (A) is
// asked for where what it leads to is what the guard lets through: the endpoint's own
// address is the one that follows from its MAC, or there are stations of any address
// behind it. Where it is not, and there is DHCPv6, the advertisement says so (M).
//
// # Lifetime
//
// A Server is plain memory. Leases of an endpoint go with it; leases that have run out go
// when others are asked for.
//
// # Concurrency
//
// A Server may be used by any goroutine: one lock for all of it, which is a leaf but for
// the locks of the Stations that a question brings with it.
package dhcp
