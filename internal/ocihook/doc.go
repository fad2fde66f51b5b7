// Package ocihook reads what an OCI runtime tells its hooks, and shows a container the files
// that say names.
//
//	runtime --stdin--> State   id, pid, bundle, annotations
//	                     |
//	    bundle/config.json --> Config    its root folder, namespaces, mounts, hooks
//	                     |
//	        com.footbridge.* --> Options: flag and values, in the order of names
//
//	MakePlace: in the runtime's mount namespace    ROOT/etc/NAME, an empty file if there is none
//	ShowFile: in the container's mount namespace, before its root is its own
//
//	    file --open_tree--> mount --move_mount--> ROOT/etc/NAME, or what it links to in ROOT
//
// What is read was written by whoever made the bundle: it is bounded, and names nothing that
// is opened but the bundle's own config.json and, within the root folder, /etc.
//
// Contract: https://github.com/opencontainers/runtime-spec/blob/main/runtime.md (State) and
// config.md (POSIX-platform Hooks).
//
// # Lifetime
//
// Everything is a value; what is mounted goes with the mount namespace.
//
// # Concurrency
//
// All functions may be called from any goroutine.
package ocihook
