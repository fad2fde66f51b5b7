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
// A container never meets more of the host than Options.Allow opens. What
// comes back is let in only from addresses the container has sent to.
//
// Each flow costs the host a descriptor, so each kind is bounded for each
// container address (Limits): one container at its limits takes nothing from
// the others. All flows of the process together leave descriptors for the rest of
// it, and each container some for the others (budget). Flows end with their container (ReleaseAddr), by timeout, or
// when their connection ends.
//
// Lifetime: Close ends all flows and waits for their goroutines. Concurrency:
// the Handle functions are called on packet goroutines and never wait; each
// flow has its own goroutines, which wait in Go's netpoller. Forwarder.mu
// guards the tables and is never held during a system call that could wait;
// a flow's own lock is taken after it, never before.
package forwarder
