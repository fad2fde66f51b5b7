package main

import (
	"encoding/binary"
	"net/netip"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// Frames are put together from the inside out: payload, transport, IP, Ethernet. Whatever is wrong with one is changed
// afterwards, so that only that is wrong with it.

func ethernet(dst, src packet.MAC, etherType uint16, payload []byte) []byte {
	b := make([]byte, packet.EthernetLen, packet.EthernetLen+len(payload))
	packet.PutEthernet(b, dst, src, etherType)
	return append(b, payload...)
}

// inEthernet chooses the EtherType by the version of the IP packet.
func inEthernet(dst, src packet.MAC, ip []byte) []byte {
	etherType := uint16(packet.TypeIPv4)
	if ip[0]>>4 == 6 {
		etherType = packet.TypeIPv6
	}
	return ethernet(dst, src, etherType, ip)
}

// ipPacket makes a packet of the addresses' family. options are IPv4's; their length is a multiple of four.
func ipPacket(src, dst netip.Addr, proto, ttl uint8, payload []byte, options ...byte) []byte {
	if src.Is6() {
		b := make([]byte, packet.IPv6Len, packet.IPv6Len+len(payload))
		packet.PutIPv6(b, src, dst, proto, ttl, len(payload))
		return append(b, payload...)
	}
	n := packet.IPv4Len + len(options)
	b := make([]byte, n, n+len(payload))
	packet.PutIPv4(b, src, dst, proto, ttl, n+len(payload))
	copy(b[packet.IPv4Len:], options)
	b[0] = 0x40 | byte(n/4)
	seal4(b)
	return append(b, payload...)
}

// seal4 computes the checksum of an IPv4 header anew.
func seal4(ip []byte) {
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^packet.Sum(ip[:int(ip[0]&0xf)*4], 0))
}

// seal writes a transport's checksum over its pseudo-header, at an offset.
func seal(src, dst netip.Addr, proto uint8, t []byte, at int) []byte {
	t[at], t[at+1] = 0, 0
	var initial uint16
	if proto != packet.ProtoICMP {
		initial = packet.PseudoSum(src, dst, proto, len(t))
	}
	sum := ^packet.Sum(t, initial)
	if sum == 0 && proto == packet.ProtoUDP {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(t[at:], sum)
	return t
}

// Places of checksums in their headers.
const (
	udpSum  = 6
	tcpSum  = 16
	icmpSum = 2
)

func udpDatagram(src, dst netip.AddrPort, payload []byte) []byte {
	b := make([]byte, packet.UDPLen, packet.UDPLen+len(payload))
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(packet.UDPLen+len(payload)))
	return seal(src.Addr(), dst.Addr(), packet.ProtoUDP, append(b, payload...), udpSum)
}

// udpPacket is a whole IP packet with a datagram.
func udpPacket(src, dst netip.AddrPort, payload []byte) []byte {
	return ipPacket(src.Addr(), dst.Addr(), packet.ProtoUDP, 64, udpDatagram(src, dst, payload))
}

// Flags of TCP.
const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// tcpLen is the length of a TCP header without options.
const tcpLen = 20

func tcpPacket(src, dst netip.AddrPort, flags uint8, seq, ack uint32, payload []byte) []byte {
	b := make([]byte, tcpLen, tcpLen+len(payload))
	binary.BigEndian.PutUint16(b, src.Port())
	binary.BigEndian.PutUint16(b[2:], dst.Port())
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[8:], ack)
	b[12], b[13] = tcpLen/4<<4, flags
	binary.BigEndian.PutUint16(b[14:], 64240)
	t := seal(src.Addr(), dst.Addr(), packet.ProtoTCP, append(b, payload...), tcpSum)
	return ipPacket(src.Addr(), dst.Addr(), packet.ProtoTCP, 64, t)
}

// icmpMessage is an ICMP message of the addresses' family: type, code, the second word, and what follows.
func icmpMessage(src, dst netip.Addr, kind, code uint8, word uint32, rest []byte) []byte {
	b := make([]byte, packet.ICMPLen, packet.ICMPLen+len(rest))
	b[0], b[1] = kind, code
	binary.BigEndian.PutUint32(b[4:], word)
	return seal(src, dst, icmpOf(src), append(b, rest...), icmpSum)
}

func icmpOf(a netip.Addr) uint8 {
	if a.Is4() {
		return packet.ProtoICMP
	}
	return packet.ProtoICMPv6
}

// icmpPacket is a whole IP packet with a message; neighbour discovery's hop limit suits everything.
func icmpPacket(src, dst netip.Addr, kind, code uint8, word uint32, rest []byte) []byte {
	return ipPacket(src, dst, icmpOf(src), 255, icmpMessage(src, dst, kind, code, word, rest))
}

// echoOf is the type of an echo request.
func echoOf(a netip.Addr) uint8 {
	if a.Is4() {
		return packet.ICMPEchoRequest
	}
	return packet.ICMPv6EchoRequest
}

// fragment makes one fragment of an IPv4 or IPv6 packet's payload: n bytes from an offset that is a multiple of eight.
func fragment(src, dst netip.Addr, proto uint8, id uint32, offset int, more bool, payload []byte) []byte {
	if src.Is6() {
		h := make([]byte, 8, 8+len(payload))
		h[0] = proto
		field := uint16(offset)
		if more {
			field |= 1
		}
		binary.BigEndian.PutUint16(h[2:], field)
		binary.BigEndian.PutUint32(h[4:], id)
		return ipPacket(src, dst, packet.ProtoFragment, 64, append(h, payload...))
	}
	ip := ipPacket(src, dst, proto, 64, payload)
	field := uint16(offset / 8)
	if more {
		field |= 0x2000
	}
	binary.BigEndian.PutUint16(ip[4:], uint16(id))
	binary.BigEndian.PutUint16(ip[6:], field)
	seal4(ip)
	return ip
}

// tagged puts a VLAN tag into a frame.
func tagged(frame []byte, tpid, vlan uint16) []byte {
	b := make([]byte, 0, len(frame)+4)
	b = append(b, frame[:12]...)
	b = binary.BigEndian.AppendUint16(b, tpid)
	b = binary.BigEndian.AppendUint16(b, vlan)
	return append(b, frame[12:]...)
}
