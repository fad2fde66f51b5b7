// Package busypoll looks for the next packet for a moment before the process sleeps.
//
//	a reader finds nothing: Waiting()              the process
//	          |                                    |
//	          v                                    v
//	   asks the poller again and again --nothing for 120 us-->  sleeps in the poller
//	          |                                    ^
//	     something is there --- its reader runs ---'
//
// A request and its answer are a fraction of a millisecond apart, and between them a
// process that only carries has nothing to do. To sleep and to be woken costs it, on a
// virtual machine more than all it does with the packet, and its packet waits
// meanwhile. The Go runtime has no word for this, so the descriptor of its poller
// (epoll(7)) is looked for at the start; that it is readable means that a goroutine is
// to be woken. What then happens is the runtime's own: this package only keeps it
// from sleeping.
//
// A UDP socket's poller is told, too, when what it has sent has been received. Who sends says so
// ([Sent]), and what looks like a packet then is not taken for one: the runtime is let have a round of its
// poller, and the looking goes on.
//
// Where looking was in vain, the next times it is not done, up to [mostSkipped] of them:
// who is asked something every few milliseconds sleeps in between, as does who is asked nothing. Nor is it
// done between the pieces of a lot, for which sender and receiver need the processors.
//
// # Lifetime
//
// Start once, before anything takes /proc away; it lasts as long as the process.
//
// # Concurrency
//
// One goroutine looks. Waiting may be called from anywhere, never waits, and does nothing
// before Start.
package busypoll
