package portfwd

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/busypoll"
	"github.com/footbridge-net/footbridge/internal/dgram"
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

	out dgram.Sender

	// Of the reading goroutine.
	in       dgram.Gatherer
	err      syscall.Errno // of the last read
	failures int
	waited   bool // for the poller
	moved    int  // bytes since then
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
		s.l.forwarder.log.Warn("published port cannot read", "port", s.l.Addr(), "owner", s.l.mapping.Owner, "err", s.err)
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
// to read now, and none for those that wait.
var buffers = sync.Pool{New: func() any { return new(dgram.Room) }}

// drain reads what there is. It is false when there is nothing more, true when
// reading makes no sense for now.
func (s *udpServer) drain(uintptr) bool {
	for !s.stopped.Load() {
		switch s.err = s.take(); s.err {
		case 0:
			s.failures = 0
		case unix.EAGAIN:
			busypoll.Waiting(s.moved)
			s.waited, s.moved = true, 0
			return false
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
	if s.waited {
		s.waited = false
		s.l.turn.Rested()
	}
	room := buffers.Get().(*dgram.Room)
	defer buffers.Put(room)
	n, err := s.in.Receive(s.l.socket.fd, room, s.received)
	s.moved += n
	return err
}

// received sends one datagram, or several of one client, to the container.
func (s *udpServer) received(m dgram.Message) {
	c, f := &s.l.counters, s.l.forwarder
	n := uint64(dgram.Count(len(m.Payload), m.Segment))
	switch {
	case !m.Local.IsValid() || !m.From.IsValid() || m.From.Port() == 0:
		c.dropSource.Add(n)
		return
	case !m.Direct:
		// A wildcard socket gets broadcasts and all-nodes multicast too. They
		// are not for a container on a network of its own.
		c.dropNotToUs.Add(n)
		return
	}
	key := flowKey{client: m.From, local: m.Local}
	if m.From.Addr().IsLinkLocalUnicast() || m.Local.IsLinkLocalUnicast() {
		key.ifindex = m.Interface
	}
	f.mu.RLock()
	fl := s.flows[key]
	f.mu.RUnlock()
	if fl == nil {
		if fl = f.newFlow(s, key); fl == nil {
			c.dropSource.Add(n)
			return
		}
	}
	fl.last.Store(int64(f.clock.now()))
	if err := f.gateway.SendDatagrams(fl.reply.shown, fl.reply.container, m.Payload, m.Segment); err != nil {
		c.dropIn.Add(n)
		return
	}
	c.datagramsIn.Add(n)
	c.bytesIn.Add(uint64(len(m.Payload)))
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

// maxFrameSegments is more than a container's kernel puts into one frame: beyond it,
// a frame was made by hand to keep us busy, down to 65,000 datagrams of one byte.
const maxFrameSegments = 128

// answer sends payload to the flow's client, as datagrams of size bytes if that
// is not 0. Forwarder.mu is held for reading, which keeps the socket open.
func (s *udpServer) answer(fl *flow, payload []byte, size int) {
	c := &s.l.counters
	all, lost := dgram.Count(len(payload), size), 0
	if all > maxFrameSegments {
		c.dropOut.Add(1)
		return
	}
	sent, err := s.out.Send(s.l.socket.fd, &fl.name, &fl.source, payload, size)
	if err != 0 {
		lost = all - sent/max(size, 1)
	}
	c.datagramsOut.Add(uint64(all - lost))
	c.bytesOut.Add(uint64(sent))
	c.dropOut.Add(uint64(lost))
}

// address writes down how to reach the client, and the local address to send
// from. The interface is named only where the address means nothing without it;
// everything else is for the routing table.
func (fl *flow) address() {
	fl.name.Set(fl.key.client)
	fl.name.SetScope(fl.key.ifindex)
	fl.source.Set(fl.key.local, fl.key.ifindex)
}
