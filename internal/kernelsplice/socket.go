package kernelsplice

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nowait"
	"github.com/footbridge-net/footbridge/internal/turn"
)

// Socket is a TCP socket on the runtime's poller.
type Socket struct {
	file *os.File
	raw  syscall.RawConn
	fd   int

	local     netip.AddrPort
	began     time.Time // of the last connection
	ready     time.Time // when it may connect again
	interrupt bool      // its deadline is over
}

// congestion is the congestion control of sockets that are joined, whatever the host's or the
// container's is. Both ends are on this machine, where no queue of a network fills; one that
// paces what it sends (BBR) is three to four times slower there. It is the kernel's own, and
// allowed to everybody unless the administrator took it back; then it stays as it was.
const congestion = "cubic"

// NewSocket takes over fd, a TCP socket that does not block, also when it fails. Urgent
// data becomes data like any other.
func NewSocket(fd int) (*Socket, error) {
	s := &Socket{file: os.NewFile(uintptr(fd), "tcp"), fd: fd}
	var err error
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, err
	}
	nowait.SetOption(uintptr(fd), unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
	nowait.SetText(uintptr(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, congestion)
	return s, nil
}

// ErrOwnPort: a socket was about to connect to itself. It is of no use for this port.
var ErrOwnPort = errors.New("a socket has the port that it is to connect to")

// NewInner is NewSocket of one inside a container, which is to be bound.
func NewInner(fd int) (*Socket, error) {
	s, err := NewSocket(fd)
	if err != nil {
		return nil, err
	}
	sa, err := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		s.local = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		s.local = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	if err == nil && s.local.Port() == 0 {
		err = errUnbound
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

var errUnbound = errors.New("a socket inside a container without a port")

// Local is the address to which a socket of NewInner is bound.
func (s *Socket) Local() netip.Addr { return s.local.Addr() }

// Connect connects a socket of NewInner to a port of the address to which it is bound. It is
// over when the handshake is. Errors are syscall.Errno: ECONNREFUSED,
// EADDRNOTAVAIL where a connection before is in the way, and
// ETIMEDOUT when ctx ends. After an error other than ECONNREFUSED the socket is to be closed.
func (s *Socket) Connect(ctx context.Context, to netip.AddrPort, t *turn.Turn) error {
	switch {
	case s.local.Port() == to.Port():
		return ErrOwnPort
	case s.local.Addr() != to.Addr():
		return syscall.EADDRNOTAVAIL
	}
	start := t.Begin()
	s.began = start
	done, err := s.tryConnect(to)
	t.End(start)
	if done || err != nil {
		return err
	}
	// The other side is this machine, so this is rare: its queue is full.
	stop := context.AfterFunc(ctx, s.expire)
	werr := s.raw.Write(func(uintptr) bool {
		done, err = s.tryConnect(to)
		return done || err != nil
	})
	if !stop() || werr != nil {
		return syscall.ETIMEDOUT
	}
	return err
}

// tryConnect begins to connect, or asks what came of it.
func (s *Socket) tryConnect(to netip.AddrPort) (done bool, err error) {
	var at nowait.Address
	at.Set(to)
	// On this machine the handshake is over when the first call returns, though it
	// does not say so.
	for range 2 {
		switch e := at.Connect(uintptr(s.fd)); e {
		case 0, unix.EISCONN:
			return true, nil
		case unix.EINPROGRESS, unix.EALREADY:
		default:
			return false, e
		}
	}
	return false, nil
}

// Closed waits until nothing of the connection is left but perhaps a TIME-WAIT: all has been
// taken by the other side. After an error the socket is to be closed.
func (s *Socket) Closed(ctx context.Context) error {
	closed := func(uintptr) bool {
		_, err := unix.Getpeername(s.fd)
		return err == unix.ENOTCONN
	}
	if closed(0) {
		return nil
	}
	stop := context.AfterFunc(ctx, s.expire)
	err := s.raw.Read(closed)
	if !stop() && err == nil {
		err = syscall.ECONNABORTED
	}
	return err
}

// Disconnect makes the socket ready for another connection. One that is there is
// reset. moved is how many bytes it has sent.
func (s *Socket) Disconnect(moved int64) error {
	var none unix.RawSockaddr // AF_UNSPEC
	_, _, e := unix.RawSyscall(unix.SYS_CONNECT, uintptr(s.fd), uintptr(unsafe.Pointer(&none)), unsafe.Sizeof(none))
	if e != 0 {
		return e
	}
	if s.interrupt {
		s.interrupt = false
		if err := s.file.SetDeadline(time.Time{}); err != nil {
			return err
		}
	}
	// A port's first sequence number grows by one in 64 ns (net/core/secure_seq.c), its
	// timestamps by one a millisecond: one of the two is to be higher than the last of the
	// connection before.
	s.ready = time.Now().Add(2 * time.Millisecond)
	if moved < 1<<20 {
		if t := s.began.Add(time.Duration(moved+1000) * 64); t.Before(s.ready) {
			s.ready = t
		}
	}
	return nil
}

// Ready reports whether the socket may connect at t: see the package comment.
func (s *Socket) Ready(t time.Time) bool { return !t.Before(s.ready) }

// end ends the outgoing direction. What was written is whole now, so it arrives whatever becomes of this
// process. One inside a container stays as it is: nobody closes it before all is taken (Closed), and its next
// connection is to be reset again.
func (s *Socket) end() error {
	if !s.local.IsValid() {
		nowait.ResetOnClose(uintptr(s.fd), false)
	}
	return failure(nowait.Shutdown(uintptr(s.fd), unix.SHUT_WR))
}

// Reset closes the socket, and the connection with a RST.
func (s *Socket) Reset() {
	nowait.ResetOnClose(uintptr(s.fd), true)
	_ = s.file.Close()
}

// Close closes the socket. The kernel delivers what was written before an end that Relay has passed on.
func (s *Socket) Close() { _ = s.file.Close() }

// expire makes calls that wait return, now and later.
func (s *Socket) expire() { _ = s.file.SetDeadline(time.Unix(1, 0)) }

// hungUp looks whether neither direction is open any more, and why if that is a failure.
func (s *Socket) hungUp() (ended bool, err error) {
	events, e := nowait.Events(uintptr(s.fd), 0) // hang-up and errors are always told
	if e != 0 {
		return true, e
	}
	if events&unix.POLLERR != 0 {
		if code, e := nowait.Option(uintptr(s.fd), unix.SOL_SOCKET, unix.SO_ERROR); e == 0 && code != 0 {
			return true, syscall.Errno(code)
		}
	}
	return events&unix.POLLHUP != 0, nil
}
