// Package libnetwork is footbridge as a network driver of Docker's: the protocol that dockerd
// speaks with remote drivers, and what footbridge's daemon is asked for each of its requests.
//
//	dockerd, in its namespaces                              user's own namespaces
//	+--------------------------------------+               +----------------------------+
//	| docker network create -d footbridge  |   requests    | Server                     |
//	|   CreateNetwork, CreateEndpoint ...  |== socket ====>|   decode, bound (server.go)|
//	|                                      |               |   v                        |
//	| fb1c2d...   a TAP, down, bare        |<--------------| Driver (network, endpoint) |
//	|    | dockerd moves it at Join        |               |   | API                    |
//	|    v                                 |               |   v                        |
//	| container: eth0 <=====================frames=========|  footbridge daemon         |
//	+--------------------------------------+               +----------------------------+
//
// dockerd gives addresses, brings the interface up, makes routes and names. footbridge has the
// network behind it: what leaves it, who reaches whom, and published ports.
//
//	CreateNetwork     a network of footbridge's, with Docker's subnets and gateways; or, by the
//	                  option com.footbridge.network, one that is there
//	CreateEndpoint    a bare attachment in dockerd's network namespace, named docker-ID
//	Join              the interface's name, its name to be, and the gateways
//	Program- and RevokeExternalConnectivity
//	                  published ports
//	Leave             nothing: dockerd has taken the interface back
//	DeleteEndpoint    the attachment ends
//	DeleteNetwork     the network goes, if CreateNetwork has made it
//
// What there is of an endpoint is asked of the daemon, which keeps it over its restarts and
// this program's. Of a network one file is kept: which of footbridge's it is.
//
// Errors are Docker's: a status of 500, and {"Err": TEXT}. What ends something that is there no
// more is no error, since dockerd asks for that after a crash of its own.
//
// # Lifetime
//
// Serve runs until its context ends or dockerd does; the socket's file goes with it.
// Attachments stay: containers go on.
//
// # Concurrency
//
// Requests are served at once. The driver has no state of its own but the files, and each of
// these is written and removed as a whole.
package libnetwork
