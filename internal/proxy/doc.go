// Package proxy lets programs of this host connect to containers through a proxy that
// they know how to use: SOCKS version 5 and HTTP on one listener.
//
//	curl, browser, ssh          Server                        Options.Dial
//	  |  05 ...          +------------------+
//	  +----------------->| SOCKS5 (RFC 1928)|--+
//	  |  CONNECT web:80  +------------------+  |   host, port    +-----------+
//	  +----------------->| HTTP  CONNECT    |--+---------------->| container |
//	  |  GET http://web/ |       forwarding |--+                 +-----------+
//	  +----------------->+------------------+
//
// The first byte of a connection says which it is: SOCKS begins with its version. Names
// are never looked up here: they go to Dial as they came ("remote names", socks5h).
// With a token, clients give it as a password: RFC 1929 for SOCKS, basic
// authentication for HTTP; the user name has no meaning.
//
// A connection to a container that is cut, by its container or because the process is killed that carries it, is no
// end of data: [Joined] tells the two apart, and a client is reset by TCP. A client on a unix socket cannot be; neither
// can a cut be told when the client has ended its own direction before.
//
// Of SOCKS there is CONNECT only. UDP and listening are refused by the protocol's own
// codes.
//
// **Lifetime**: [Server.Serve] takes its listener over and returns when ctx has ended,
// after all connections have.
//
// **Concurrency**: each connection has a goroutine, and two while bytes are passed. No
// more than [MaxConnections] are open at once; others wait in the listener's backlog.
package proxy
