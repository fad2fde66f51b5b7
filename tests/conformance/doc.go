// Command conformance puts the same command lines to Docker and to footbridge, each in a world of its own (see package
// world), and prints a table: scenario, same or different, and for known differences the reason.
//
//	driver (this process, root)
//	  |-- world of root's:   dockerd in it, asked by the docker command
//	  |-- net/rpc on a pipe
//	  '-- footbridge's side = this program again, as an unprivileged user
//	        '-- world of the user's: footbridge in it, asked by the docker command, and by its own
//
//	scenarios/*.txt --> steps --> docker:     exit status, output, errors --+
//	                         \--> footbridge: exit status, output, errors --+--> normalised --> differences
//	                          (through docker's command, and through its own)        |
//	                                                           differences.txt ------+--> same | reason | DIFFERENT
//
// Both worlds have the same addresses, clients, servers and names, and containers on both sides run the same busybox,
// so that what a step prints can be compared as it stands. What differs from run to run (ids, times, process ids, ports
// that the kernel chose) is replaced by what it is. Steps marked json are compared value by value: names of fields, their
// types, null and empty are told apart.
//
// Every difference is either listed in differences.txt with a sentence that says why, or the run fails; a listed one that
// is seen no more fails it as well. A line may be for old or new versions of Docker only: DOCKERD names another dockerd
// than the installed one, whose folder is searched first for what it needs (runc, docker-proxy).
//
// # Lifetime
//
// Both worlds end with the program, and with them dockerd and every container of either side.
//
// # Concurrency
//
// Scenarios run one after the other; the two sides of one scenario run beside each other, since they share nothing.
package main
