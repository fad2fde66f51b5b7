// Command scale shows what becomes of footbridge when there is much of everything: containers, networks, flows, distance, noise. It
// prints a table of figures with the bounds that they must keep, and makes everything in a world (package world).
//
//	driver (this process)      rows: crowd, flows, burst, idle, path, cliff, streams
//	  | net/rpc, one unix socket per actor, in the run's own folder
//	  v
//	actor = this program again, as a process of
//	  +- a container:  streams, connections, questions, broadcasts
//	  +- the host:     its user; its administrator, who looks at processes and is the long way (see below)
//	  '- the client:   a remote machine
//
// A bound is a ratio within one run, or an amount that no machine's speed decides: bytes, descriptors, wake-ups, the worker's
// processor time for a unit of work. What compares two ways of doing the same does both in turns, and takes the median of the
// rounds' ratios; where that is under its bound there are more rounds, up to a limit, before it counts as broken. Rates and times
// decide in the full form only: the short one is for machines that others use, and tells them.
//
// "Alone" is a second daemon of the same user, with folders of its own and nothing but the pair that is measured. So what a
// crowd costs is measured while the crowd is there, on the same machine at the same moment, not before and after.
//
// What the starts of a crowd cost is compared within one run, the last with the first. On a virtual machine the first get memory that others
// have just left, and the last what its host has not given yet, which is ten times as dear: so they all get memory that was
// touched before (see Reserve). How much they take of it is a bound of its own.
//
// # Connections of all kinds
//
// Those to the host and to published ports cost the worker a descriptor each, of which all containers together may have a part
// (package share). So there are as many of each kind as that allows, until there are 20,000, and a tenth of these at least. Those
// between containers, which should cost the worker nothing, fill up. All are there at the same time:
//
//	open files a process   to the host   to published ports   between containers
//	524,288                     20,000                2,000                2,000
//	20,000                       5,900                7,900                6,200
//
// # The long way
//
// Delay and loss are made by an actor with two TUN devices, one on the host and one at the client, since not every kernel has
// sch_netem. A packet waits its delay in a queue, and is lost by a coin that is tossed for each connection by itself: the n-th
// packets of two connections meet the same fate, so what is compared meets the same path.
//
//	host 10.99.0.1 --TUN--> delay, loss --TUN--> 10.99.0.2 client
//
// # What is fair to expect beside a disturber
//
// Two processors are shared by everybody, so one that is busy takes time from all, with or without a network. Throughput beside a
// disturber is therefore compared with what is there while the same processes do the same to themselves, over their own loopback
// interface; and where the worker has to work for the disturber as well, with their even share of it (see rows_cliff.go).
//
// # Lifetime
//
// Each row has a world of its own, with which everything ends.
//
// # Concurrency
//
// One row after the other. In an actor each request has a goroutine of its own.
package main
