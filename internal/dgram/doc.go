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
//	room   <--Gatherer.Receive----------- recvmsg, one behind the other, while it is a row
//
// A call costs as much as a datagram, so what a container's kernel has put together is
// handed on as it is, up to [MaxSegments], and so is what the host's kernel has of one
// sender. What a program has sent one by one is put together where it is found one behind the
// other, up to [Together]: by a [Gatherer] when it comes from a socket, by package stack when it comes from
// a container. Nothing here allocates.
//
// # Lifetime
//
// Nothing is kept but the room for the next message, of what kind the last one was, and whether a socket can send
// several datagrams at once. Sockets are their owners'.
//
// # Concurrency
//
// A [Sender] may be used by several goroutines at once, with a [Source] that nobody
// changes meanwhile; a [Receiver] by one. No call waits, and whoever calls holds the
// descriptor open.
package dgram
