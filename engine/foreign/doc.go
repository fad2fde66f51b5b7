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
// A namespace that is seen at no path of ours may be passed, open, by whoever has it
// (passed.go). It is found again by the processes in it, and by those that see its path.
//
// # Being gone
//
// Whoever is attached holds the namespace: by its handle, and by the queues of its
// interfaces. So the kernel cannot say when everybody else has left. What is watched is
// what was named: the process, by a descriptor of it; the path, by what the kernel tells of
// its links and directories (inotify) and of what is mounted on them (/proc/self/mountinfo).
// Nothing is looked at by the clock, but for what nobody tells of: twice a second a path of
// a file system that others change, and what is below /proc; every minute
// /proc/PID/ns/net, since the end of that process is told of.
// What cannot be told for the moment (no files, no permission any more) is not an end.
//
// What cannot be told may stay so: a path can lead into a file system that a container
// serves, by a program that never answers. Whatever follows a path that others named asks
// with patience, in a goroutine that is left behind (ask.go); and nobody's files are looked
// into who does not have the namespace mounted.
//
// At makes a Place for Await alone, of a namespace whose owner is nobody's concern here.
//
// # Beside it
//
// A runtime that asks for a bare interface in its own namespace moves it to one of its
// containers. Beside returns where that may be: the namespaces of the same owner.
//
// # Lifetime
//
// A Place is a value. Await opens descriptors of processes and closes them when it
// returns; Open returns namespaces that the caller closes. A question that is not answered
// lasts until it is, with its thread: one for each place, and maxAsked in all.
//
// # Concurrency
//
// Everything may be called at once. Await has a goroutine for each process and table of
// mounts that it watches, which ends with it. One goroutine of the process reads what
// inotify tells; notifier.mu guards who is to be told. asker.mu guards which questions are
// open; nothing is asked while either is held, but inotify of file systems of this machine.
package foreign
