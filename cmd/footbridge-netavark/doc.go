// Command footbridge-netavark is podman's way to footbridge: a driver plugin of netavark,
// and the port forwarder that rootless podman starts. Which of them it is follows from
// the name that it is called by.
//
//	podman network create --driver footbridge n
//	  '-- DIR/footbridge create                     subnets, gateways; asks whether it can be
//	podman run --network n ...
//	  '-- netavark setup                            in podman's namespaces
//	        '-- DIR/footbridge setup NETNS  ------> daemon: network, attach or connect
//	  '-- rootlessport   (rootless, with -p) -----> daemon: publish
//	        '-- podman's own, where the container is not on a network of footbridge's
//	the container ends
//	  '-- netavark teardown
//	        '-- DIR/footbridge teardown NETNS ----> daemon: detach or disconnect, network rm
//
// DIR is one of netavark_plugin_dirs in containers.conf, rootlessport is in one of
// helper_binaries_dir, before podman's own.
//
// # Who has what
//
// podman keeps the definitions of networks and gives addresses. A network of footbridge's
// has the name of podman's, and is there while a container is on it: the first setup
// makes it, the last teardown removes it. So there is nothing left of a network that
// podman removes, though plugins are not told of that.
//
// One attached namespace stands for one container of podman's. What is whose is in
// labels (see package netavark), not in names.
//
// Of a rootless container rootlessport publishes the ports: podman starts it in any case,
// and with podman's own a port that setup published would be taken. Of others setup does.
// It serves podman's containers on networks of the CNI plugin, too.
//
// # Lifetime
//
// A plugin's command ends when it has answered; what failed left nothing behind. The port
// forwarder lives as long as the container: podman holds the other end of its pipe.
//
// # Concurrency
//
// podman serialises its calls for one user, but not for two of its storages. A network
// may go between being looked at and being used; then it is made once more.
package main
