// Package sandbox takes everything from a process that it does not need for
// carrying packets, before it sees the first byte of a container.
//
//	start: files read, runtime up              after Enter
//	+------------------------+     +-----------------------------------------------+
//	| any system call        |     | no_new_privs      exec gives nothing          |
//	| the user's files       |---->| no capabilities   also for root               |
//	| the user's processes   |Enter| not dumpable      no core, no ptrace, no mem  |
//	|                        |     | Landlock          no path, no TCP port to     |
//	|                        |     |                   bind, no abstract socket,   |
//	|                        |     |                   no signal to others         |
//	|                        |     | seccomp           calls of the list (table.go)|
//	|                        |     |                   and nothing else: SIGSYS    |
//	+------------------------+     +-----------------------------------------------+
//	                                 descriptors that it has or is sent work on
//
// There are two walls behind each other. The seccomp list (list) has no call that
// takes a path, makes a process or reaches one, and its arguments are looked at where
// one call does several things. Landlock holds for whoever finds a way around that, as
// far as the kernel has it. What is left to an intruder: the descriptors that the
// process was given, TCP, UDP and ping from the user's address, and its own memory.
//
// # How the list was made
//
// From what the data path calls (tap.Queue, internal/splice, forwarder, portfwd, dns,
// internal/fdpass) and what the Go 1.26 runtime's Linux files call after the start,
// then compared with strace -f of the tests of stack, forwarder, portfwd, dns,
// internal/splice and engine/plane: TCP, UDP, ping, traceroute, DNS and published
// ports through real namespaces. What only tests and the control plane do is not on
// it: openat, listen, netlink, namespaces, children. A call that is missing
// shows as a death by SIGSYS, which [Explain] names: add a row with its reason, or
// better do it before Enter or in the keeper.
//
// # Libraries
//
// github.com/landlock-lsm/go-landlock makes the Landlock part, psx (of libcap) carries
// a call to all threads with and without cgo. The filter is made here with
// golang.org/x/net/bpf: the list wants several values of an argument under a mask and
// an errno of its own per row, which github.com/elastic/go-seccomp-bpf has no words
// for, and what remains is a page of code (filter.go).
//
// # Lifetime
//
// Enter once, early; there is no way back. Threads that are made later inherit
// everything.
//
// # Concurrency
//
// Enter works on all threads there are, also those blocked in system calls. seccomp is
// set on them by the kernel at once (TSYNC); no other goroutine should start
// something that Enter forbids meanwhile. Read, Probe and Explain may be called from
// anywhere.
package sandbox
