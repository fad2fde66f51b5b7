package plane

import (
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// hairpins are the connections by which containers reach the host's loopback through their
// gateways. What listens there may be a published port, to which they look like the
// host's own clients: these are joined to the container inside the kernel, and it
// takes them for itself. A neighbour is to be shown as the gateway.
//
//	container --> gateway:8000 --Bind--> 127.0.0.1:40000 --> 127.0.0.1:8000 --has?--> listener
//
// It has no lock of its own.
type hairpins struct{ from sync.Map } // netip.AddrPort to nothing

// Bind is called before the connection, so that it is noted when it comes.
func (h *hairpins) Bind(fd int, v4 bool) (netip.AddrPort, error) {
	var any unix.Sockaddr = &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}
	if v4 {
		any = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	}
	if err := unix.Bind(fd, any); err != nil {
		return netip.AddrPort{}, err
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	var from netip.AddrPort
	switch a := local.(type) {
	case *unix.SockaddrInet4:
		from = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		from = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	h.from.Store(from, struct{}{})
	return from, nil
}

// Forget is called when the connection is over.
func (h *hairpins) Forget(from netip.AddrPort) { h.from.Delete(from) }

// has reports whether a client on loopback is a container.
func (h *hairpins) has(client netip.AddrPort) bool {
	_, ok := h.from.Load(client)
	return ok
}
