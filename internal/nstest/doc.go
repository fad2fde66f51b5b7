// Package nstest gives tests the world that they need: an unprivileged user,
// and paused processes in new user and network namespaces.
//
//	go test (perhaps root)
//	   +-- Main: root? run a copy of the test binary as an ordinary uid
//	         +-- the tests
//	               +-- World: this binary as "nstest-agent", in new
//	                   namespaces; answers Run and Call over a pipe (guest.go)
//
// and programs that they talk to by lines (Peer).
//
// **Lifetime**: a World ends with its test, or by End; a Peer with its test.
//
// **Concurrency**: one call at a time per World.
package nstest
