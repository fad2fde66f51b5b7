// Package stack is the data plane of one network: the switch between its
// containers, the guard on each of its ports, and the gateway, a netstack of
// its own that leads out of it.
//
//	container A          container B
//	   |TAP                 |TAP
//	+--+----+            +--+----+
//	| Port  |            | Port  |  one reader per queue; guard: own MAC and
//	+--+----+            +--+----+  addresses only, known EtherTypes
//	   |  frame + virtio header |
//	+--+------------------------+--+
//	| Switch: MAC -> Port, known   |  ARP and neighbour solicitations are
//	| from the engine, not learned |  answered here; nothing unknown floods
//	+--------------+---------------+
//	               | frames to the gateway's MAC
//	+--------------+---------------+  UDP   -> Handlers.UDP (or ListenUDP)
//	| Gateway: netstack            |  echo  -> Handlers.Echo
//	|                              |  TCP   -> Handlers.TCP, through netstack
//	+------------------------------+  other -> netstack (ping, fragments)
//
// Between containers a frame is read once and written once, with the header
// that its sender's kernel gave it: neither checksums nor segmentation are
// done by anyone. Two Networks share nothing, so nothing that happens in one
// can be seen in another.
//
// The package does not know who takes the flows to the outside, the names or
// the published ports: it gives flows to functions set by SetHandlers and
// ListenUDP, and takes frames by SendUDP, DialTCP and their kin.
//
// Lifetime: the maker of a Network closes it, which closes its ports and
// their devices; a Port can be closed earlier. Concurrency: each queue of a
// device has one goroutine that reads a frame and carries it to its end
// (another device's write, a handler, netstack) before it reads the next.
// The tables it looks into are replaced, never changed, so that it takes no
// lock; Network.mu is held only to replace them, and never while waiting.
package stack
