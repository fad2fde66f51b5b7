// Package portfwd leads the outside to containers: a published port is a
// listener on one of the host's addresses, and whatever arrives there is sent
// on, through the network's gateway, to a port of one container.
//
//	                    host                    :            one network
//	                                            :
//	client ---SYN---> Listener (TCP) --accept---:--> Gateway.DialTCP(client, container) --> container
//	       <==bytes==   fd    <==splice.Relay===:=>  netstack endpoint                 <==>
//	                                            :
//	client ---SYN---> Listener (TCP) --accept---:----> Stock: socket inside the container --> its own address
//	127/8, ::1            fd     <==kernelsplice.Relay==:====>  fd
//
//	client ---UDP---> Listener (UDP) -> flow ---:--> Gateway.SendDatagrams(shown, ...) ---> container
//	       <----------   sendmsg   <---- reply  :<-- Forwarder.HandleDatagram <------------
//	                                  table
//	program on the host ==socket==> Join -------:--> Gateway.DialTCP(gateway, container) -> container
//
// # Who the container sees
//
// The client's own address and port: the gateway sends from any source, so
// nothing is hidden behind an address of ours. Where that source is taken (the
// same client port came by two of the host's addresses) only the port differs.
// Where it cannot work, because the container would not answer it or would
// answer somebody else, the container sees its gateway: clients on loopback,
// link-local clients, clients of the other IP family, and addresses that belong
// to the network itself (the function choose has the rules).
//
// TCP clients on the host's loopback have no address to keep: where there is a [Stock] of
// sockets inside the container for its address, all of them are joined to such a socket
// by the kernel (package kernelsplice), and the container sees its own address. Which
// of the two it is does not depend on how busy anything is: a client that finds no
// socket waits for one. Containers, which come over the host's loopback from their
// gateways (Options.Hairpin), are shown as the gateway all the same.
//
// An answer must come back by the gateway: a container on several networks has
// to be published on the one that holds its default route, for each family.
//
// # What listens
//
// Exactly the address in [Mapping], never a wider one: IPv4 sockets for IPv4,
// IPV6_V6ONLY for IPv6, so that 0.0.0.0 and [::] are two listeners and say so
// in any list of sockets. A mapping leads to the container's address on its
// network, so a service that the container keeps on its own loopback stays
// there.
//
// # Two processes
//
// The host's ports are bound by a [Registry], and its process never reads them;
// they are served by a [Forwarder], which may live in another process that can
// bind nothing and comes and goes:
//
//	keeper: Registry.Bind --> Bound --Handle--> (SCM_RIGHTS) --> worker: Forwarder.Serve --> Listener
//	                  Adopt <-- a descriptor that an earlier process has left
//	        sockets made inside containers --> (SCM_RIGHTS) --> worker: Stock.Supply, as Stock.Wanted says
//
// Clients that come while nobody serves wait in the socket. A Forwarder opens no
// file and asks for no names of interfaces.
//
// # Limits
//
// A connection by a Stock is two descriptors in the [Budget], any other one. Every table
// is bounded ([Limits], [ContainerLimits]): connections that wait for
// the container, connections, and UDP flows, each for a container over all its
// ports; and what all containers have together is shared as package share says.
// TCP over a limit is reset, which tells the client at once. A UDP flow over a
// limit takes the place of one of the same container that was least used among a
// few; if that client comes back it gets a flow with the same source again, so it
// loses nothing, while refusing would let forged sources shut a service off.
//
// # Lifetime
//
// The keeper makes one [Registry], the worker one [Budget], and one Forwarder for
// each network. Serve makes a [Listener]; closing it ends its connections and
// flows, waits for them and closes its socket. The host's port is free when the
// [Bound] is closed as well. Closing the Forwarder closes all of its Listeners, its
// Stocks and what was joined; what was joined to a container ends with its Release. The Gateway must
// outlive the Forwarder.
//
// # Concurrency
//
// Everything exported may be called from any goroutine. A TCP Listener has one
// goroutine that accepts and one for each connection (and those that
// splice.Relay makes), as Join has; a UDP Listener has one that reads. All of them wait on
// the Go runtime's poller, none blocks a thread, and all of one container work one
// after the other (package turn), before they take a lock. HandleDatagram runs on the
// goroutine that reads the container's frames: it takes a read lock and makes
// one non-blocking system call. Flows have one timer for the Forwarder, which
// is set only while there are flows.
//
// Locks, in the order in which they are taken: Registry.mu by itself;
// Forwarder.mu (listeners, both flow tables, what is joined), then Stock.mu, then containers.mu; tcpServer.mu
// and Budget.mu are leaves. None is held during a dial or Gateway.SendDatagrams.
// Forwarder.mu is held for reading while an answer is written to a host socket,
// which is what keeps that socket open.
package portfwd
