// Package engine decides which networks and containers exist, keeps that on
// disk, and makes it so. It is the only package that knows all the others.
//
//	 api.Server                                                  state.db (store)
//	     |  api.Backend                                               ^
//	     v                                                            |
//	+---------------------------- Engine ---------------------------------------+
//	| definition.go   what was asked for, what it came to      NetworkDef,      |
//	|                                                          ContainerDef     |
//	| network_*.go    subnets (ipam, routes.go), options, lists                 |
//	| config.go, predefined.go   what the user has settled for all networks     |
//	| create.go, check.go, text.go   what is refused, in Docker's words         |
//	| limits.go       quotas of an endpoint, and what it may carry besides      |
//	| start.go        reserve -> files -> processes -> endpoints -> ports -> go |
//	| stop.go         the way back, whatever the way there had reached          |
//	| endpoint.go     addresses, interface, names of one endpoint               |
//	| connect.go      networks of a container that runs                         |
//	| foreign*.go     namespaces that others made, attached and detached        |
//	| ports.go, publishing.go   published ports, and their changes (publish)    |
//	| policy.go       closed ranges                                             |
//	| files.go hosts.go   /etc/resolv.conf, hosts, hostname                     |
//	| links.go        --link: names and environment                             |
//	| link_policy.go  what links open where containers are kept apart           |
//	| attach.go exec.go logs.go   streams              events.go  who did what  |
//	| reconcile.go, takeover.go   what has survived the last daemon             |
//	| late.go flaws.go   who has not answered yet, and what is lacking          |
//	| adopt.go claim.go  records and folders that do not fit what lives         |
//	| registry.go     containers by name and by link                            |
//	+------+----------------------+-----------------------------------+---------+
//	       | Runtime, Process,    | Plane, Port, Listener             | dns
//	       | Places               |                                   |
//	       v                      v                                   v
//	   engine/shim, foreign   engine/worker: a process with       dns.Upstream:
//	                          engine/plane; tap, portfwd          resolv.conf
//
// What is below is reached through the small interfaces of runtime.go, so that
// the tests of this package need neither namespaces nor packets.
//
// # A start and its undoing
//
// A start first reserves, under the lock and without waiting: interface names,
// addresses, MACs. Then it does the slow work without the lock, so any number of
// containers start at once. The state is on disk before the command runs. Whatever
// fails, the same teardown undoes what there is, in the opposite order, and the
// addresses go last: nobody gets an address that something still answers to. The
// end of a container is the same teardown.
//
// # Namespaces that others made
//
// A container may be a network namespace of somebody else's processes: attached, not
// started. It is a Process of another kind (foreignprocess.go), whose end is that of the
// process or path it was named by; from then on it is removed, as if it had been run with
// --rm. Its files and processes are never touched, and in the namespace nothing but
// interfaces of ours, which its teardown removes one by one.
//
// # What is taken for dead
//
// Nothing is ended because it does not answer. A container has ended when its
// socket is refused or gone and its pid 1 does not run below its shim; every other
// error of asking (no files, no memory, no time, a full queue, a stranger at the
// socket) may pass. Until it does the container is shown as running, with its
// addresses kept, a warning in Status and in inspect's State.Error; it is asked
// again, and connected when it answers. That goes for containers with a record and
// without one alike, as long as the copy of their definition can be read. Stop and
// remove end such a container too: then somebody has asked for it.
//
// The same holds for parts: an interface, a published port that could not be made
// again after a restart is a flaw of the run, told of and tried again, with the
// same addresses and ports, as long as the container runs.
//
// # What the disk refuses
//
// A wish that cannot be written is not fulfilled: the error says so and nothing has
// changed. A fact (an end, an exit code) holds in memory, and is written as soon as
// the disk takes it.
//
// # Lifetime
//
// New takes the state file and takes over the containers that live; Close lets
// go of everything and ends none of them: their shims hold them, without a
// network, until the next New. A network's data plane exists while the network
// has endpoints.
//
// A container lives longer than what is known of it may last. So its runtime
// directory holds a copy of its definition, by which New knows it again when the
// state file was damaged or lost; what cannot be known again is told of and left
// alone. And runtime folder and state folder name each other, so that New refuses
// an environment in which the one does not belong to what lives in the other.
//
// # Concurrency
//
// Engine.mu guards the tables, the definitions and the address pools. It is held
// for moments: never over a system call that can wait, a disk or a peer. A
// container's op lock is held by whoever starts it, tears it down, removes it or
// changes its networks, for as long as that takes. Engine.netOp does the same for
// the making and removing of networks, netw.planeMu for one data plane's, netw.linkMu for
// what its links open.
//
// Order: ctr.op, then netOp, then netw.linkMu, then netw.planeMu, then Engine.mu; the broker's lock
// and those of the data plane are leaves. Each running container has one goroutine that
// waits for its end, each exec one more, and each flaw one that mends it. New waits
// a second for containers to be connected again, and leaves the rest to these: who
// asks for one of them waits for its op lock. Stop, kill and attach wait for ends by
// channels and hold no lock meanwhile.
package engine
