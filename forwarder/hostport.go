package forwarder

import (
	"net/netip"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// Ports of the host's loopback that were opened by name, and those that are published at
// all of the host's addresses, are reached at the gateway's own address:
//
//	container --> gateway:8080 --Options.HostPort(TCP, gateway:8080)?--> 127.0.0.1:8080
//	                                       no: refused, as ever
//
// With Options.NoHost the refusal is "network unreachable", as where no host is.
//
// Only the gateway's own addresses lead there, and only to the same port of 127.0.0.1
// or ::1. What is sent to loopback addresses themselves is closed by Options.Allow.

// loopback is what stands behind a gateway's address of the same family.
func loopback(v4 bool) netip.Addr {
	if v4 {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// hostPort gives what is behind the port at of a gateway's own address; ok is false
// for other addresses and for ports that were not opened.
func (f *Forwarder) hostPort(proto uint8, at netip.AddrPort) (host netip.AddrPort, ok bool) {
	if f.hostPorts == nil || !f.isGateway(at.Addr()) || !f.hostPorts(proto, at) {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(loopback(at.Addr().Is4()), at.Port()), true
}

// TakesTCP says whether HandleTCP is for connections to the gateway's own address at:
// it is to be set as the gateway's handler OwnTCP.
func (f *Forwarder) TakesTCP(at netip.AddrPort) bool {
	_, ok := f.hostPort(packet.ProtoTCP, at)
	return ok || f.noHost && f.isGateway(at.Addr())
}

// closedPort is what is said of a port of the gateway's own that leads nowhere.
func (f *Forwarder) closedPort(v4 bool) packet.ICMPError {
	if f.noHost {
		return packet.NetUnreachable(v4)
	}
	return packet.PortUnreachable(v4)
}
