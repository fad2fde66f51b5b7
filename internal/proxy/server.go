package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nowait"
)

// MaxConnections bounds the connections of a Server: each is two descriptors, and a
// process usually has 1024.
const MaxConnections = 400

// handshakeTimeout bounds how long a client may take to say what it wants.
const handshakeTimeout = 10 * time.Second

// ErrUnknownHost is what Dial's errors match for a host that nobody is known as.
var ErrUnknownHost = errors.New("unknown host")

// Options of a Server. Dial is required.
type Options struct {
	// Dial connects to a host as a client named it. Its connections can be
	// half-closed by CloseWrite. Errors match ErrUnknownHost or a syscall.Errno.
	Dial func(ctx context.Context, host string, port uint16) (net.Conn, error)
	// Token is the password that clients give; "" = none is asked for.
	Token string
	// Logger gets what was refused; nil = nobody does.
	Logger *slog.Logger
}

// Server is a proxy.
type Server struct {
	opts  Options
	log   *slog.Logger
	room  chan struct{}
	web   *http.Server
	toWeb chan net.Conn
}

// New makes a Server.
func New(o Options) *Server {
	s := &Server{opts: o, log: o.Logger, room: make(chan struct{}, MaxConnections), toWeb: make(chan net.Conn)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.web = s.newWeb()
	return s
}

// Serve serves l's clients until ctx ends, which closes l and their connections. The
// error is that of accepting.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var running sync.WaitGroup
	defer running.Wait()
	defer s.web.Close()
	defer cancel()
	running.Go(func() { _ = s.web.Serve(&handed{conns: s.toWeb, addr: l.Addr(), done: ctx.Done()}) })
	for {
		select {
		case s.room <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		running.Go(func() {
			counted := &countedConn{Conn: conn, leave: func() { <-s.room }}
			defer context.AfterFunc(ctx, func() { counted.Close() })()
			s.serve(ctx, counted)
		})
	}
}

// serve finds out what a client speaks.
func (s *Server) serve(ctx context.Context, conn *countedConn) {
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	r := bufio.NewReader(conn)
	first, err := r.Peek(1)
	if err != nil {
		conn.Close()
		return
	}
	from := &buffered{Conn: conn, reader: r}
	if first[0] == socksVersion {
		defer conn.Close()
		s.serveSOCKS(ctx, from)
		return
	}
	_ = conn.SetDeadline(time.Time{}) // the HTTP server has its own
	select {
	case s.toWeb <- from:
		<-conn.closed()
	case <-ctx.Done():
		conn.Close()
	}
}

func (s *Server) serveSOCKS(ctx context.Context, c net.Conn) {
	if err := greet(c, s.opts.Token); err != nil {
		s.log.Info("client refused", "client", c.RemoteAddr(), "error", err)
		return
	}
	t, reply, err := readRequest(c)
	var to net.Conn
	if err == nil {
		if to, err = s.dial(ctx, t.host, t.port); err != nil {
			reply = replyOf(err)
		}
	}
	if err != nil {
		s.log.Info("connection refused", "host", t.host, "port", t.port, "error", err)
		_ = answerRequest(c, reply) // the client is told, or gone
		return
	}
	defer to.Close()
	if answerRequest(c, replyDone) != nil {
		return
	}
	_ = c.SetDeadline(time.Time{})
	relay(ctx, c, to)
}

// dial connects to a container, and is told when that is cut.
func (s *Server) dial(ctx context.Context, host string, port uint16) (net.Conn, error) {
	c, err := s.opts.Dial(ctx, host, port)
	if err != nil {
		return nil, err
	}
	return NewJoined(c), nil
}

// relay passes bytes both ways until both ends are done or one fails, or the client is
// gone altogether: a container that keeps its end open would hold a place for ever.
// A client is reset unless what it got has ended in order.
func relay(ctx context.Context, client, to net.Conn) {
	resetOnClose(client, true)
	defer context.AfterFunc(ctx, func() { client.Close(); to.Close() })()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pass(client, to)
	}()
	pass(to, client)
	if hungUp(client) {
		client.Close()
		to.Close()
	}
	<-done
}

// hungUp waits until neither direction of c is open any more. A unix socket tells at once
// that its other end was closed; of TCP it is what keep-alive finds out. False means that
// it cannot be told, or that c is closed.
func hungUp(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd)}} // hang-up and errors are always told
		_, err := unix.Poll(p, 0)
		return err != nil && err != unix.EINTR || p[0].Revents != 0
	}) == nil
}

// pass copies to the end of from, and ends what is sent to the other; a failure ends
// both directions.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err == nil && closeWrite(to) == nil {
		return
	}
	to.Close()
	from.Close()
}

// closeWrite ends what is sent to c: it is whole now, and arrives whatever comes.
func closeWrite(c net.Conn) error {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	resetOnClose(c, false)
	return half.CloseWrite()
}

// resetOnClose makes the close of a TCP connection a reset, also the one by the end of
// this process. A unix socket knows none, and closes as ever.
func resetOnClose(c net.Conn, yes bool) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { nowait.ResetOnClose(fd, yes) }) // or it is closed
}

// countedConn has a place in Server.room until it is closed.
type countedConn struct {
	net.Conn
	leave func()
	once  sync.Once
	init  sync.Once
	done  chan struct{}
}

func (c *countedConn) closed() chan struct{} {
	c.init.Do(func() { c.done = make(chan struct{}) })
	return c.done
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.closed()); c.leave() })
	return err
}

// CloseWrite ends what is sent.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// SyscallConn is that of the connection, where it has one.
func (c *countedConn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// buffered is a connection of which the first bytes have been looked at.
type buffered struct {
	net.Conn
	reader *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.reader.Read(p) }

// CloseWrite ends what is sent.
func (b *buffered) CloseWrite() error { return b.Conn.(*countedConn).CloseWrite() }

// SyscallConn is that of the connection, where it has one.
func (b *buffered) SyscallConn() (syscall.RawConn, error) { return b.Conn.(*countedConn).SyscallConn() }

// handed is a listener of connections that somebody else has accepted.
type handed struct {
	conns <-chan net.Conn
	addr  net.Addr
	done  <-chan struct{}
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handed) Close() error   { return nil }
func (h *handed) Addr() net.Addr { return h.addr }
