// Package shim makes and holds container processes, without privileges and without a root file
// system: a container sees the host's files, through namespaces of its own.
//
//	engine (the daemon)                                   host's namespaces
//	  |  Create: Spec over an inherited socket; later, and after a restart: Connect, <Dir>/s
//	  v
//	footbridge-shim    session and process of its own; holds pipes or terminal, writes the log and
//	  |  ^             exit.json; outlives the daemon
//	  |  | one socket: setup, launch (with the streams' files), signal; ready, launched, exited
//	==|==|=====================================  new user, mount, pid, UTS, IPC and network namespaces
//	  v  |
//	footbridge-init    pid 1: mounts, forwards signals, reaps; all capabilities, never those of the host
//	  |
//	  +-- launcher --execve--> the command     capabilities bounded as Docker's, a session of its own
//	  +-- launcher --execve--> an exec         forked in place, so no namespace is entered from outside
//
// All of them are the one binary, told apart by argv[0] in Dispatch.
//
// # Ids
//
// The caller is uid 0 of the container. Usually nobody else is mapped and setgroups is denied. With
// UserNS "auto" the set-uid programs newuidmap and newgidmap map the caller's subordinate ranges to 1
// and up; pid 1 waits for them and executes itself anew, which is when the kernel hands out capabilities.
// A container that joins a network joins the user namespace that owns it, because the network could
// not be entered otherwise, and shares its ids.
//
// # What holds a container
//
//   - Its command and execs never have CAP_SYS_ADMIN or CAP_NET_ADMIN unless asked for: they cannot take
//     a mask (Spec.Mask) off, nor change addresses and routes. In a user namespace made inside, the
//     mounts are locked by the kernel.
//   - pid 1 holds all capabilities of the user namespace. What holds fewer can neither trace it nor look
//     into its /proc entry. A privileged container can; it finds /dev/null and the socket to the shim.
//   - A container with CAP_SYS_ADMIN (privileged ones and execs have it) can take the masks off. Then it
//     reads and writes what lies below as it does any file of the user's, but its orders are refused: shim,
//     engine and API serve processes of their own user namespace only, and the engine speaks to a shim's
//     socket only if such a process listens there.
//   - The shim believes nothing that comes over that socket: messages are small, name processes that it
//     knows, and carry an exit code or one sentence. How the command ended is read from the kernel.
//   - /proc/sys is read-only, since a network namespace's settings are writable for its uid 0 without
//     any capability. Sysctls of the Spec are set before that, at Start, when the interfaces are there.
//   - Nothing here hides the rest of the host's files: the container is the caller, also towards what
//     listens on unix sockets in the file system. Masks are for that.
//
// # Exit codes
//
// The command's own; 128+n when signal n ended it. When it cannot be executed, Docker's: 127 when it,
// its interpreter or the working directory does not exist (Docker makes a missing working directory in
// the container's file system; here that would be the host's), 126 when it exists but cannot be executed or
// entered, 128 for other reasons. The engine says 125 when Create fails.
//
// # Output
//
// Every chunk is logged first, then written to the attached clients' pipes. A pipe holds 1 MiB where the
// kernel grants it; a client that lets its full pipe wait longer than its patience (10 s unless it asks
// for another) is cut off, so a dead client costs the container one pause. Docker waits for ever there;
// dropping at once would damage the output of every pipeline slower than its container.
//
// # Lifetime
//
// Whoever dies, what is below it is right: the daemon killed leaves shim and container running, and the
// command's input open for who attaches next; the shim
// killed closes pid 1's socket, and pid 1 ends, and with it its pid namespace; pid 1 killed ends the
// namespace, and the shim writes exit.json. The shim goes when the engine calls Ack, or when the
// container has ended and nobody was connected for three seconds. A service manager must not kill the
// daemon's whole control group (systemd: KillMode=process).
//
// The caller closes what it got: Shim by Close (the container runs on), Stream by Close (detaches).
//
// # Concurrency
//
// Engine side: one goroutine per Shim waits for the end, until then or Close, and one per created shim
// reaps it; every request has a connection of its own. In the shim: one goroutine per connection, one that waits
// for pid 1, one that reads its messages, one per output stream. server.mu guards the table of processes
// and is never held while waiting; output.mu its list of clients. They are taken in that order. In pid 1:
// initServer.mu spans fork and entry of the child, so that the reaper knows whom it reaps, and is taken
// before initServer.write.
package shim
