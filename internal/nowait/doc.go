// Package nowait makes system calls that never wait, without telling Go's scheduler.
//
//	          syscall.Syscall                      nowait
//	tell the scheduler: the processor       |
//	may be given away; wake its monitor     |
//	thread, which looks every 20 us         |
//	      the system call                   |   the system call
//	ask whether the processor is still ours |
//
// A process that relays single packets sleeps between any two of them. Then the
// scheduler's monitor thread sleeps, too, and is woken by the first system call after
// the poller's: a futex call on the way of each packet, and a thread that competes for
// the machine's processors. Measured: a fifth of the process's time, for one byte back
// and forth. What is known not to wait needs none of it.
//
// The price is that nobody else runs on this processor meanwhile, so these calls are for
// descriptors that do not block, and for what the kernel does in some microseconds: up
// to [Large] bytes. Larger ones go by the usual way.
//
// # Lifetime
//
// Nothing is kept.
//
// # Concurrency
//
// Everything may be called at once; whoever calls holds the descriptor open.
package nowait
