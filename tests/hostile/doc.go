// Command hostile attacks footbridge from inside, with containers that do what no honest one does, and prints a table:
// attack, times tried, what was let in, what it did to the neighbours. It makes a world (see package world), so no
// machine but the one it runs on is ever touched.
//
//	driver (this process)         rows: spoofing, lies, isolation, options, names, control plane, exhaustion
//	  | net/rpc, one unix socket per actor, in the run's own folder
//	  v
//	actor = this program again, as a process of
//	  +- a container:  mallory (attacks), alice and bob (her neighbours), carol (another network), ...
//	  +- the host:     its user, and its administrator, who may listen on its interfaces
//	  '- the internet: what comes out of the host
//
//	mallory: AF_PACKET, with virtio headers; a TAP and a bridge of her own; tries at a second queue of footbridge's TAP
//	others : AF_PACKET to see what arrives, probes to feel what has become slower
//
// A hostile frame carries a mark, by which whoever sees it knows it again. A row ends with a good frame from the same
// container, which must arrive: so that nothing came is known to mean that nothing was let in. Rows of the last group
// compare what a neighbour measures beside an attacker who floods herself with what she measures during the attack, in turns.
// Who answers the measurements is no attack's target: else a row would show how busy a server of the test's is. The full form
// judges by 99th percentiles, the short one by medians (see fullForm and shortForm).
//
// # Lifetime
//
// The world ends with the program, and with it every container, process and file of a run.
//
// # Concurrency
//
// One row after the other: they share their victims. In an actor each request has its own goroutine.
package main
