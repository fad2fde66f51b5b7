// Package foreign knows network namespaces that others made: where one is, whether it
// is the user's to be connected, whether it is still that one, and when it is gone.
//
//	 Wish: a pid, or a path              Place: on disk                 next daemon
//	+-----------------------+  Resolve  +----------------------+       +-----------+
//	| --pid 1234            |---------->| pid and its start,   |------>| Check     |
//	| --netns /run/netns/x  |  refusals | or path; boot,       | Open  | Open      |
//	|   [--userns PATH]     |           | inode, cookie        |------>|           |
//	+-----------------------+           +----------+-----------+       +-----------+
//	                                               | Await
//	                                               v
//	     the process has ended, or its number is another's; the path leads nowhere, or
//	     to another namespace; the holder of the lease has ended
//
// # Being the same
//
// A number of a process is given again, a path leads where it is made to lead, and the
// inode of a namespace is the next one's as soon as it is gone. So a process is known by
// its number and the moment of its start, a namespace by its inode as long as somebody
// here holds it, and else by its cookie, which the kernel never gives twice; and neither
// says anything after the next boot.
//
// # Being gone
//
// Whoever is attached holds the namespace: by its handle, and by the queues of its
// interfaces. So the kernel cannot say when everybody else has left. What is watched is
// what was named: the process, by a descriptor of it; the path, by looking where it leads
// twice a second, which works alike for a bind mount, a file below /proc, and a link.
// What cannot be told for the moment (no files, no permission any more) is not an end.
//
// # Lifetime
//
// A Place is a value. Await opens descriptors of processes and closes them when it
// returns; Open returns namespaces that the caller closes.
//
// # Concurrency
//
// Everything may be called at once. Await has a goroutine for each process that it
// watches, which ends with it.
package foreign
