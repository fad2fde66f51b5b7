// Command footbridge-cni is a CNI plugin: it gives the network namespaces of containers, of
// whichever runtime, footbridge's networks. It speaks versions 0.3.1 to 1.1.0 of the specification.
//
//	runtime (podman, nerdctl, cri-o, cnitool)
//	   |  CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME; configuration on stdin
//	   v
//	footbridge-cni    config.go, capabilities.go, arguments.go   what is asked for
//	   |              network.go    the network of that name, made where it is not there
//	   |              add.go        attach, or connect where another network was first
//	   |              delete.go     disconnect, detach, collect
//	   |              check.go      what is there is what was told
//	   |              result.go     interfaces, ips, routes, dns
//	   |              errors.go     the specification's codes
//	   |  API, the namespace passed as a descriptor
//	   v
//	footbridge daemon
//
// An attachment of CNI's is a container's endpoint of footbridge's: the network has the
// configuration's name, the container is called cni-CONTAINERID, and the interface CNI_IFNAME.
// The plugin keeps no state of its own. Addresses are the daemon's to give: there is no
// IPAM plugin.
//
// # Lifetime
//
// One request a process. What it has made the daemon keeps, over its restarts, until DEL or GC, or until
// the namespace is gone. A request that fails leaves nothing but the network, if that was
// made.
//
// # Concurrency
//
// None in here. Several at once are the daemon's to order; two ADDs of one container
// at the same time find each other.
package main
