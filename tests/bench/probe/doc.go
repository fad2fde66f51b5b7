// Package probe measures small things: how long a round trip takes, how many there are in a second. It is the program
// that bench puts at both ends of a path, so that every path is measured by the same hand.
//
//	bench probe rr|crr|udprr|udpburst|dns|hold -to ADDR:PORT          bench probe serve -port P
//	   one thread for each of -parallel                                  one thread, epoll, TCP and UDP, both families
//	   write, read, write, read ...             <---- the path ---->     answers as many bytes as it is sent
//	   one JSON object when the time is over
//
// What the kinds do, and what one operation of each is:
//
//   - rr: one TCP connection for each of -parallel; a request of -size bytes and the answer.
//   - crr: connect, a request, its answer, close.
//   - udprr: a datagram and its echo; one that does not come back within lostAfter is an error.
//   - udpburst: datagrams of -size bytes, -rate of them in a second (0: as many as go), which the server counts. An
//     operation is one that arrived, an error one that did not; latencies are those of the send call.
//   - dns: questions for the IPv4 address of -name, -parallel of them under way on each of -sockets sockets.
//   - hold: opens -parallel connections from one thread, makes one round trip on each, prints, and holds them for -time.
//     Latencies are those of connect and round trip together.
//
// # Who closes first
//
// Who closes a TCP connection first keeps its ports for a minute (TIME-WAIT). With -close client, the other way round
// than by default, that is the client, and at 11,000 connections a second its 28,232 ephemeral ports for one
// destination are used up in less than three seconds; it then gets EADDRNOTAVAIL, and the run ends with these as errors.
// So the server closes first, as a web server without keep-alive does: the last byte of a request is closing, the server
// closes behind its answer, the client reads up to the end and closes then. The server's kernel takes a new connection
// over the remains of an old one with the same ports (its timestamps are newer). Nobody resets (SO_LINGER of 0): an
// ordinary close is part of what is measured.
//
// # What it costs itself
//
// A round trip of 30 us between containers is to be seen, so the measuring end must not add to it: threads that block in
// system calls, no netpoller, no timers, no memory made while time runs, latencies counted in fixed buckets (1.6 %
// wide). Calls are raw (raw.go): Go's scheduler does not know that such a thread waits, and has nothing to do for it.
//
// # Lifetime
//
// Main returns when the time is over or nothing goes any more; serve never does. Sockets close with what uses them.
//
// # Concurrency
//
// Each thread has sockets, buffers and a tally of its own; they are put together after the last has ended.
package probe
