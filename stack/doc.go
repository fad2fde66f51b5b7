// Package stack is the data plane of one network: the switch between its
// containers, the guard on each of its ports, and the gateway, a netstack of
// its own that leads out of it.
//
//	container A          container B
//	   |TAP                 |TAP
//	+--+----+            +--+----+  one reader per queue, in turns; guard: own
//	| Port  |            | Port  |  MAC and addresses, IPv4, IPv6 and ARP, and
//	+--+----+            +--+----+  what its PortOptions.Guard adds
//	   |  frame + virtio header |
//	+--+------------------------+--+
//	| Switch: MAC -> Port, known   |  ARP and neighbour solicitations are
//	| from the engine; stations    |  answered here; nothing unknown floods
//	| behind a Guard are learned   |
//	+--------------+---------------+
//	               | frames to the gateway's MAC; fragments: put together,
//	               | from a store that each port has for itself
//	+--------------+---------------+  UDP   -> Handlers.UDP (or ListenUDP)
//	| Gateway: netstack            |  echo  -> Handlers.Echo
//	|                              |  TCP   -> Handlers.TCP, through netstack
//	+------------------------------+  other -> netstack (ping of the gateway)
//
// Between containers a frame is read once and written once, with the header
// that its sender's kernel gave it: neither checksums nor segmentation are
// done by anyone. Two Networks share nothing, so nothing that happens in one
// can be seen in another. Only a [Crossing], where there is one, carries packets
// from networks to containers of those that are open to them.
//
// With Options.NoICC the way from port to port is closed but for exceptions
// (icc.go), and without a gateway's address there are only containers, and services
// for them (hidden.go).
//
// The one port of a network that has no other may have everybody behind it (Guard.Sole). Services
// may have an address of their own beside the gateway's (Options.Service4, Service6).
//
// Stations that ask to be configured, by DHCP or a router solicitation, are heard by
// the gateway alone, if a [Configurer] is there (configure.go).
//
// The package does not know who takes the flows to the outside, the names or
// the published ports: it gives flows to functions set by SetHandlers and
// ListenUDP, and takes frames by SendUDP, SendDatagrams, DialTCP and their kin.
//
// # What is dropped
//
// Each frame that is not passed on is counted at its port, by reason:
//
//	malformed            lengths, options or headers do not hold; discovery in
//	                     fragments (RFC 6980)
//	virtio_header        the virtio header does not fit the frame
//	too_big              longer than the network's MTU, and not to be segmented
//	source_mac           sent from another MAC than the port's
//	source_address       sent from an address that is not the port's
//	neighbor             ARP or neighbour discovery on behalf of others, router
//	                     advertisement, redirect, answer of a DHCP server
//	icmp_error           an ICMP error about packets between others
//	ethertype            neither IPv4, IPv6 nor ARP; any VLAN tag
//	no_ipv6              IPv6 on a network without
//	source_route         wants its receiver to send it on
//	destination          for a loopback, unspecified or IPv4-mapped address
//	fragments            a transport header cut apart; or, on the way to the
//	                     gateway, overlapping, over the port's quota, too late
//	unknown_destination  for a MAC or address that nobody has
//	multicast            a group that nobody here needs, or none in a frame for one
//	protocol             a protocol that the gateway does not carry
//	no_outside           for the outside, on a network that has no way there
//	paced                connections or claims above the port's rate, floods above all ports'
//	icc                  for another container, on a network that keeps them apart
//	flows                more flows to other networks than the port may have
//	device               the receiving device did not take it
//
// # Limits
//
// A container is given what others do not need at the moment, and bounded where they
// would feel it (pace.go, limits.go, floods.go): a reader's turn is 100 us; frames that are
// dropped are read at a limited rate; copies of frames for groups have a limit for all
// ports together, of which each has a part; connections, ICMP errors, fragments, learned
// stations and flows to other networks have limits of each port's own. Frames
// for a container that does not read wait in its kernel or are lost there
// (device); nothing here waits for it, and nothing is kept for it but what TCP's
// windows allow.
//
// # Lifetime
//
// The maker of a Network closes it, which closes its ports and their devices; a Port
// can be closed earlier, and its fragments, stations and flows to other networks go with it.
//
// # Concurrency
//
// Each queue of a device has one goroutine that reads a frame and carries it to its
// end (another device's write, a handler, netstack) before it reads the next, but for datagrams
// to the outside, which wait for those right behind them (gather.go). One
// goroutine a network ends turns. The tables that frames are looked up in are
// replaced, never changed, so that it takes no lock; Network.mu, exceptions.mu and
// Crossing.mu are held only to replace them, and never while waiting. Only ports with a Guard take
// stations.mu, only fragments their port's fragments.mu, and only packets that cross
// to or from an open network its crossed.mu; none is held while another is taken,
// nor during a write.
package stack
