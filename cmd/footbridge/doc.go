// Command footbridge gives containers Docker's networks without root.
//
// One binary wears several hats. The first word of its command line, or the
// name it was started under, says which:
//
//	footbridge run ...     a client: flags -> api types -> unix socket -> streams, exit code
//	      |
//	      | starts, if nobody answers (spawn.go)
//	      v
//	footbridge daemon      engine + api server, one per user (daemon*.go, lifetime.go)
//	      |     ^
//	      |     +-- becomes another version of itself (daemon_exchange.go)
//	      | re-executes itself
//	      v
//	footbridge-worker      what touches packets, in a sandbox        (engine/worker.Dispatch)
//	footbridge-shim/-init  a container's parent and its pid 1        (engine/shim.Dispatch)
//	slirp4netns            one namespace's way out, for those who start it (engine/slirp.Main)
//	footbridge-tap         the short visit to a container's namespace (tap.Dispatch)
//
//	footbridge oci-hook    a client that an OCI runtime runs (ocihook.go)
//	      |
//	      v
//	footbridge-usher       waits for the runtime's next hook        (ocihook_usher.go)
//
// A file holds the commands of one noun (run, exec, ps, network, doctor, daemon ...);
// the rest are their parts: flags that need a grammar of their own
// (networkflag.go, publishflag.go, envflag.go), output (table.go, template.go,
// ports.go), streams (stream.go, comeback.go, terminal.go, sigproxy.go,
// detachkeys.go) and the folders at run time (rundir.go).
//
// **Exit codes**: As Docker's: run and exec end with the command's own code; 125 when footbridge
// itself failed, 126 when the command could not be executed, 127 when it was not
// found. Other commands end with 1 on failure, flags that cannot be parsed with 125.
//
// **Lifetime**: A client lives as long as its command. The daemon is started by the first
// command that needs it, detached from the terminal, and ends by itself when no
// container has run and no request was under way for a while. Containers do not
// depend on either: their shims hold them, and the next daemon finds them again.
// What the daemon has open for them (interfaces, listeners) and its own lock and
// socket are in a store of descriptors (internal/fdstore): the program that takes its
// place has them from there, and so has the next daemon under systemd.
//
// **Concurrency**: Commands are sequential, except around streams: one goroutine copies input,
// one copies output, one forwards signals, one follows the terminal's size.
// Only the copying of output is waited for. The daemon's goroutines belong to
// the packages that it puts together; of its own it has the idle timer
// (lifetime.go), which takes no lock but its own.
package main
