package forwarder

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/dgram"
	"github.com/footbridge-net/footbridge/internal/packet"
)

const (
	// maxPeers bounds the addresses that a mapping remembers for each of two
	// generations. A mapping that talks to more forgets the oldest, whose
	// late answers are then dropped. minPeers is the same for a mapping whose
	// container has maxRemembered.
	maxPeers = 1024
	minPeers = 16

	// peerLife is how long an answer is let in at least after the last
	// datagram to its address.
	peerLife = udpStreamTimeout
)

// mappingKey is whose datagrams a mapping carries, and where to.
type mappingKey struct {
	src netip.AddrPort
	// host is the port of the host's loopback (hostport.go); 0 = the outside.
	host uint16
}

// mapping is one source address and port of a container, and the host's socket
// that stands for it, whatever the destination (RFC 4787, endpoint-independent
// mapping). Answers are let in from every address the container has sent to
// (address-dependent filtering), and from no other. A port of the host's loopback
// has a mapping of its own, whose socket is connected to it.
type mapping struct {
	f      *Forwarder
	src    netip.AddrPort
	client *client
	file   *os.File
	fd     int // of file; usable while not closed

	// host is the port of the loopback that it leads to, and gateway as whom that
	// answers; both are invalid for the outside.
	host, gateway netip.AddrPort

	lastOut, lastIn atomic.Int64 // Unix nanoseconds
	answers         atomic.Int32 // how many have come, as far as it matters: 0, 1, 2
	elsewhere       atomic.Bool  // it has sent to other ports than DNS's
	gone            atomic.Bool  // its way out is no more: it is to end

	mu     sync.Mutex // for all below, and for sending
	closed bool
	path   path
	out    sender
	peers  [2]map[netip.Addr]struct{} // younger, older
	turned time.Time                  // when the younger generation began
}

// HandleDatagram sends a container's datagram to the outside.
func (f *Forwarder) HandleDatagram(d packet.Datagram) {
	dst := d.Dst.Addr()
	key := mappingKey{src: d.Src}
	if f.isGateway(dst) {
		host, ok := f.hostPort(packet.ProtoUDP, d.Dst)
		if !ok {
			f.gw.SendICMPError(netip.Addr{}, f.closedPort(dst.Is4()), d.IP)
			return
		}
		key.host = host.Port()
	} else if !f.permitted(d.Src.Addr(), dst) {
		return
	}
	m, err := f.mappingOf(key, d.Dst)
	if m != nil {
		err = m.send(d)
	}
	switch {
	case err == nil:
		return
	case m != nil && err == syscall.EMSGSIZE:
		f.tooBig(m.client, dst, d.IP)
		return
	case m != nil && wayIsGone(err) && f.out.chosen(dst.Is4()):
		m.gone.Store(true)
		f.refuseOutbound(m.client, "udp flow", err)
	}
	if e, ok := icmpFor(err, dst.Is4()); ok {
		f.gw.SendICMPError(netip.Addr{}, e, d.IP)
	}
}

// mappingOf finds or makes the mapping of a source; nil when that is refused, with the
// error that the container is to be told of, if any. dst is where the datagram goes.
func (f *Forwarder) mappingOf(k mappingKey, dst netip.AddrPort) (*mapping, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.mappings[k]; m != nil {
		return m, nil
	}
	if f.closed {
		return nil, nil
	}
	c := f.clients.Of(k.src.Addr())
	switch {
	case c.udp >= c.Limits.UDP:
		f.refuse(c, refusedUDP)
		return nil, nil
	case !f.descriptors.Take(c.flows()):
		f.refuse(c, refusedShare)
		f.forget(c)
		return nil, nil
	case !f.ports.Take(c.udp):
		f.descriptors.Give()
		f.refuse(c, refusedPorts)
		f.forget(c)
		return nil, nil
	}
	m, err := f.newMapping(k, dst, c)
	if err != nil {
		f.descriptors.Give()
		f.ports.Give()
		err = f.refuseSocket(c, "udp flow", err)
		f.forget(c)
		return nil, err
	}
	c.udp++
	f.mappings[k] = m
	if len(f.mappings)+len(f.pings) == 1 {
		f.arm()
	}
	f.flows.Go(m.receive)
	return m, nil
}

func (f *Forwarder) newMapping(k mappingKey, dst netip.AddrPort, c *client) (*mapping, error) {
	m := &mapping{f: f, src: k.src, client: c, turned: f.now()}
	var err error
	if k.host != 0 {
		m.host, m.gateway = netip.AddrPortFrom(loopback(dst.Addr().Is4()), k.host), dst
		m.fd, err = udpSocket(m.host.Addr().Is4(), func(fd int) error { return unix.Connect(fd, sockaddr(m.host)) })
	} else {
		m.fd, err = f.bindAny(k.src.Addr().Is4())
	}
	if err != nil {
		return nil, err
	}
	m.file = os.NewFile(uintptr(m.fd), "udp mapping")
	m.peers[0] = map[netip.Addr]struct{}{}
	m.lastOut.Store(m.turned.UnixNano())
	return m, nil
}

// bindAny makes a socket with a port of the kernel's choice on all addresses of
// a family, or as Options.Outbound says.
func (f *Forwarder) bindAny(v4 bool) (fd int, err error) {
	return udpSocket(v4, func(fd int) error {
		if err := f.out.bind(fd, v4); err != nil || f.out.addr(v4).IsValid() {
			return err
		}
		any := netip.IPv6Unspecified()
		if v4 {
			any = netip.IPv4Unspecified()
		}
		return os.NewSyscallError("bind", unix.Bind(fd, sockaddr(netip.AddrPortFrom(any, 0))))
	})
}

// udpSocket makes a socket that prepare has bound or connected. Unlike package net's it
// may not send to all stations of a host's network; a router does not (RFC 2644).
func udpSocket(v4 bool, prepare func(fd int) error) (fd int, err error) {
	family := unix.AF_INET6
	if v4 {
		family = unix.AF_INET
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if !v4 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = prepare(fd)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	wantErrors(fd, v4)
	dgram.TakeSeveral(fd)
	return fd, nil
}

// dropMapping takes a mapping out of its table. The caller holds f.mu, and closes
// what it gets without.
func (f *Forwarder) dropMapping(k mappingKey, m *mapping) closer {
	delete(f.mappings, k)
	m.client.udp--
	f.descriptors.Give()
	f.ports.Give()
	f.forget(m.client)
	return m
}

func (m *mapping) close() {
	m.mu.Lock()
	m.closed = true
	m.client.remembered.Add(-int64(len(m.peers[0]) + len(m.peers[1])))
	m.peers = [2]map[netip.Addr]struct{}{}
	m.mu.Unlock()
	// Without the lock: closing waits for the reader, which may want it.
	m.file.Close()
}

// deadline is when the mapping has been silent for too long.
func (m *mapping) deadline() time.Time {
	last := time.Unix(0, max(m.lastOut.Load(), m.lastIn.Load()))
	switch {
	case m.gone.Load():
		return time.Time{}
	case !m.elsewhere.Load():
		return last.Add(dnsTimeout)
	case m.answers.Load() > 1:
		return last.Add(udpStreamTimeout)
	}
	return last.Add(udpTimeout)
}

// send sends d, in segments if it is to be segmented. The lock keeps the
// descriptor from being closed, and its number used again, meanwhile.
func (m *mapping) send(d packet.Datagram) error {
	now := m.f.now()
	m.lastOut.Store(now.UnixNano())
	if d.Dst.Port() != dnsPort && !m.elsewhere.Load() {
		m.elsewhere.Store(true)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	if m.host.IsValid() {
		return m.out.send(m.fd, m.host, d.Payload, d.SegmentSize)
	}
	m.remember(d.Dst.Addr(), now)
	if p := onward(d.TTL, d.TOS, d.DontFragment); p != m.path {
		p.set(m.fd, d.Dst.Addr().Is4(), m.path)
		m.path = p
	}
	return m.out.send(m.fd, d.Dst, d.Payload, d.SegmentSize)
}

// remember notes that answers from a are welcome. The caller holds m.mu.
func (m *mapping) remember(a netip.Addr, now time.Time) {
	if _, ok := m.peers[0][a]; ok && now.Sub(m.turned) <= peerLife {
		return
	}
	room := maxPeers
	if m.client.remembered.Load() >= maxRemembered {
		room = minPeers
	}
	if len(m.peers[0]) >= room || now.Sub(m.turned) > peerLife {
		m.client.remembered.Add(-int64(len(m.peers[1])))
		m.peers[0], m.peers[1] = map[netip.Addr]struct{}{}, m.peers[0]
		m.turned = now
	}
	m.peers[0][a] = struct{}{}
	m.client.remembered.Add(1)
}

// welcome reports whether an answer from a is let in.
func (m *mapping) welcome(a netip.Addr) bool {
	if m.host.IsValid() {
		return true // to others the socket does not listen
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	_, young := m.peers[0][a]
	_, old := m.peers[1][a]
	return young || old
}

// receive gives the container what comes back, until the mapping is dropped.
func (m *mapping) receive() {
	raw, err := m.file.SyscallConn()
	if err != nil {
		return
	}
	r := receiver{raw: raw, received: m.received, failed: m.failed, turn: m.client.Turn}
	if err := r.run(); !errors.Is(err, os.ErrClosed) {
		m.f.log.Debug("udp flow: reading ended", "error", err)
	}
}

func (m *mapping) received(in dgram.Message) {
	if !m.welcome(in.From.Addr()) {
		return
	}
	m.lastIn.Store(m.f.now().UnixNano())
	if n := m.answers.Load(); n < 2 { // nobody else counts
		m.answers.Store(int32(min(int(n)+dgram.Count(len(in.Payload), in.Segment), 2)))
	}
	from := in.From
	if m.host.IsValid() {
		from = m.gateway
	}
	m.f.gw.SendDatagrams(from, m.src, in.Payload, in.Segment)
}

// failed tells the container of the ICMP error that its datagram met.
func (m *mapping) failed(e socketError) {
	if !m.welcome(e.dst.Addr()) {
		return
	}
	if m.host.IsValid() {
		e.dst = m.gateway
	}
	m.f.gw.SendICMPError(e.speaker(), e.icmp, quoteUDP(m.src, e.dst, e.data))
}

// quoteUDP makes again the head of a datagram that the container sent.
func quoteUDP(src, dst netip.AddrPort, data []byte) []byte {
	data = data[:min(len(data), maxQuoted)]
	b := make([]byte, packet.UDPHeaderLen(dst.Addr())+len(data))
	n := packet.PutUDPPartial(b, packet.MAC{}, packet.MAC{}, src, dst, len(data))
	copy(b[n:], data)
	return b[packet.EthernetLen:]
}
