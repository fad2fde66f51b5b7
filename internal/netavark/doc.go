// Package netavark translates between podman and footbridge: the JSON of netavark's
// driver plugins (API 1.0.0) and of podman's port forwarder on one side, the types of
// Docker's API on the other.
//
//	podman network create          podman run                     podman run -p, rootless
//	        |                          |                                 |
//	 create: Network            setup, teardown: Exec             rootlessport: PortConfig
//	        | Complete                 |                                 |
//	        v                          v                                 v
//	 Network with subnets       Network.Request -> networks/create  PortMap -> publish
//	 on podman's disk           Exec.Endpoint   -> attach, connect
//	                            Status          <- inspect
//
// podman keeps the definitions of networks and gives containers their addresses; a
// network of footbridge's stands for one of podman's as long as containers of it run.
// So everything that such a network is follows from podman's JSON, each time anew, and
// what is known of it is in labels.
//
// What podman asks for and footbridge has not is an error when the network is made, not
// a network that is something else.
//
// # Lifetime
//
// All of it are values; nothing is opened but podman's folder of networks, by Taken, and
// that is closed again.
//
// # Concurrency
//
// There is no state: everything may be called at once.
package netavark
