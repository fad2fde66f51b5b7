package forwarder

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/splice"
)

// connectTimeout is when a connection attempt is given up. It is what Linux
// needs for its six SYNs with the default settings, so that a container's own
// attempt, started a moment earlier, ends as it would on the host.
const connectTimeout = 130 * time.Second

// keepaliveIdle is when a silent connection is asked whether its container is
// still there: a container that was killed sends nothing more.
const keepaliveIdle = 2 * time.Hour

// pendingTCP is a connection whose host side is not yet connected.
type pendingTCP struct {
	client *client
	// syn is the container's SYN, IP and TCP header, to be quoted in errors.
	syn []byte
	// to is what the host connects to: what the container does, or a port of the
	// host's loopback.
	to netip.AddrPort
	// from is where a connection to the host's loopback comes from, once it is told to
	// Options.Hairpins.
	from netip.AddrPort
	// met is the ICMP error that ended the attempt; its dst is invalid without.
	met socketError
}

// loopback reports whether the connection stays on the host.
func (p *pendingTCP) loopback() bool { return p.to.Addr().IsLoopback() }

// onward is the path that the SYN was to take.
func (p *pendingTCP) onward() path {
	ip := p.syn
	ttl, tos := ip[8], ip[1]
	if ip[0]>>4 == 6 {
		ttl, tos = ip[7], ip[0]<<4|ip[1]>>4
	}
	to := path{tos: tos &^ 3} // ECN is each connection's own
	if ttl != usualTTL && ttl > 1 {
		to.hops = ttl - 1
	}
	return to
}

// usualTTL is Linux's default. A connection that has it leaves with the host's own: it
// ends here and begins anew, so that nobody could tell the difference of one, and
// two system calls less are made for it.
const usualTTL = 64

// HandleTCP takes segments that belong to no connection; it has the contract
// of stack.SetTransportProtocolHandler. A SYN starts to connect the host side;
// repetitions of it meanwhile are ignored.
func (f *Forwarder) HandleTCP(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	hdr := header.TCP(pkt.TransportHeader().Slice())
	if len(hdr) < header.TCPMinimumSize || hdr.Flags()&(header.TCPFlagSyn|header.TCPFlagAck) != header.TCPFlagSyn {
		return false // netstack answers with a RST
	}
	src, dst := addrOf(id.RemoteAddress), addrOf(id.LocalAddress)
	to := netip.AddrPortFrom(dst, id.LocalPort)
	if f.isGateway(dst) {
		var ok bool
		if to, ok = f.hostPort(packet.ProtoTCP, to); !ok {
			if f.noHost {
				f.gw.SendICMPError(netip.Addr{}, f.closedPort(dst.Is4()), synOf(pkt, hdr))
			}
			return f.noHost // else netstack answers with a RST
		}
	} else if !f.permitted(src, dst) {
		return true
	}
	f.mu.Lock()
	if f.closed || f.pending[id] != nil {
		f.mu.Unlock()
		return true
	}
	c := f.clients.Of(src)
	why := numRefusals
	switch {
	case c.halfOpen >= c.Limits.HalfOpen:
		why = refusedHalfOpen
	case c.tcp+c.halfOpen >= c.Limits.TCP: // those under way may all come about
		why = refusedTCP
	case !f.descriptors.Take(c.flows()):
		why = refusedShare
	}
	if why != numRefusals {
		f.refuse(c, why)
		f.forget(c)
		f.mu.Unlock()
		return true
	}
	c.halfOpen++
	f.pending[id] = &pendingTCP{client: c, syn: synOf(pkt, hdr), to: to}
	f.flows.Add(1)
	f.mu.Unlock()
	if !f.accept.HandlePacket(id, pkt) {
		f.settle(id, false)
		f.flows.Done()
		return false
	}
	return true
}

// settle ends the pending state of a connection; established says whether it
// counts as a connection from now on. It gives the client's number of those.
func (f *Forwarder) settle(id stack.TransportEndpointID, established bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pending[id]
	delete(f.pending, id)
	p.client.halfOpen--
	if established {
		p.client.tcp++
	} else {
		f.descriptors.Give()
		f.forget(p.client)
	}
	return p.client.tcp
}

// handleRequest runs on a goroutine of its own, from SYN to the connection's
// end.
func (f *Forwarder) handleRequest(r *tcp.ForwarderRequest) {
	defer f.flows.Done()
	id := r.ID()
	f.mu.Lock()
	p := f.pending[id]
	f.mu.Unlock()

	conn, err := f.connect(p)
	if p.from.IsValid() {
		defer f.hairpins.Forget(p.from)
	}
	if err != nil {
		// In this order: a repeated SYN that came in between would be pending
		// here, where netstack has the one before in hand and drops it.
		f.reject(r, p, err)
		f.settle(id, false)
		return
	}
	var wq waiter.Queue
	done := f.boundHandshake(p.client.ctx, &wq)
	ep, terr := r.CreateEndpoint(&wq)
	done()
	r.Complete(terr != nil)
	if terr != nil {
		f.settle(id, false)
		conn.Reset()
		return
	}
	splice.Confine(ep, f.settle(id, true))
	keepAlive(ep)
	err = splice.Relay(p.client.ctx, ep, &wq, conn, p.client.Turn)
	f.log.Debug("tcp flow ended", "from", id.RemoteAddress, "to", id.LocalAddress, "port", id.LocalPort, "error", err)

	f.mu.Lock()
	p.client.tcp--
	f.descriptors.Give()
	f.forget(p.client)
	f.mu.Unlock()
}

// handshakeTimeout bounds the container's answer to a SYN-ACK, which takes no wire:
// netstack would wait for more than a minute, and whoever closes this Forwarder
// with it. Meanwhile the SYN-ACK is repeated twice.
const handshakeTimeout = 5 * time.Second

// wakeAgain is how often a handshake is told to end: it may not wait yet when it is
// told first.
const wakeAgain = 50 * time.Millisecond

// boundHandshake ends the handshake that waits on wq with c, and when it takes too
// long. done is called when it has ended.
func (f *Forwarder) boundHandshake(c context.Context, wq *waiter.Queue) (done func()) {
	c, cancel := context.WithTimeout(c, handshakeTimeout)
	over := make(chan struct{})
	stop := context.AfterFunc(c, func() {
		again := time.NewTicker(wakeAgain)
		defer again.Stop()
		for {
			// Woken without being connected, it gives up.
			wq.Notify(waiter.WritableEvents)
			select {
			case <-over:
				return
			case <-again.C:
			}
		}
	})
	return func() {
		close(over)
		stop()
		cancel()
	}
}

// connect connects the host side. The end of c ends the attempt.
func (f *Forwarder) connect(p *pendingTCP) (*splice.Conn, error) {
	var h splice.Hooks
	if !p.loopback() {
		h = f.hooks(p)
	} else if f.hairpins != nil {
		h.Prepare = func(fd int) (err error) {
			p.from, err = f.hairpins.Bind(fd, p.to.Addr().Is4())
			return err
		}
	}
	conn, err := splice.Dial(p.client.ctx, p.to, connectTimeout, p.client.Turn, h)
	if err != nil && p.client.ctx.Err() != nil {
		return nil, syscall.ECONNABORTED
	}
	return conn, err
}

// hooks make an attempt to the outside take the SYN's path and the network's way out, and
// keep the ICMP error that it meets, with the address of who sent it.
func (f *Forwarder) hooks(p *pendingTCP) splice.Hooks {
	v4 := p.to.Addr().Is4()
	return splice.Hooks{
		Prepare: func(fd int) error {
			wantErrors(fd, v4)
			p.onward().set(fd, v4, path{})
			return f.out.bindLate(fd, v4)
		},
		Ended: func(fd int, err error) {
			if err == nil {
				wantNoErrors(fd, v4)
				return
			}
			var q errorQueue
			for e, ok := q.read(fd); ok; e, ok = q.read(fd) {
				if e.dst.IsValid() {
					e.data = nil
					p.met = e
				}
			}
		},
	}
}

// reject tells the container why its connection did not come about, as the
// network itself would have done.
func (f *Forwarder) reject(r *tcp.ForwarderRequest, p *pendingTCP, err error) {
	met := p.met.dst.IsValid()
	if !met && (errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)) {
		r.Complete(true)
		return
	}
	r.Complete(false)
	if met {
		f.gw.SendICMPError(p.met.speaker(), p.met.icmp, p.syn)
		return
	}
	if errors.Is(err, ErrOutbound) {
		f.refuseOutbound(p.client, "tcp flow", err)
	}
	if e, ok := icmpFor(err, p.syn[0]>>4 == 4); ok {
		f.gw.SendICMPError(netip.Addr{}, e, p.syn)
		return
	}
	if errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, syscall.ECONNABORTED) {
		return // silence is what the container would have met
	}
	f.mu.Lock()
	f.refuse(p.client, refusedSocket)
	f.mu.Unlock()
	f.warn("tcp flow: no socket", err)
}

// icmpFor gives the ICMP error that stands for a socket error.
func icmpFor(err error, v4 bool) (packet.ICMPError, bool) {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return packet.ICMPError{}, false
	}
	switch no {
	case syscall.ECONNREFUSED:
		return packet.PortUnreachable(v4), true
	case syscall.EHOSTUNREACH, syscall.EHOSTDOWN:
		return packet.HostUnreachable(v4), true
	case syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EADDRNOTAVAIL, syscall.EINVAL, syscall.EAFNOSUPPORT, syscall.ENODEV, syscall.ENXIO:
		return packet.NetUnreachable(v4), true
	case syscall.EACCES, syscall.EPERM:
		return packet.Prohibited(v4), true
	}
	return packet.ICMPError{}, false
}

// synOf copies the headers of a SYN: what an ICMP error has to quote for the
// container's kernel to find the connection it is about. Lengths are those of
// the quoted part.
func synOf(pkt *stack.PacketBuffer, hdr header.TCP) []byte {
	ip := pkt.NetworkHeader().Slice()
	b := make([]byte, 0, len(ip)+header.TCPMinimumSize)
	b = append(append(b, ip...), hdr[:header.TCPMinimumSize]...)
	if ip[0]>>4 == 4 {
		binary.BigEndian.PutUint16(b[2:4], uint16(len(b)))
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:12], ^packet.Sum(b[:len(ip)], 0))
	} else {
		binary.BigEndian.PutUint16(b[4:6], uint16(len(b)-packet.IPv6Len))
	}
	return b
}

func keepAlive(ep tcpip.Endpoint) {
	ep.SocketOptions().SetKeepAlive(true)
	idle := tcpip.KeepaliveIdleOption(keepaliveIdle)
	ep.SetSockOpt(&idle)
}

func addrOf(a tcpip.Address) netip.Addr {
	if a.Len() == header.IPv4AddressSize {
		return netip.AddrFrom4(a.As4())
	}
	return netip.AddrFrom16(a.As16())
}
