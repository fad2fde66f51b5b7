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

	"github.com/footbridge-net/footbridge/internal/packet"
)

const (
	// maxDatagram is more than the largest UDP payload, in bytes.
	maxDatagram = 64 << 10

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

// mapping is one source address and port of a container, and the host's socket
// that stands for it, whatever the destination (RFC 4787, endpoint-independent
// mapping). Answers are let in from every address the container has sent to
// (address-dependent filtering), and from no other.
type mapping struct {
	f      *Forwarder
	src    netip.AddrPort
	client *client
	file   *os.File
	fd     int // of file; usable while not closed

	lastOut, lastIn atomic.Int64 // Unix nanoseconds

	mu     sync.Mutex // for all below, and for sending
	closed bool
	ttl    uint8
	sa     destination
	peers  [2]map[netip.Addr]struct{} // younger, older
	turned time.Time                  // when the younger generation began
}

// HandleDatagram sends a container's datagram to the outside.
func (f *Forwarder) HandleDatagram(d packet.Datagram) {
	dst := d.Dst.Addr()
	if f.isGateway(dst) {
		f.gw.SendICMPError(netip.Addr{}, packet.PortUnreachable(dst.Is4()), d.IP)
		return
	}
	if !f.permitted(d.Src.Addr(), dst) {
		return
	}
	m := f.mappingOf(d.Src)
	if m == nil {
		return
	}
	err := m.send(d)
	if err == nil {
		return
	}
	if errors.Is(err, syscall.EMSGSIZE) {
		f.gw.SendICMPError(netip.Addr{}, packet.TooBig(dst.Is4(), leastMTU(dst)), d.IP)
	} else if e, ok := icmpFor(err, dst.Is4()); ok {
		f.gw.SendICMPError(netip.Addr{}, e, d.IP)
	}
}

// mappingOf finds or makes the mapping of a source; nil when that is refused.
func (f *Forwarder) mappingOf(src netip.AddrPort) *mapping {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.mappings[src]; m != nil {
		return m
	}
	if f.closed {
		return nil
	}
	c := f.clientOf(src.Addr())
	switch {
	case c.udp >= c.limits.UDP:
		f.refuse(c, refusedUDP)
		return nil
	case !f.descriptors.Take(c.flows()):
		f.refuse(c, refusedShare)
		f.forget(c)
		return nil
	case !f.ports.Take(c.udp):
		f.descriptors.Give()
		f.refuse(c, refusedPorts)
		f.forget(c)
		return nil
	}
	m, err := f.newMapping(src, c)
	if err != nil {
		f.descriptors.Give()
		f.ports.Give()
		f.refuse(c, refusedSocket)
		f.warn("udp flow: no socket", err)
		f.forget(c)
		return nil
	}
	c.udp++
	f.mappings[src] = m
	if len(f.mappings)+len(f.pings) == 1 {
		f.arm()
	}
	f.flows.Go(m.receive)
	return m
}

func (f *Forwarder) newMapping(src netip.AddrPort, c *client) (*mapping, error) {
	fd, err := bindAny(src.Addr().Is4())
	if err != nil {
		return nil, err
	}
	m := &mapping{f: f, src: src, client: c, fd: fd, file: os.NewFile(uintptr(fd), "udp mapping"), turned: time.Now()}
	m.peers[0] = map[netip.Addr]struct{}{}
	m.lastOut.Store(m.turned.UnixNano())
	return m, nil
}

// bindAny makes a socket with a port of the kernel's choice on all addresses of
// a family. Unlike package net's it may not send to all stations of a host's
// network; a router does not (RFC 2644).
func bindAny(v4 bool) (fd int, err error) {
	family, any := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{})
	if v4 {
		family, any = unix.AF_INET, &unix.SockaddrInet4{}
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if !v4 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.Bind(fd, any)
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	wantErrors(fd, v4)
	return fd, nil
}

// dropMapping takes a mapping out of its table. The caller holds f.mu, and closes
// what it gets without.
func (f *Forwarder) dropMapping(k netip.AddrPort, m *mapping) closer {
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
	out, in := m.lastOut.Load(), m.lastIn.Load()
	if in == 0 {
		return time.Unix(0, out).Add(udpTimeout)
	}
	return time.Unix(0, max(out, in)).Add(udpStreamTimeout)
}

// send sends d, in segments if it is to be segmented. The lock keeps the
// descriptor from being closed, and its number used again, meanwhile.
func (m *mapping) send(d packet.Datagram) error {
	now := time.Now()
	m.lastOut.Store(now.UnixNano())
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.remember(d.Dst.Addr(), now)
	if ttl := d.TTL - 1; ttl != m.ttl { // the gateway is a router, too
		setTTL(m.fd, d.Dst.Addr().Is4(), ttl)
		m.ttl = ttl
	}
	m.sa.set(d.Dst)
	size := d.SegmentSize
	if size == 0 {
		size = max(len(d.Payload), 1)
	}
	for b := d.Payload; ; b = b[size:] {
		err := m.sa.sendTo(m.fd, b[:min(size, len(b))])
		// An error may be that of an earlier datagram, which the socket
		// tells first; the reader takes its details from the error queue.
		if err == syscall.ECONNREFUSED || err == syscall.EHOSTUNREACH || err == syscall.ENETUNREACH {
			err = m.sa.sendTo(m.fd, b[:min(size, len(b))])
		}
		if err != nil {
			return err
		}
		if len(b) <= size {
			return nil
		}
	}
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

func (m *mapping) welcome(a netip.Addr) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, young := m.peers[0][a]
	_, old := m.peers[1][a]
	return young || old
}

// leastMTU is the path MTU told to a container whose datagram does not fit, in
// bytes: an unconnected socket knows no path's, and the smallest that always
// works lets it go on (RFC 791, RFC 8200).
func leastMTU(dst netip.Addr) uint32 {
	if dst.Is4() {
		return 576
	}
	return 1280
}

// receive gives the container what comes back, until the mapping is dropped.
func (m *mapping) receive() {
	raw, err := m.file.SyscallConn()
	if err != nil {
		return
	}
	r := receiver{raw: raw, datagram: m.received, failed: m.failed, turn: m.client.turn}
	if err := r.run(); !errors.Is(err, os.ErrClosed) {
		m.f.log.Debug("udp flow: reading ended", "error", err)
	}
}

func (m *mapping) received(from netip.AddrPort, b []byte) {
	if m.welcome(from.Addr()) {
		m.lastIn.Store(time.Now().UnixNano())
		m.f.gw.SendUDP(from, m.src, b)
	}
}

// failed tells the container of the ICMP error that its datagram met.
func (m *mapping) failed(e socketError) {
	if m.welcome(e.dst.Addr()) {
		m.f.gw.SendICMPError(e.offender, e.icmp, quoteUDP(m.src, e.dst, e.data))
	}
}

// quoteUDP makes again the head of a datagram that the container sent.
func quoteUDP(src, dst netip.AddrPort, data []byte) []byte {
	data = data[:min(len(data), maxQuoted)]
	b := make([]byte, packet.UDPHeaderLen(dst.Addr())+len(data))
	n := packet.PutUDPPartial(b, packet.MAC{}, packet.MAC{}, src, dst, len(data))
	copy(b[n:], data)
	return b[packet.EthernetLen:]
}
