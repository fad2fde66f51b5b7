package portfwd

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// udpServer reads clients' datagrams and sends them to the container, and
// sends the container's answers to clients.
type udpServer struct {
	l       *Listener
	flows   map[flowKey]*flow // under Forwarder.mu
	stopped atomic.Bool       // set under Forwarder.mu
	ended   chan struct{}
	running sync.WaitGroup

	noSegments atomic.Bool // the host cannot send several datagrams at once

	// Of the reading goroutine.
	in       receiver
	failures int
}

func newUDPServer(l *Listener) *udpServer {
	return &udpServer{l: l, flows: make(map[flowKey]*flow), ended: make(chan struct{})}
}

func (s *udpServer) run() { s.running.Go(s.readLoop) }

func (s *udpServer) stop() {
	s.l.forwarder.removeAll(s)
	close(s.ended)
}

func (s *udpServer) wait() { s.running.Wait() }

// maxFailures is how many reads may fail in a row before there is a pause. The
// kernel reports an ICMP error once, with the next read; more than a few mean
// that it is something else.
const maxFailures = 16

const (
	readPauseMin = 10 * time.Millisecond
	readPauseMax = time.Second
)

func (s *udpServer) readLoop() {
	pause := readPauseMin
	drain := s.drain
	for {
		if s.l.socket.raw.Read(drain) != nil || s.stopped.Load() {
			return
		}
		s.l.forwarder.log.Warn("published port cannot read", "port", s.l.Addr(), "owner", s.l.mapping.Owner, "err", s.in.err)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-s.ended:
			t.Stop()
			return
		}
		s.failures = 0
		pause = min(2*pause, readPauseMax)
	}
}

// buffers are for reading: there is one for each listener that has something
// to read now, and none for those that wait. 64 KiB hold the largest datagram.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// drain reads what there is. It is false when there is nothing more, true when
// reading makes no sense for now.
func (s *udpServer) drain(uintptr) bool {
	for !s.stopped.Load() {
		switch err := s.take(); err {
		case 0:
			s.failures = 0
		case unix.EAGAIN:
			return false
		case unix.EINTR:
		default:
			s.l.counters.socketErrors.Add(1)
			if s.failures++; s.failures == maxFailures {
				return true
			}
		}
	}
	return true
}

// take carries one datagram, or several of one client, when it is the container's
// turn. Who waits for it holds no buffer.
func (s *udpServer) take() syscall.Errno {
	start := s.l.turn.Begin()
	defer s.l.turn.End(start)
	buf := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buf)
	payload, ok := s.in.recv(s.l.socket.fd, buf[:])
	if !ok {
		return s.in.err
	}
	s.received(payload)
	return 0
}

// received sends one datagram, or several of one client, to the container.
func (s *udpServer) received(payload []byte) {
	c, f := &s.l.counters, s.l.forwarder
	info, ok := parseControl(s.in.controlData())
	client := s.in.client()
	switch {
	case !ok || !client.IsValid() || client.Port() == 0:
		c.dropSource.Add(1)
		return
	case !info.direct:
		// A wildcard socket gets broadcasts and all-nodes multicast too. They
		// are not for a container on a network of its own.
		c.dropNotToUs.Add(1)
		return
	}
	key := flowKey{client: client, local: info.local}
	if client.Addr().IsLinkLocalUnicast() || info.local.IsLinkLocalUnicast() {
		key.ifindex = info.ifindex
	}
	f.mu.RLock()
	fl := s.flows[key]
	f.mu.RUnlock()
	if fl == nil {
		if fl = f.newFlow(s, key); fl == nil {
			c.dropSource.Add(1)
			return
		}
	}
	fl.last.Store(int64(f.clock.now()))
	size := info.segment
	if size == 0 {
		size = len(payload)
	}
	for {
		n := min(size, len(payload))
		if err := f.gateway.SendUDP(fl.reply.shown, fl.reply.container, payload[:n]); err != nil {
			c.dropIn.Add(1)
		} else {
			c.datagramsIn.Add(1)
			c.bytesIn.Add(uint64(n))
		}
		if payload = payload[n:]; len(payload) == 0 {
			return
		}
	}
}

// HandleDatagram takes a container's datagram if it answers a client of a
// published port, and sends it to that client from the address that the client
// used. False means that it is none of ours: a datagram to the outside.
//
// It may be called from several goroutines; it does not block, and d.Payload is
// not used after it returns. Every datagram from a container to any address
// but the gateway's services should pass here first, including those to the
// gateway's own addresses: they may answer a client that has no usable address.
func (f *Forwarder) HandleDatagram(d packet.Datagram) bool {
	if f.flowsNow.Load() == 0 {
		return false
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	fl := f.replies[replyKey{d.Src, d.Dst}]
	if fl == nil {
		return false
	}
	fl.last.Store(int64(f.clock.now()))
	fl.both.Store(true)
	fl.server.answer(fl, d.Payload, d.SegmentSize)
	return true
}

// maxSegments is the kernel's limit for one UDP_SEGMENT send (UDP_MAX_SEGMENTS
// before Linux 6.9, 128 since). maxFrameSegments is more than a container's
// kernel puts into one frame: beyond it, a frame was made by hand to keep us
// busy, down to 65,000 datagrams of one byte.
const (
	maxSegments      = 64
	maxFrameSegments = 128
)

// answer sends payload to the flow's client, as datagrams of size bytes if that
// is not 0. Forwarder.mu is held for reading, which keeps the socket open.
func (s *udpServer) answer(fl *flow, payload []byte, size int) {
	c := &s.l.counters
	if size <= 0 || size >= len(payload) {
		s.sent(s.send(fl, payload, 0), 1, len(payload))
		return
	}
	if len(payload) > maxFrameSegments*size {
		c.dropOut.Add(1)
		return
	}
	for len(payload) > 0 {
		n := min(maxSegments*size, len(payload))
		s.answerSegments(fl, payload[:n], size)
		payload = payload[n:]
	}
}

func (s *udpServer) answerSegments(fl *flow, payload []byte, size int) {
	if len(payload) > size && !s.noSegments.Load() {
		switch err := s.send(fl, payload, size); err {
		case unix.EIO, unix.ENOPROTOOPT, unix.EOPNOTSUPP:
			// No checksum offload on the way out, or a kernel before 4.18.
			s.noSegments.Store(true)
		case unix.EINVAL, unix.EMSGSIZE:
			// A segment is larger than the path's MTU and has to be fragmented.
		default:
			s.sent(err, (len(payload)+size-1)/size, len(payload))
			return
		}
	}
	for len(payload) > 0 {
		n := min(size, len(payload))
		s.sent(s.send(fl, payload[:n], 0), 1, n)
		payload = payload[n:]
	}
}

func (s *udpServer) sent(err syscall.Errno, datagrams, bytes int) {
	c := &s.l.counters
	if err != 0 {
		c.dropOut.Add(uint64(datagrams))
		return
	}
	c.datagramsOut.Add(uint64(datagrams))
	c.bytesOut.Add(uint64(bytes))
}

// send is one system call that does not block.
func (s *udpServer) send(fl *flow, payload []byte, size int) syscall.Errno {
	if size == 0 {
		return sendmsg(s.l.socket.fd, &fl.name, fl.nameLen, fl.control[:fl.ctlLen], payload)
	}
	control := fl.control // of several goroutines: not to be written in place
	n := fl.ctlLen + putSegment(control[fl.ctlLen:], uint16(size))
	return sendmsg(s.l.socket.fd, &fl.name, fl.nameLen, control[:n], payload)
}

// address writes down how to reach the client: its sockaddr, and the local
// address to send from. The interface is named only where the address means
// nothing without it; everything else is for the routing table.
func (fl *flow) address() {
	fl.nameLen = fl.name.set(fl.key.client, fl.key.ifindex)
	fl.ctlLen = putPktinfo(fl.control[:], fl.key.local, fl.key.ifindex)
}
