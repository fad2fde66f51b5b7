// Package splice joins a TCP connection of a network's netstack with one of
// the host, without copying payload in user space more often than the kernel
// makes necessary.
//
//	netstack endpoint                                    host socket
//	  receive queue --Peek--> view slices --writev(2)-->  send buffer
//	                <-------------discard n bytes
//	  send queue    <--Write(payloader)--read(2) into the view--  receive buffer
//
// The first direction looks at the queued views without removing them, hands
// their slices to one writev, and then discards what the kernel took: the
// slices stay valid because only a Read or the closing of the endpoint removes
// segments, and both are done here. Who closes the whole netstack ends its Pairs
// before; after a wait the queue is looked at anew nevertheless. The second asks
// how much there is (FIONREAD) and lets netstack read it from the socket straight
// into the memory of its outgoing segments, two at a time. Both work when it is their
// container's turn (package turn), and wait when it is not.
//
// End of data in one direction closes that direction only (half-close). A
// reset on one side becomes a reset on the other, never an end of data, also
// while the other side does not read: within a second then.
//
// Nor does the end of this process look like one by TCP, whatever ends it: the kernel resets a
// host socket whose outgoing direction has not been ended in order (nowait.ResetOnClose).
//
// A unix socket (portfwd.Forwarder.Join) knows no reset: it is closed, and whoever has the other
// end reads an end of data both times. An orderly end leaves the socket open until the other
// direction has ended too, which tells the two apart for those who have not ended theirs
// (proxy.Joined).
//
// Lifetime: a Pair owns both ends from New on; Run closes them before it
// returns, and waits until the container has taken what was left for it. Abort
// ends a running Pair early by resetting both ends.
//
// Concurrency: Run uses two goroutines, one of them its caller's, both waiting
// in Go's netpoller or on the endpoint's wait queue, never in a system call.
// Abort may be called from anywhere, any number of times. No locks are held
// while waiting, but for the turn, which waits for nobody's.
package splice
