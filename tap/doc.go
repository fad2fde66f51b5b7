// Package tap makes TAP devices with offloads inside the network namespaces of
// containers, and reads and writes their frames from outside.
//
//	daemon                                       container's namespaces
//	Attach --- nsexec: setns + exec ---------->  helper (this binary)
//	   |  request (JSON) over a socketpair          create persistent TAP (water)
//	   |                                            re-attach N queues, vnet header
//	   |                                            sysctls, MAC, MTU, addresses,
//	   v                                            up, neighbours, routes, lo
//	Interface <-- reply (JSON) + N descriptors --   exit
//	   |  held; perhaps passed to another process
//	   v
//	Device
//	   |
//	   +- Queue 0   ReadFrame:  readv  [virtio header | Ethernet frame <= 64 KiB]
//	   +- Queue n   WriteFrame: writev [virtio header | pieces of the frame]
//
// The container's kernel computes no checksums and cuts no segments: it hands
// over frames of up to 64 KiB with a virtio header (linux/virtio_net.h, 10 bytes,
// little endian) that says what is left to do, and takes such frames back.
//
// Sockets makes TCP sockets inside a namespace, for connections to the container's own
// services; nothing is executed for that.
//
// **songgao/water** creates the device but cannot ask for the virtio header. The
// header can only be had by the first queue that attaches to a device, so water's
// descriptor is closed before any queue of ours is opened; were it still
// open, the kernel would attach the next queue silently without the header.
//
// Two ways lead to devices that are not ours. Open attaches to a TAP that somebody else made, or
// makes one that goes with its last descriptor, as programs do that a container engine starts;
// Adopt takes a descriptor that was opened elsewhere. What comes without virtio headers is a
// plain Device, which does itself what a header would leave to the kernel (plain.go).
//
// **Trust**: the helper's input comes from the daemon. Its output comes from a
// process in a namespace where the container may be root: the reply is bounded and
// every descriptor is asked what it is before it is used. The helper is the user's own
// process in the host's file system, yet belongs to the container's user namespace:
// root in there could trace it, if it saw its process id. A container with its own
// pid namespace does not see it; one that was given the host's is as powerful as the
// user. Where it works in a container's own procfs (Namespaces.UseSettingsOf), nobody has been in that
// container yet: what is mounted there is what footbridge has mounted.
//
// **Lifetime**: the device is persistent. It outlives Interface and Device, and the
// processes that have them; without a reader it has no carrier and traffic stops. Attach on a
// namespace that has the device already attaches again. Detach removes it, as may
// the container's root, which readers see as ErrGone. Close of an Interface
// and of a Device each close their own descriptors; the latter unblocks the readers.
//
// In a namespace that others made (LinkOptions.Guest) the interface is all that is made and
// set up: what holds for all interfaces is theirs, lo is brought up only by Loopback, and
// one that is there already is not taken over (Refuse). Look tells what is there before.
//
// A bare interface (LinkOptions.Bare) is made for a runtime that renames it and moves it to
// another namespace; see bare.go.
//
// An open queue keeps its network namespace alive, even when the last process in
// there has ended (drivers/net/tun.c: the file's socket holds it). So a queue does
// not tell of its container's end: whoever watches the container closes it, and the
// namespace goes, with the persistent device.
//
// **Concurrency**: a Queue has one reader at a time and any number of writers.
// Close may be called at any time from anywhere: it waits until no system call of
// a writer is using the descriptor, so that its number cannot become another
// file's under a writer's hands. Readers sleep in Go's network poller, not in a
// thread.
package tap
