// Package plugin is how the programs that runtimes start (CNI and netavark plugins, hooks)
// find the user's daemon.
//
//	user's own user namespace                 a runtime's (rootless podman, RootlessKit)
//	+------------------------------+          +-------------------------------------+
//	| runtime -> plugin -- Connect-+--start-->| runtime -> plugin -- Connect        |
//	|                       |      |          |                        |            |
//	|   footbridge daemon <-+------+----------+------ the socket ------+            |
//	+------------------------------+          +-------------------------------------+
//
// The socket is where the command line looks for it, below XDG_RUNTIME_DIR. Where no daemon
// answers, Connect has the command line start one: `footbridge` beside the plugin's own
// file, in the bin folder of the prefix that both are installed in, or in PATH. From inside
// a runtime's user namespace that cannot be done: a daemon would have that namespace's
// network for the outside, and end with it. The user's service manager, if there is one,
// does it then, from outside (outside.go).
//
// # Lifetime
//
// A client lives as long as the plugin. The daemon that was started goes on.
//
// # Concurrency
//
// No state; everything may be called at once.
package plugin
