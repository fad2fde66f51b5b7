// Package slirp is footbridge under the name of slirp4netns: one process for one network
// namespace, started, owned and ended by a container engine, with that program's command
// line, addresses and API socket.
//
//	podman, buildah, RootlessKit                          the namespace
//	   |  argv, ready-fd, exit-fd                          10.0.2.100, or by DHCP
//	   v                                                     |
//	+-----------------------------------+                    |TAP: made here, made by the
//	| Main   Parse: the command line    |                    |caller before, or a descriptor
//	|        Plan:  the addresses       |                    |
//	|        runner: interface, worker,-+-- worker.Plane ----+-- 10.0.2.2 gateway, host's loopback
//	|                ends (ends.go)     |   (sandboxed)          10.0.2.3 names
//	|        server: add_hostfwd ...    |-- worker.Publish --> host's ports
//	+-----------------------------------+
//	   ^  API socket: one JSON request a connection
//
// There is no daemon behind it and nothing on disk: any number of such processes run at
// once, each with its own worker, its own 10.0.2.0/24 and its own end.
//
// # What is different
//
// Packets are carried by the sandboxed worker that all of footbridge's networks have, so
// --enable-sandbox and --enable-seccomp change nothing: there is no way without. What no
// container reaches through footbridge (link-local addresses, and with them metadata
// services; loopback but by the gateway) is not reached here either. Of libslirp and
// libseccomp, which are not there, --version says 0.0.0. The process ends when nobody can
// be found in its namespace any more, even without an exit-fd. What is at the path of the API
// socket makes way if it is a socket; a file, a folder or a link is refused, not removed.
//
// # Lifetime
//
// Main returns when the exit-fd hangs up, a signal comes, the interface is removed, or the
// namespace is left. A TAP that was made here goes with the process, however it ends; the
// worker ends when the process's socket to it does. The API socket's file is removed, but
// after SIGKILL.
//
// # Concurrency
//
// One goroutine waits for each thing that may be the end. API requests are answered one
// after the other: forwards.mu is held meanwhile. Parse, NewPlan and the API's codec are
// pure.
package slirp
