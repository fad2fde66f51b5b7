package splice

import "gvisor.dev/gvisor/pkg/tcpip"

// bufferOf gives the size of each of a connection's two buffers in netstack, in
// bytes, where its container has n connections with it. 0 is netstack's own
// choice, up to 8 MiB for a container that stops reading for a while.
//
// A container that has thousands, none of which is read, must not make this
// process hold megabytes for each: 3 MB each were measured, without an end but
// the number of descriptors. With these sizes, were all of them full both ways,
//
//	     2 connections hold    32 MiB
//	    64                     58
//	   512                     86
//	 1,000                    102
//	10,000                    383
//
// No speed is lost: a container is 0.1 ms away, in which 128 KiB are 10 Gbit/s
// for each connection, and 16 KiB are 1.3. Longer ways are the business of the
// host's own socket.
func bufferOf(n int) int64 {
	switch {
	case n <= 2:
		return 0
	case n <= 8:
		return 1 << 20
	case n <= 64:
		return 128 << 10
	case n <= 512:
		return 32 << 10
	}
	return 16 << 10
}

// Confine bounds the memory that netstack spends on the container's side of a
// connection which is its n-th.
func Confine(ep tcpip.Endpoint, n int) {
	if size := bufferOf(n); size > 0 {
		ep.SocketOptions().SetReceiveBufferSize(size, true)
		ep.SocketOptions().SetSendBufferSize(size, true)
	}
}
