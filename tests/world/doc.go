// Package world builds a small internet in which a test can be an ordinary user of an ordinary machine.
//
// A world is one user, mount, pid and network namespace ("the host") with two more network namespaces behind
// it. It needs no root: the only id that exists in it is 1000, which is whoever started the test outside.
//
//	       client                      host                             internet
//	+------------------+     +--------------------------+     +-----------------------------+
//	| lan0             |     | lan               uplink |     | uplink0                     |
//	| 192.0.2.2     <----veth--> 192.0.2.1              |     |                             |
//	| 2001:db8:1::2    |     | 2001:db8:1::1            |     | 203.0.113.1  2001:db8:2::1  |
//	|                  |     |          203.0.113.2  <----veth-->                          |
//	| default route    |     |        2001:db8:2::2     |     | web   198.51.100.10         |
//	| through the host |     | default route            |     |       2001:db8:100::10      |
//	+------------------+     | through the internet     |     | names 198.51.100.53, .54    |
//	                         |                          |     | hole, refusing, unreachable |
//	                         | uid 1000, no capability  |     +-----------------------------+
//	                         +--------------------------+
//
// Commands of the host run as uid 1000 without any capability, exactly as a user's shell does on a real machine; so
// the program under test has to make do with what an unprivileged user may do. Commands of the client and of the
// internet run with the world's capabilities: they play machines that do not belong to the user.
//
//	the test --control sockets--> pid 1 (mounts, links, then only reaps)
//	                                |-- services: DNS, HTTP, TCP and UDP servers of the internet and of the host
//	                                |-- agent, holding the capabilities: starts commands in client and internet
//	                                '-- agent, an ordinary user: starts the commands of the host
//
// All of these are the test binary itself, started again under another name; Dispatch must therefore be the first
// thing that a program using this package calls. A test sets its stage in three lines:
//
//	w := world.New(t)
//	w.Footbridge("run", "-d", "--name", "c1", "sleep", "infinity")
//	w.Footbridge("run", "-d", "--name", "c2", "sleep", "infinity")
//
// Started by root, Main first puts the binary where everybody can read it and goes on as an unprivileged uid, so
// the same tests mean the same thing on every machine.
//
// # Lifetime
//
// A World lives until Close (New registers it as the test's cleanup). Pid 1 is killed when the thread that started
// it goes or when the control socket closes, and with pid 1 the kernel ends every process, mount, link and
// namespace of the world, whatever a test has left there. A killed test leaves nothing behind.
//
// # Concurrency
//
// All methods of World may be called from several goroutines; every command has a control socket of its own. In
// the agents, only threads locked to their goroutine change network namespace.
package world
