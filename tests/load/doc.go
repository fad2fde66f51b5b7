// Package load makes traffic in a world and keeps account of it: which probe was answered when, which stream broke or
// stood still, what went wrong with a byte on its way.
//
//	the program --Hub, a unix socket in the run's folder--> an agent in each container, and on host, client, internet
//	                                                          |-- servers: echo and peer, TCP and UDP
//	     Report <--attempts, gaps, breaks, with times------   '-- jobs: streams, echoes, questions, forbidden probes
//
// An agent is an actor (see package actors): the program itself, started again; in a container it is the command that
// runs there. What a job saw is told even while no packet passes.
//
// All times are of CLOCK_MONOTONIC, which is one and the same for all processes of a machine: the moment in which one
// agent sends a signal compares with the moments in which the others' probes are answered.
//
// A Stage is a world with a daemon, networks and containers with agents in them; how much is lost by a fault is a
// question that Report answers.
//
// # Lifetime
//
// An agent ends when its control socket does, a job when it is stopped or with its agent. Close of a Stage ends its
// world and its hub.
//
// # Concurrency
//
// The methods of Hub, Agent and Stage may be called from many goroutines; an agent does one request at a time. Each
// job has a goroutine of its own and one for each attempt that waits; account.mu guards what they write down.
package load
