// Package kernelsplice joins two TCP sockets of this machine's kernel, whose bytes
// it moves without looking at them.
//
//	           few bytes:  recv(MSG_PEEK) --> buffer --> send, and recv(MSG_TRUNC) of what was taken
//	 Socket  =======================================================================  Socket
//	(client)   many bytes: splice --> pipe --> splice: no byte is copied             (inside a
//	                                                                                 container)
//
// A direction begins with the first way, which needs no pipe, and goes over to the second
// when more is there than the buffer holds. Bytes that the other side does not take
// stay in the socket that they came by; only those that are in a pipe already wait there.
// A direction that waits for its source holds neither buffer nor pipe. Where no
// pipe is left (Pipes bounds them) the first way does for all.
//
// Which end of a splice is an end of data only recv tells: splice says 0, or EAGAIN for
// ever, before a byte of urgent data, which comes in line here as any other.
//
// End of data in one direction closes that direction only (half-close). A reset on one side
// becomes one on the other. Who has ended one direction is watched for a hang-up until
// the other has ended, too.
//
// Both sockets are to come with nowait.ResetOnClose, so that what the end of this process cuts does not look whole;
// Relay takes it back from the one outside the container when its outgoing direction ends.
//
// # Sockets that are used again
//
// A Socket inside a container is bound to the container's own address and to a port, and
// keeps both while it lives: connections one after the other come from the same port.
// The kernel allows that at once to the side that has closed first (a socket bound to
// a port may take its own TIME-WAIT over, where timestamps are on), while it would look for
// a new port through thousands that wait, 6 ms at last, and find none after 28,232. The container's side, if it has closed
// first, takes a SYN in TIME-WAIT when its number or its timestamp is higher than what
// it has seen; Socket.Ready says from when on.
//
// # Lifetime
//
// Relay returns when both directions have ended, and closes nothing: the caller does, or
// disconnects a Socket to use it again.
//
// # Concurrency
//
// Relay uses two goroutines, one of them its caller's, which wait in Go's netpoller. They
// work when it is their container's turn (package turn), one piece of at most chunk bytes
// at a time. Pipes may be used from any goroutine; Pipes.mu is a leaf.
package kernelsplice
