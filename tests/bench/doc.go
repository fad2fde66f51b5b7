// Command bench measures footbridge beside what it stands in for, in one run and in one world, so that the figures can
// be compared: absolute ones wander by machine and hour, their ratios hardly.
//
//	for each round: for each row: each system, one after the other --> medians --> ratios
//
//	rows: container <-> container   footbridge | the kernel's veth and bridge between network namespaces
//	      container -> host         footbridge | slirp4netns
//	      host -> container         footbridge | slirp4netns, through a published port
//	      client -> container       footbridge | slirp4netns, through a published port, from another machine
//
// iperf3 is what measures: one TCP stream, CUBIC. Where the machine's default is another congestion control, the
// routes of the world's namespaces choose CUBIC, which needs nobody's permission outside of the world.
//
// # Lifetime
//
// Containers, namespaces and slirp4netns processes live as long as the world, which ends with the program.
//
// # Concurrency
//
// Never two measurements at once.
package main
