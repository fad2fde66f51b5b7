// Package nsexec starts this very program once more inside a foreign user and
// network namespace.
//
// setns(2) into a user namespace is refused to a process with more than one
// thread, and a Go program always has several. So the way in is between fork
// and exec, where the child has exactly one:
//
//	daemon (many threads)
//	   |  clone                      the child is a copy with one thread
//	   +--> setns(user)              all capabilities, in there only
//	        setns(net)
//	        capset, ambient          keep CAP_NET_ADMIN alone across exec
//	        close_range, unshare     a table of the few descriptors that it needs
//	        dup3 socket -> 3         everything else is close-on-exec
//	        execveat(self, argv[0])  a fresh Go program, in the namespaces
//	             |
//	             +--> talks on fd 3 and exits
//
// Between clone and execveat the child may only make raw system calls: any lock may
// be held by a thread that it has not. A failing step writes its number and errno to
// a close-on-exec pipe; the pipe's end without a word is success.
//
// The child borrows the daemon's memory (CLONE_VM and CLONE_VFORK) as os/exec's
// does. Copying it costs 60 ms for a heap of 64 MiB and stops the data path at every page
// that is written next; borrowing takes a few lines of assembly, because child and
// parent return from clone on one stack. Meanwhile that memory is not dumpable, so
// that nobody in the container's user namespace can trace the child and thereby
// the daemon.
//
// It shares the daemon's descriptors as well (CLONE_FILES), and then takes a table of its own with those that have the
// lowest numbers: the daemon has seven for each container, and copying and closing them all took longer with each. See
// keptFiles.
//
// Sockets is the same without a program: such a child goes on sharing the daemon's descriptors,
// makes sockets in the namespace and ends. They are the daemon's.
//
// Where a sandbox forbids one of these calls but allows nsenter(1), that program
// is used instead; Process.Method tells which way worked.
//
// The runtime's fork hooks are reached by linkname. The Go runtime keeps
// them reachable for exactly this use (runtime/proc.go).
//
// **Lifetime**: every process that Start made is reaped by a goroutine of its
// own, whether or not anybody calls Wait, and killed when its context ends.
//
// **Concurrency**: all functions may be called from any goroutine. Forking holds
// syscall.ForkLock, as os/exec does, so that no descriptor that is about to be
// marked close-on-exec slips into the child.
package nsexec
