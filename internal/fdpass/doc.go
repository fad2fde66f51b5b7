// Package fdpass holds descriptors for others and passes them between processes.
//
//	one process                                    another
//	Handle (held, not used) --Conn.Send--> SCM_RIGHTS --Conn.Receive--> Handle --FD--> used
//
// An os.File that is not blocking belongs to the Go runtime's poller: whoever
// only holds it is woken by every frame and every client that somebody else
// is there for. A [Handle] is never given to the poller.
//
// # Lifetime
//
// A Handle is closed by whoever has it. Send does not take its handles: the kernel
// duplicates them. Receive makes new ones, which are the caller's. All are
// close-on-exec.
//
// # Concurrency
//
// A Handle and a Conn may be used from many goroutines; one message is whole.
package fdpass
