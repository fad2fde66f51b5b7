// Package worker keeps what touches packets in a process of its own: sandboxed,
// without definitions, files or namespaces, and replaced within milliseconds when
// it dies.
//
//	keeper: footbridge daemon                                worker: footbridge-worker
//	+------------------------------------------+             +--------------------------+
//	| engine                                   |             | sandbox: no capabilities,|
//	|   |  Plane, Port, Listener (plane.go)    |             | no files, no exec        |
//	|   v                                      |   put,      |                          |
//	| Supervisor: facts, each with the         |   drop,     | server: one plane.Plane  |
//	|   descriptors that belong to it          |   stats     | a network, its zones of  |
//	|   plane, names, client, port, serve ...  |------------>| names, its ports and     |
//	|   |                                      |  messages + | listeners                |
//	|   v                                      | descriptors |                          |
//	| tap.Attach, portfwd.Registry, fd store   |<------------|                          |
//	+------------------------------------------+   replies   +--------------------------+
//	      makes interfaces, binds ports,                        reads and writes TAPs,
//	      holds both, uses neither                              accepts, connects
//
// What the worker is to do is a set of facts: "this network is", "this port of its
// switch has this TAP", "this listener leads there". A fact is put or dropped, and a
// new worker gets all of them in an order in which each finds what it needs
// (wire.go). So there is one way to bring a worker up, whether the daemon starts, the
// worker was killed or the program was exchanged. Only a connection that somebody on the
// host has asked for (Plane.Join) is no fact: it is handed over once.
//
// An interface need not be made here: Plug takes one that is there. Without a runtime folder
// the lock is in memory: package slirp has a Supervisor for one network, and no daemon.
//
// What the worker cannot do itself, making sockets inside containers, the keeper does
// when the worker has rung a bell (stock.go): for whom, and how many, it is asked.
//
// # What a death costs
//
// Frames between containers wait in the TAPs and connections in the backlogs of the
// listeners, which the keeper holds open: connections between containers go on.
// Connections through the gateway end, since their state was in the worker; the other
// ends get a reset from the next one. While there is no worker nothing is carried:
// nothing is open that is not open otherwise.
//
// # Trust
//
// The worker is taken for what a container may have made of it. It is only
// asked: its replies are bounded in size and time, each (wire.go) and all together
// (patience.go), and nothing but counters, texts and wishes for sockets (stock.go) is taken from them. Descriptors in
// them are closed in a way that cannot wait. What it writes comes by a pipe and is
// bounded (output.go). What it does to the sockets that it shares with the keeper is
// undone before the next worker gets them (restart.go). A worker that does not answer is
// killed, and one that is left from an earlier daemon, too, with or without its lock.
//
// # Lifetime
//
// New makes a Supervisor that only notes what is asked for; Release starts the
// worker with all of it and ends the worker of the program before, if there is one.
// The worker ends when its socket does, so it never outlives the keeper; a lock
// (lock.go) makes sure of that before another one gets the same TAPs. HandOver leaves
// worker and descriptors to the program that is executed next.
//
// # Memory
//
// When a burst is over the worker gives the machine back what it needed (calm.go), within seconds, and
// without a clock that ticks while there is no traffic.
//
// # Concurrency
//
// Supervisor.mu is held over a request and its reply, and while a worker is brought
// up: facts reach the worker in the order in which they were put. It is a leaf but
// for the fd store's lock. One goroutine a worker waits for its end. In the worker one
// goroutine serves requests; what packets look up has locks of its own.
package worker
