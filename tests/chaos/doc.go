// Command chaos breaks things while they are in use and says what was lost: a table with a row for each fault, how often
// it was tried, what was lost (nothing is wanted) and how long it took until everything worked again.
//
//	usual traffic (package load) --> look --> the fault, at a known moment --> probes every few ms say what works again
//	                                  |                                                     |
//	                                  '--- the same containers, addresses, ports, <---------'
//	                                       processes, files, interfaces, descriptors?
//
// What counts as lost, whatever the fault is:
//
//   - a probe that works again too late, or works again and then fails;
//   - a TCP connection between two containers that live, if it breaks or reads a byte that nobody wrote;
//   - a TCP connection to the outside that neither goes on nor ends with an error;
//   - a client whose address the server does not see as it is;
//   - a door that is closed and lets somebody in, at any moment, also while nothing works;
//   - a definition, an address, a name or a mapping that is another one afterwards;
//   - a process, file, interface, listener or descriptor that is left.
//
// Exit status 1 says that something was lost.
//
// # Lifetime
//
// One world for all faults; those that change the machine put it back. The world ends with the program.
//
// # Concurrency
//
// One fault at a time. The traffic is made by other processes.
package main
