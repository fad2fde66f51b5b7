package forwarder

import (
	"encoding/binary"
	"errors"
	"fmt"
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

// pingKey is whose pings a socket carries.
type pingKey struct {
	addr netip.Addr
	id   uint16
}

// ping is one identifier of a container, and the host's ping socket that
// stands for it (socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), for which the
// caller's group must be in net.ipv4.ping_group_range). The kernel gives its
// own identifier to what leaves.
type ping struct {
	f      *Forwarder
	key    pingKey
	client *client
	file   *os.File

	last atomic.Int64 // Unix nanoseconds
	gone atomic.Bool  // its way out is no more: it is to end

	mu     sync.Mutex // for all below, and for sending
	closed bool
	fd     int
	path   path
	out    sender
}

// HandleEcho sends a container's echo request to the outside.
func (f *Forwarder) HandleEcho(e packet.Echo) {
	if !f.permitted(e.Src, e.Dst) {
		return
	}
	p, err := f.pingOf(pingKey{e.Src, e.ID})
	if p != nil {
		err = p.send(e)
	}
	switch {
	case err == nil:
		return
	case p != nil && err == syscall.EMSGSIZE:
		f.tooBig(p.client, e.Dst, e.IP)
		return
	case p != nil && wayIsGone(err) && f.out.chosen(e.Dst.Is4()):
		p.gone.Store(true)
		f.refuseOutbound(p.client, "ping", err)
	}
	if ie, ok := icmpFor(err, e.Dst.Is4()); ok {
		f.gw.SendICMPError(netip.Addr{}, ie, e.IP)
	}
}

// pingOf finds or makes the ping of an identifier; nil when that is refused, with the
// error that the container is to be told of, if any.
func (f *Forwarder) pingOf(k pingKey) (*ping, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.pings[k]; p != nil {
		return p, nil
	}
	if f.closed {
		return nil, nil
	}
	c := f.clients.Of(k.addr)
	switch {
	case c.echo >= c.Limits.Echo:
		f.refuse(c, refusedEcho)
		return nil, nil
	case !f.descriptors.Take(c.flows()):
		f.refuse(c, refusedShare)
		f.forget(c)
		return nil, nil
	}
	p, err := f.newPing(k, c)
	if err != nil {
		f.descriptors.Give()
		err = f.refuseSocket(c, "ping", err)
		f.forget(c)
		return nil, err
	}
	c.echo++
	f.pings[k] = p
	if len(f.mappings)+len(f.pings) == 1 {
		f.arm()
	}
	f.flows.Go(p.receive)
	return p, nil
}

func (f *Forwarder) newPing(k pingKey, c *client) (*ping, error) {
	family, proto := unix.AF_INET6, unix.IPPROTO_ICMPV6
	if k.addr.Is4() {
		family, proto = unix.AF_INET, unix.IPPROTO_ICMP
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return nil, fmt.Errorf("is the caller's group in net.ipv4.ping_group_range? %w", err)
	}
	if err := f.out.bind(fd, k.addr.Is4()); err != nil {
		unix.Close(fd)
		return nil, err
	}
	wantErrors(fd, k.addr.Is4())
	p := &ping{f: f, key: k, client: c, fd: fd, file: os.NewFile(uintptr(fd), "ping")}
	p.last.Store(f.now().UnixNano())
	return p, nil
}

// dropPing takes a ping out of its table. The caller holds f.mu, and closes what
// it gets without.
func (f *Forwarder) dropPing(k pingKey, p *ping) closer {
	delete(f.pings, k)
	p.client.echo--
	f.descriptors.Give()
	f.forget(p.client)
	return p
}

func (p *ping) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	// Without the lock: closing waits for the reader, which may want it.
	p.file.Close()
}

func (p *ping) deadline() time.Time {
	if p.gone.Load() {
		return time.Time{}
	}
	return time.Unix(0, p.last.Load()).Add(echoTimeout)
}

func (p *ping) send(e packet.Echo) error {
	p.last.Store(p.f.now().UnixNano())
	b := make([]byte, packet.ICMPLen+len(e.Data))
	b[0] = packet.ICMPEchoRequest
	if e.Dst.Is6() {
		b[0] = packet.ICMPv6EchoRequest
	}
	binary.BigEndian.PutUint16(b[6:8], e.Seq) // checksum and identifier are the kernel's
	copy(b[packet.ICMPLen:], e.Data)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	if next := onward(e.TTL, e.TOS, e.DontFragment); next != p.path {
		next.set(p.fd, e.Dst.Is4(), p.path)
		p.path = next
	}
	return p.out.send(p.fd, netip.AddrPortFrom(e.Dst, 0), b, 0)
}

// receive gives the container the replies, until the ping is dropped.
func (p *ping) receive() {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return
	}
	r := receiver{raw: raw, received: p.received, failed: p.failed, turn: p.client.Turn, in: dgram.Gatherer{Apart: true}}
	if err := r.run(); !errors.Is(err, os.ErrClosed) {
		p.f.log.Debug("ping: reading ended", "error", err)
	}
}

// received takes a reply, which the kernel has matched with our identifier.
func (p *ping) received(in dgram.Message) {
	b := in.Payload
	if len(b) < packet.ICMPLen {
		return
	}
	p.last.Store(p.f.now().UnixNano())
	p.f.gw.SendEchoReply(in.From.Addr(), p.key.addr, p.key.id, binary.BigEndian.Uint16(b[6:8]), b[packet.ICMPLen:])
}

// failed tells the container of the ICMP error that its request met.
func (p *ping) failed(e socketError) {
	if len(e.data) >= packet.ICMPLen {
		p.f.gw.SendICMPError(e.speaker(), e.icmp, p.quote(e.dst.Addr(), e.data))
	}
}

// quote makes again the head of a request that the container sent. message is
// what left, with the kernel's identifier.
func (p *ping) quote(dst netip.Addr, message []byte) []byte {
	binary.BigEndian.PutUint16(message[4:6], p.key.id)
	p.mu.Lock()
	ttl := p.path.hops
	p.mu.Unlock()
	if dst.Is4() {
		b := make([]byte, packet.IPv4Len+len(message))
		packet.PutIPv4(b, p.key.addr, dst, packet.ProtoICMP, ttl, len(b))
		copy(b[packet.IPv4Len:], message)
		return b
	}
	b := make([]byte, packet.IPv6Len+len(message))
	packet.PutIPv6(b, p.key.addr, dst, packet.ProtoICMPv6, ttl, len(message))
	copy(b[packet.IPv6Len:], message)
	return b
}
