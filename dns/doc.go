// Package dns answers containers' questions about names: the names of one
// network's containers by itself, everything else by asking the host's own
// resolvers.
//
//	 container                     Server (one per network)
//	+---------+  UDP datagram  +---------------------------------+
//	| resolv. |--------------->| HandleDatagram   read question  |
//	| conf =  |  TCP stream    |                     |           |
//	| gateway |--------------->| ServeTCP         Zone (Names)   |
//	+---------+                |                  yes /   \ no   |
//	     ^                     |        answer inline   Upstream |
//	     |                     +---------|-----------------|-----+
//	     +-------------------------------+                 | verbatim, fresh id,
//	     +---------------------------------------------+   | fresh socket
//	                                                   |   v
//	                                    the host's resolvers (resolv.conf)
//
// # What is answered how
//
//   - A name that a [Zone] knows: A and AAAA from the zone, in random order;
//     any other type is an empty NOERROR. The upstream is never asked about such
//     a name, so no search domain or wildcard out there can take it over.
//     Conversely a container named like a host of the internet takes that name
//     over for its own network only.
//   - An alias of the container that asks ([Client].Aliases) comes before the zones,
//     and a name of the host ([Options].Hosts) after them, in the same way.
//   - A name of the hosts file of the container that asks ([Client].Hosts): A and AAAA from
//     there. Programs ask for the family that the file does not have, and would wait for a
//     server that may be silent.
//   - The address of a container: PTR from the zone. An address inside
//     [Options].Subnets that nobody has: NXDOMAIN, and the question stays here,
//     because whatever an outside server says about it is about other machines.
//   - Everything else goes to the [Upstream], single labels too, as Docker does
//     (a company's resolver may well know "intranet"). The same holds for an
//     unknown name below the network's own: networks may be named "example.com".
//   - On an internal network ([Options].Upstream nil) nothing goes anywhere, for
//     any type, over any transport: a forwarded name is a way out for data. The
//     answer is NXDOMAIN, not REFUSED or SERVFAIL: within that network it is the
//     truth, and it ends the client's search at once, where the other two make
//     libc retry the same question with each server and each timeout.
//   - Empty answers and NXDOMAIN of our own carry no SOA record. The SOA's one use
//     here would be to say how long they may be cached (RFC 2308), and they must
//     not be: a container of that name may start in the next moment.
//   - There is no cache: the host's resolver has one, and it is the one that the
//     administrator can look into and flush.
//
// The client tries names as they are before it adds search domains only if
// resolv.conf says so: whoever writes a container's resolv.conf puts
// "options ndots:0" there, or "db" is first asked as "db.corp.example".
//
// # Hostile input
//
// Containers are the enemy. Questions are read by a parser without allocation
// and without following compression pointers; what is to be forwarded is checked
// once more as a whole. What a container may use up is bounded, whatever its
// addresses, and all share what there is of a network and of the process's sockets
// ([Limits], [ClientLimits], package share): forwarded questions, connections, time
// per message. What is over a limit is refused before a goroutine or a socket is
// spent; a connection is reset, because one that is closed in order stays in memory
// until its container agrees. Less than a header, and responses, get no answer at all: two servers could
// otherwise be set to talk to each other.
//
// A Server, and an Upstream without a file, open no file and ask the kernel for no
// names of interfaces: they work in a sandbox. There, somebody outside follows the
// file and says what it says ([Upstream.SetConfig]).
//
// Upstream, every try has a socket of its own, connected (the kernel drops what
// comes from elsewhere), with a port that the kernel picks and a random id; a
// reply that doesn't repeat id and question is ignored.
//
// # Lifetime
//
// Whoever makes a [Server] closes it; Close ends its connections and exchanges
// and waits for them. [Server.ServeTCP] closes the listener it was given. An
// [Upstream] may serve many networks and is closed after them. [Names] needs no
// closing.
//
// # Concurrency
//
// Everything exported may be used from any goroutine. HandleDatagram answers
// for containers on the caller's goroutine and starts one goroutine for each
// forwarded question; a TCP connection has one goroutine, and one more for each
// question it has forwarded; those of one container work one after the other
// (package turn). An Upstream that follows a file has one goroutine,
// asleep until the kernel reports a change. Locks are leaves: none is held while
// another one is taken, except that subscribers are called, one at a time, under
// the Upstream's reload lock.
package dns
