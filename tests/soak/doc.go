// Command soak lets footbridge work for a while, with traffic of all kinds and with containers, networks and ports that
// come and go, and says whether it has kept anything that it should have let go.
//
//	set up --> warm up --> all removed: baseline --> set up --> traffic and churn, a sample every few seconds
//	                                    |                                                  |
//	                                    '---- descriptors, goroutines, files, processes -- all removed
//	                                          compared                 memory: its slope over the samples
//
// Memory must be flat, everything else must be back where it was, and nothing may have failed: no probe, no stream, no
// command. The machines of the world do nothing that would excuse it.
//
// What the daemon keeps on purpose is not waited for: a UDP mapping lasts up to two minutes without traffic, but goes
// with its container. So both measurements that are compared are taken without any container, of a daemon
// that has had the same ones.
//
// Exit status 1 says that something was kept or failed. The samples are written as CSV.
//
// # Lifetime
//
// One world, which ends with the program.
//
// # Concurrency
//
// Each kind of churn has a goroutine of its own, with its own source of chance; one more takes the samples.
package main
