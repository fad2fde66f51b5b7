// Package nstest gives tests the world that they need: an unprivileged user,
// paused processes in new user and network namespaces, and programs that are
// talked to by lines (Peer).
//
//	go test (perhaps root)
//	   +-- Main: root? run a copy of the test binary as an ordinary uid
//	         +-- the tests
//	               +-- World: this binary as "nstest-agent", in new
//	                   namespaces; answers Run and Call over a pipe (guest.go)
//
// **Lifetime**: a World ends with its test, or by End; a Peer with its test.
//
// **Concurrency**: one call at a time per World.
package nstest
