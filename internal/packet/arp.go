package packet

import (
	"encoding/binary"
	"net/netip"
)

// ARPLen is the size of an ARP packet for IPv4 over Ethernet, in bytes.
const ARPLen = 28

// Operations of ARP (RFC 826).
const (
	ARPRequest = 1
	ARPReply   = 2
)

// ARP is an ARP packet for IPv4 over Ethernet (RFC 826).
type ARP struct {
	Op                 uint16
	SenderMAC          MAC
	SenderIP, TargetIP netip.Addr
	TargetMAC          MAC
}

// ParseARP reads the ARP packet at the start of b, which begins behind the
// Ethernet header. It returns ErrMalformed for other hardware or protocols.
func ParseARP(b []byte) (ARP, error) {
	if len(b) < ARPLen || binary.BigEndian.Uint64(b[0:8])>>16 != 0x0001_0800_0604 {
		return ARP{}, ErrMalformed
	}
	return ARP{
		Op:        binary.BigEndian.Uint16(b[6:8]),
		SenderMAC: MAC(b[8:14]),
		SenderIP:  netip.AddrFrom4([4]byte(b[14:18])),
		TargetMAC: MAC(b[18:24]),
		TargetIP:  netip.AddrFrom4([4]byte(b[24:28])),
	}, nil
}

// ARPFrame gives the frame that carries a, sent from its sender to dst.
func ARPFrame(dst MAC, a ARP) []byte {
	b := make([]byte, EthernetLen+ARPLen)
	PutEthernet(b, dst, a.SenderMAC, TypeARP)
	p := b[EthernetLen:]
	binary.BigEndian.PutUint64(p[0:8], 0x0001_0800_0604_0000|uint64(a.Op))
	s, t := a.SenderIP.As4(), a.TargetIP.As4()
	copy(p[8:14], a.SenderMAC[:])
	copy(p[14:18], s[:])
	copy(p[18:24], a.TargetMAC[:])
	copy(p[24:28], t[:])
	return b
}
