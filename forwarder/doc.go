// Package forwarder takes the flows that leave a network to the outside and
// carries them over sockets of the host, as an unprivileged process may.
//
//	Gateway --SYN------> TCP:  connect(2) first, then accept in netstack,
//	                           then splice; refused and unreachable are told
//	        --datagram-> UDP:  one socket for each address and port of a
//	                           container (endpoint-independent mapping)
//	        --echo-----> Echo: one ping socket for each identifier
//	        <-- replies, and ICMP errors from the sockets' error queues
//
// A container never meets more of the host than Options.Allow opens, and the ports
// of its loopback that Options.HostPort names (hostport.go). What comes back is let
// in only from addresses the container has sent to.
//
// # What a packet says of its way
//
// Hops, type of service and "don't fragment" go on (path.go), and what routers answer
// comes back from the sockets' error queues with the routers' addresses: so
// traceroute shows them, and path MTU discovery works as through a router.
//
// # Several datagrams at once
//
// What a container's kernel leaves in one frame for its device to cut (USO) goes on in
// one call, and what the host's kernel has together for a mapping (GRO) comes back in one
// frame: package dgram, Gateway.SendDatagrams.
//
// # Bounds
//
// Each flow costs the host a descriptor and some 6 KB, a UDP mapping a port too.
// So each kind is bounded for each container, whatever its addresses ([Limits],
// SetLimits), and all flows of the process share its descriptors and ports, so
// that each leaves some for the others (package share). A packet that would begin
// a flow over a limit is dropped before anything is spent on it but a look into a
// table: 0.3 us and no allocation. A million of them hold what the limits allow
// and no more. TCP keeps megabytes for a container that does not read, the less
// of them the more connections it has (splice.Confine); UDP keeps nothing but the
// addresses that may answer.
//
// # Lifetime
//
// Flows end with their container (ReleaseAddr), by timeout, or when their
// connection ends. Close ends all flows and waits for their goroutines. Nothing
// here opens a file after the process's start.
//
// # Concurrency
//
// The Handle functions are called on packet goroutines and never wait; each
// flow has its own goroutines, which wait in Go's netpoller and work one after the
// other: all of a container have one turn (package turn), however many flows it
// has. Forwarder.mu guards the tables and is never held during a system call that
// could wait, nor while sockets are closed; a flow's own lock is taken after it,
// never before. A turn is taken before either.
package forwarder
