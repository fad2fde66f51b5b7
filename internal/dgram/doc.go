// Package dgram is what UDP sockets say and are told beside a datagram, and how several
// datagrams cross the kernel at once.
//
//	                        one datagram:  sendto
//	payload, size --Sender.Send----------------------------------> socket
//	                        several:       sendmsg, UDP_SEGMENT
//	                        refused:       one by one
//
//	buffer <--Receiver.Receive----------- recvmsg, UDP_GRO ------- socket
//	  Message: the payload, its sender, and from control messages: the local
//	  address and interface (Info), and the size of each of several datagrams
//
// A call costs as much as a datagram, so what a container's kernel has put together is
// handed on as it is, up to [MaxSegments], and so is what the host's kernel has of one
// sender. Nothing here allocates.
//
// # Lifetime
//
// Nothing is kept but the room for the next message, and whether a socket can send
// several datagrams at once. Sockets are their owners'.
//
// # Concurrency
//
// A [Sender] may be used by several goroutines at once, with a [Source] that nobody
// changes meanwhile; a [Receiver] by one. No call waits, and whoever calls holds the
// descriptor open.
package dgram
