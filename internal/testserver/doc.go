// Package testserver has the servers that tests and their programs talk to: of TCP, where a function has each
// connection, and of UDP, where a function words each answer.
//
//	ListenTCP                              ListenUDP
//	  |                                      |
//	accept --> goroutine: handle, close    read --> answer --> write
//	  ^ until Close                          ^ until Close
//
//	TCP, UDP: the same for as long as a test runs
//
// Echo, EchoDatagram and Discard are what most of them do.
//
// **Lifetime**: a server ends when who opened it closes it, or with its test; connections end with their function or
// their client.
//
// **Concurrency**: each connection has a goroutine of its own; datagrams are answered one after the other.
package testserver
