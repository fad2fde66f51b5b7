package dns

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/internal/turn"
)

// maxMessage is what the two bytes before a message on a stream can say.
const maxMessage = 65535

// ServeTCP answers on l until Close or until l fails, and closes l. After Close
// it returns nil.
func (s *Server) ServeTCP(l net.Listener) error {
	defer l.Close()
	if !s.enter(l) {
		return nil
	}
	defer s.leave(l)
	for {
		// A connection is some 50 microseconds of netstack's work.
		s.opts.Yield()
		c, err := l.Accept()
		switch {
		case s.ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED):
			// It passes. Not to spin until it does, a moment's pause.
			s.log.Warn("connection not accepted", "error", err)
			select {
			case <-s.ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		case err != nil:
			return fmt.Errorf("DNS of network %q: accept on %v: %w", s.opts.NetworkName, l.Addr(), err)
		}
		s.startConn(c)
	}
}

// startConn gives conn a goroutine, or resets it where there are too many.
func (s *Server) startConn(conn net.Conn) {
	src := sourceOf(conn)
	c := s.clients.takeConnection(src)
	if c == nil {
		s.stats.refused.Add(1)
		reset(conn)
		return
	}
	if !s.enter(conn) {
		s.clients.giveConnection(c)
		reset(conn)
		return
	}
	go func() {
		defer s.leave(conn)
		defer s.clients.giveConnection(c) // when it is really gone: Close waits
		defer conn.Close()
		s.serveConn(conn, src, c.Turn)
	}()
}

// reset closes a connection without a word more. What is closed in order stays in
// memory until the client has agreed to it.
func reset(c io.Closer) {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0) // else it is closed in order
	}
	_ = c.Close() // it is going away; there is nobody to tell
}

func sourceOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{} // all such share one quota
}

// stream writes one connection's answers, which may come from several
// goroutines and in any order (RFC 7766, 6.2.1.1).
type stream struct {
	conn    net.Conn
	timeout time.Duration

	mu  sync.Mutex
	buf []byte
}

func (w *stream) write(msg []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = binary.BigEndian.AppendUint16(w.buf[:0], uint16(len(msg)))
	w.buf = append(w.buf, msg...)
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.timeout)); err == nil {
		_, err = w.conn.Write(w.buf)
		if err == nil {
			return
		}
	}
	// Half a message may be out. This also ends the reader.
	reset(w.conn)
}

// serveConn answers a connection's questions until the client ends it, is idle
// or sends what isn't DNS; then waits for the answers still under way.
func (s *Server) serveConn(c net.Conn, src netip.Addr, t *turn.Turn) {
	w := &stream{conn: c, timeout: s.limits.Write}
	slots := make(chan struct{}, s.limits.Pipeline)
	var pending sync.WaitGroup
	defer pending.Wait()
	r := bufio.NewReader(c)
	var buf [maxQuery]byte
	for {
		// One deadline for the whole message: a byte now and then doesn't extend it.
		if c.SetReadDeadline(time.Now().Add(s.limits.Idle)) != nil {
			return
		}
		msg, whole, err := readMessage(r, buf[:])
		if err != nil {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		pending.Add(1)
		s.handleMessage(src, msg, whole, w, t, func() {
			<-slots
			pending.Done()
		})
		if !whole {
			return
		}
	}
}

// handleMessage answers one message of a stream. over is called once when that
// is done, which may be after handleMessage returned.
func (s *Server) handleMessage(src netip.Addr, msg []byte, whole bool, w *stream, t *turn.Turn, over func()) {
	// Netstack's part of the work is some ten times this one's.
	t.Begin()
	t.Pass()
	sc := getScratch()
	defer putScratch(sc)
	if !whole {
		// Only the header is here, so reading it never comes to good.
		if v := sc.q.read(msg); v != silence {
			s.stats.queries.Add(1)
			s.stats.malformed.Add(1)
			s.refuse(sc, int(v))
		}
	} else if up, done := s.answer(sc, src, msg, true); !done {
		if s.forward(sc, up, src, true, w.write, over) {
			return
		}
	}
	if len(sc.out) > 0 {
		w.write(sc.out)
	}
	over()
}

// errNotDNS ends a connection whose next message has no header.
var errNotDNS = errors.New("message shorter than a DNS header")

// readMessage reads the next message of a stream into buf. Of one that doesn't
// fit only the header is read: whole is false, and the stream is out of step.
func readMessage(r io.Reader, buf []byte) (msg []byte, whole bool, err error) {
	var prefix [2]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, false, err
	}
	n := int(binary.BigEndian.Uint16(prefix[:]))
	if n < headerLen {
		return nil, false, errNotDNS
	}
	whole = n <= len(buf)
	if !whole {
		n = headerLen
	}
	_, err = io.ReadFull(r, buf[:n])
	return buf[:n], whole, err
}
