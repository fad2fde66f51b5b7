// Package turn makes the goroutines of one container work one after the other.
//
//	flow 1 --Begin--+                                      +-- works, End
//	flow 2 --Begin--+--> one at a time, first come first --+
//	 ...            |                                      +-- 100 us are over: yield, then the next
//	flow n --Begin--+
//
// Each flow of a container has goroutines of its own, and whoever has more
// goroutines gets more of the processor: a container with a thousand flows that are
// all busy, or with a thousand that begin at once, would have a thousand turns where
// its neighbour has one. Here it has one as well. And it gives way: a goroutine that
// others of the same container wait for may not hand its turn straight on, or Go's
// scheduler would always find one of them ready and ask its network poller, which
// knows of everybody else's devices and sockets, only every 10 ms.
//
// # Lifetime
//
// A [Turn] is a lock and needs no closing.
//
// # Concurrency
//
// Between Begin and End nothing may be waited for that needs somebody else's turn.
// Whoever waits does it before Begin, or after End.
package turn
