// Command bench measures footbridge beside what it stands in for, in one run and in one world, so that the figures can
// be compared: absolute ones wander by machine and hour, their ratios hardly.
//
//	for each round: for each row: each system in turn --> samples --> report --> JSON, Markdown, SVG
//	                                                      medians, ratios of pairs, verdicts (targets.go)
//
//	row      a path of data, an MTU, a load; what is measured (rows*.go)
//	system   footbridge or a peer: makes containers that have an interface, servers, perhaps a published port (systems*.go)
//
//	            containers                         host                    client
//	+---------------------------------+    +--------------------+    +----------------+
//	| 0 ----> 1    iperf3 -s, probe   |--->| iperf3 -s, probe   |    |                |
//	|   <->        (container <->     |<---| (container -> host,|    |                |
//	| 3 <---- 2     container)        |    |  host -> container)|    |                |
//	|                                 |<==============published port==|                |
//	|                                 |<===| and on the loopback|    |                |
//	+---------------------------------+    +--------------------+    +----------------+
//
// iperf3 measures bulk and datagrams, package probe what is small: the same two programs at both ends of every path. A
// system that is not installed is said to be absent, one that has nothing for a row has a dash there, one that fails is
// reported with its error; the others go on. The exit status is 1 where footbridge has failed; what
// peers cannot do is for others to mend.
//
// # What is the same for all
//
// Congestion control is CUBIC at both ends and in the sockets that systems open for themselves: the routes of all namespaces
// choose it, which needs nobody's permission outside of the world. Containers are entered in the same way (nsenter), whoever
// made them. The processors' time is the whole machine's (proc.go).
//
// # Pairs
//
// A ratio is that of two measurements of the same row in the same round, some seconds apart; a row's ratio is the median of its
// rounds'. The best peer is the one with the best median. Not compared with is what is not the same: a published port
// that hides the client's address where the others show it.
//
// # Processes
//
// The driver, as world.Main starts it again, is an ordinary user, who cannot write where the caller wants the results.
// So it leaves its report in an open file, and the first process turns that into tables (and other reports with it:
// -from puts the pieces of a long run together).
//
// # Lifetime
//
// Containers, namespaces and processes of systems are made when the first row needs them, and live as long as the world, which
// ends with the program.
//
// # Concurrency
//
// Never two measurements at once.
package main
