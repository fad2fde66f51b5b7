package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// ScanArgs ask which ports of an address answer, by frames: a gateway may answer only so many connections a second, which
// a scan by sockets would take for silence.
type ScanArgs struct {
	Interface    string
	MAC, Gateway packet.MAC
	From, To     netip.Addr
	Ports        []uint16
	UDP          bool
	Payload      []byte // of the datagrams
}

// ScanReply lists the ports that accepted a connection or answered a datagram, and counts those that said no.
type ScanReply struct {
	Open   []uint16
	Closed int
	Silent int
}

// How many ports are asked a second: for TCP below what a gateway answers to one container.
const (
	scanRate    = 800
	scanRateUDP = 5000
)

// Scan asks every port, three times if need be.
func (a *Actor) Scan(args ScanArgs, reply *ScanReply) error {
	fd, err := openPacket(args.Interface, unix.ETH_P_ALL)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 1000})
	const own = 61999
	proto, rate := uint8(packet.ProtoTCP), time.Duration(scanRate)
	if args.UDP {
		proto, rate = packet.ProtoUDP, scanRateUDP
	}
	answers := make(map[uint16]bool) // port -> open
	b := make([]byte, 2048)
	receive := func(until time.Time) {
		for time.Now().Before(until) {
			n, from, err := unix.Recvfrom(fd, b, 0)
			if err != nil {
				continue
			}
			if ll, ok := from.(*unix.SockaddrLinklayer); !ok || ll.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			f := b[:n]
			if len(f) < packet.EthernetLen {
				continue
			}
			ip, err := packet.ParseIP(f[packet.EthernetLen:])
			if err != nil || ip.Proto != proto || ip.Src != args.To {
				continue
			}
			t := f[packet.EthernetLen+ip.HeaderLen:]
			if len(t) < packet.UDPLen || binary.BigEndian.Uint16(t[2:]) != own {
				continue
			}
			port := binary.BigEndian.Uint16(t)
			answers[port] = answers[port] || args.UDP || len(t) >= tcpLen && t[13]&flagSYN != 0
		}
	}
	for try := range 3 {
		asked := 0
		begin := time.Now()
		for _, port := range args.Ports {
			if _, ok := answers[port]; ok || args.UDP && try > 0 {
				continue
			}
			from, to := netip.AddrPortFrom(args.From, own), netip.AddrPortFrom(args.To, port)
			ip := tcpPacket(from, to, flagSYN, uint32(port)<<8, 0, nil)
			if args.UDP {
				ip = udpPacket(from, to, args.Payload)
			}
			if err := sendFrame(fd, inEthernet(args.Gateway, args.MAC, ip)); err != nil {
				return fmt.Errorf("port %d: %w", port, err)
			}
			asked++
			receive(begin.Add(time.Duration(asked) * time.Second / rate))
		}
		if asked > 0 {
			receive(time.Now().Add(200 * time.Millisecond))
		}
	}
	for _, port := range args.Ports {
		open, answered := answers[port]
		switch {
		case open:
			reply.Open = append(reply.Open, port)
		case answered:
			reply.Closed++
		default:
			reply.Silent++
		}
	}
	return nil
}
