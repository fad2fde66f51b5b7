package stack

import (
	"net/netip"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// c is a third container, which tests add themselves.
var (
	c4, c6 = netip.MustParseAddr("172.18.0.4"), netip.MustParseAddr("fd00:1::4")
	cMAC   = packet.MACFromIPv4(c4)
)

func c() []netip.Addr { return []netip.Addr{c4} }

func ap(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
