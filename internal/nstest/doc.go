// Package nstest gives tests the world that they need: an unprivileged user,
// and paused processes in new user and network namespaces.
//
//	go test (perhaps root)
//	   +-- Main: root? run a copy of the test binary as an ordinary uid
//	         +-- the tests
//	               +-- World: this binary as "nstest-agent", in new
//	                   namespaces; answers Run and Call over a pipe (guest.go)
//
// **Lifetime**: a World ends with its test, or by End.
//
// **Concurrency**: one call at a time per World.
package nstest
