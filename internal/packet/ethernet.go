package packet

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// EtherTypes that a network carries (IEEE 802 numbers, linux/if_ether.h).
const (
	TypeIPv4 = 0x0800
	TypeARP  = 0x0806
	TypeIPv6 = 0x86dd
)

// EthernetLen is the size of an Ethernet header without tags, in bytes.
const EthernetLen = 14

// MAC is an Ethernet address (EUI-48).
type MAC [6]byte

// Broadcast is the address of all stations.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// MACFromIPv4 gives the address that Docker derives for an IPv4 address: 02:42
// and the four bytes. It is locally administered, and unique where the IPv4
// address is.
func MACFromIPv4(a netip.Addr) MAC {
	b := a.Unmap().As4()
	return MAC{0x02, 0x42, b[0], b[1], b[2], b[3]}
}

// MACFromIPv6 derives a locally administered address from the last four bytes
// of an IPv6 address, for endpoints without IPv4.
func MACFromIPv6(a netip.Addr) MAC {
	b := a.As16()
	return MAC{0x02, 0x42, b[12], b[13], b[14], b[15]}
}

// ParseMAC reads the usual notations of net.ParseMAC; only 6-byte addresses
// are taken.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil {
		return MAC{}, err
	}
	if len(hw) != 6 {
		return MAC{}, fmt.Errorf("address %s: %d bytes, an Ethernet address has 6", s, len(hw))
	}
	return MAC(hw), nil
}

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// IsMulticast reports whether m addresses a group (including all stations).
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// LinkLocal gives the IPv6 link-local address that a kernel derives from m
// (modified EUI-64, RFC 4291 appendix A).
func (m MAC) LinkLocal() netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0,
		m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}

// Destination gives the destination of a frame of at least EthernetLen bytes.
func Destination(frame []byte) MAC { return MAC(frame[0:6]) }

// Source gives the source of a frame of at least EthernetLen bytes.
func Source(frame []byte) MAC { return MAC(frame[6:12]) }

// EtherType gives the type field of a frame of at least EthernetLen bytes.
func EtherType(frame []byte) uint16 { return binary.BigEndian.Uint16(frame[12:14]) }

// PutEthernet writes an Ethernet header to the first EthernetLen bytes of b.
func PutEthernet(b []byte, dst, src MAC, etherType uint16) {
	copy(b[0:6], dst[:])
	copy(b[6:12], src[:])
	binary.BigEndian.PutUint16(b[12:14], etherType)
}
