package splice

import (
	"context"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/turn"
)

// Conn is a connected TCP or unix socket of the host, readable and writable by system
// calls of the caller's choice under Go's netpoller. One goroutine may read
// while another writes.
type Conn struct {
	file *os.File
	raw  syscall.RawConn

	// The functions given to raw are made once, and their arguments and
	// results are kept here, so that a call allocates nothing.
	readable func(fd uintptr) bool
	pending  int
	readErr  error

	read1    func(fd uintptr)
	into     []byte
	got      int
	read1Err error

	writev   func(fd uintptr) bool
	source   Source
	writeErr error

	mu     sync.Mutex
	expiry time.Time // of waiting calls; zero is never
}

// NewConn takes over fd, a non-blocking connected stream socket. The fd is closed
// on error too. Urgent data becomes data like any other, which is what netstack
// makes of it in the other direction.
func NewConn(fd int) (*Conn, error) {
	c := &Conn{file: os.NewFile(uintptr(fd), "tcp")}
	raw, err := c.file.SyscallConn()
	if err != nil {
		c.file.Close()
		return nil, err
	}
	c.raw = raw
	c.readable = c.tryReadable
	c.read1 = c.tryRead
	c.writev = c.tryWritev
	// Out of the stream, an urgent byte would also hide how much there is to
	// read behind it: SIOCINQ counts up to it only.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
	return c, nil
}

// Hooks are called with the socket of a connection attempt. The zero value has none.
type Hooks struct {
	// Prepare is called before the attempt, which its error ends.
	Prepare func(fd int) error
	// Ended is called when the attempt has ended, and how, while the socket is open.
	Ended func(fd int, err error)
}

func (h Hooks) ended(fd int, err error) {
	if h.Ended != nil {
		h.Ended(fd, err)
	}
}

// Dial connects to dst and returns the connection once it is established. It
// gives up after timeout, or when ctx is done. Errors are syscall.Errno as
// connect(2) gives them, ETIMEDOUT for the timeout and for ctx. t is the turn of
// the container that asks for it.
func Dial(ctx context.Context, dst netip.AddrPort, timeout time.Duration, t *turn.Turn, h Hooks) (*Conn, error) {
	start := t.Begin()
	c, connected, err := dial(dst, h)
	t.End(start)
	if err != nil || connected {
		return c, err
	}
	c.file.SetWriteDeadline(time.Now().Add(timeout))
	stop := context.AfterFunc(ctx, c.interrupt)
	err = c.connected()
	_ = c.raw.Control(func(fd uintptr) { h.ended(int(fd), err) })
	if !stop() || err != nil {
		c.Close()
		if err == nil {
			err = syscall.ETIMEDOUT
		}
		return nil, err
	}
	c.file.SetWriteDeadline(time.Time{})
	return c, nil
}

// dial begins to connect to dst; connected says that this is over.
func dial(dst netip.AddrPort, h Hooks) (c *Conn, connected bool, err error) {
	family := unix.AF_INET6
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(dst.Port()), Addr: dst.Addr().As16()}
	if dst.Addr().Is4() {
		family = unix.AF_INET
		sa = &unix.SockaddrInet4{Port: int(dst.Port()), Addr: dst.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, false, err
	}
	// Small writes of the container must leave at once: it has applied its
	// own Nagle already.
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if h.Prepare != nil {
		if err := h.Prepare(fd); err != nil {
			unix.Close(fd)
			return nil, false, err
		}
	}
	err = unix.Connect(fd, sa)
	if err != unix.EINPROGRESS {
		h.ended(fd, err)
	}
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return nil, false, err
	}
	c, nerr := NewConn(fd)
	return c, err == nil, nerr
}

// connected waits for the end of a connection attempt under way.
func (c *Conn) connected() error {
	var result error
	err := c.raw.Write(func(fd uintptr) bool {
		// The state is looked at before the first wait, too: the poller may
		// have seen the end of the attempt before this call.
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			result = err
		case code != 0:
			result = syscall.Errno(code)
		default:
			// No error is not yet a connection.
			if _, err := unix.Getpeername(int(fd)); err == unix.ENOTCONN {
				return false
			}
		}
		return true
	})
	if err != nil {
		return syscall.ETIMEDOUT
	}
	return result
}

// Readable waits until bytes can be read and says how many; 0 without an error
// is the end of data.
func (c *Conn) Readable() (int, error) {
	if err := c.raw.Read(c.readable); err != nil {
		return 0, err
	}
	return c.pending, c.readErr
}

func (c *Conn) tryReadable(fd uintptr) bool {
	c.pending, c.readErr = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	if c.readErr != nil || c.pending > 0 {
		return true
	}
	// Nothing there: the end of data, an error, or too early to say.
	var b [1]byte
	n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return false
	case err != nil:
		c.readErr = err
	case n > 0: // it came a moment ago
		c.pending, c.readErr = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	}
	return true
}

// read is one read(2); the caller knows that bytes are there.
func (c *Conn) read(b []byte) (int, error) {
	c.into = b
	err := c.raw.Control(c.read1)
	c.into = nil
	if err != nil {
		return 0, err
	}
	return c.got, c.read1Err
}

func (c *Conn) tryRead(fd uintptr) {
	for {
		c.got, c.read1Err = unix.Read(int(fd), c.into)
		if c.read1Err != unix.EINTR {
			return
		}
	}
}

// Source is where WriteFrom takes bytes from.
type Source interface {
	// begin and end are called around each attempt, when there is no waiting.
	begin()
	end()
	// pieces gives what there is. It is asked again after each wait: the memory
	// it gave before may be somebody else's by then.
	pieces() ([][]byte, error)
	// took says that n bytes of what pieces gave are written.
	took(n int)
}

// WriteFrom waits until the socket takes at least a part of what source gives.
// The error of pieces is returned as it is.
func (c *Conn) WriteFrom(source Source) error {
	c.source = source
	err := c.raw.Write(c.writev)
	c.source = nil
	if err != nil {
		return err
	}
	return c.writeErr
}

func (c *Conn) tryWritev(fd uintptr) bool {
	c.source.begin()
	defer c.source.end()
	iov, err := c.source.pieces()
	if err != nil {
		c.writeErr = err
		return true
	}
	for {
		var n int
		n, c.writeErr = unix.Writev(int(fd), iov)
		switch c.writeErr {
		case nil:
			c.source.took(n)
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		return true
	}
}

// CloseWrite ends the outgoing direction (FIN).
func (c *Conn) CloseWrite() error {
	var err error
	cerr := c.raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) })
	if cerr != nil {
		return cerr
	}
	return err
}

// Reset closes the connection with a RST.
func (c *Conn) Reset() error {
	c.raw.Control(func(fd uintptr) {
		unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	return c.file.Close()
}

// Close closes the connection; unsent data is still delivered by the kernel.
func (c *Conn) Close() error { return c.file.Close() }

// interrupt makes calls that wait return with an error, now and later.
func (c *Conn) interrupt() { c.expire(time.Unix(1, 0)) }

// expire makes calls that wait return with an error from t on. The earliest t
// holds.
func (c *Conn) expire(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expiry.IsZero() || t.Before(c.expiry) {
		c.expiry = t
		c.file.SetDeadline(t)
	}
}

// state looks at the socket without waiting: ended means that neither direction
// is open any more, and err is a failure that nobody has been told of yet.
func (c *Conn) state() (ended bool, err error) {
	cerr := c.raw.Control(func(fd uintptr) { ended, err = poll(fd) })
	if cerr != nil {
		return true, cerr
	}
	return ended, err
}

// Ended waits until neither direction is open any more, and returns the failure
// that ended them, if there was one.
func (c *Conn) Ended() error {
	var err error
	rerr := c.raw.Read(func(fd uintptr) bool {
		var ended bool
		ended, err = poll(fd)
		return ended
	})
	if rerr != nil {
		return rerr
	}
	return err
}

// local reports whether the socket is a unix one, which tells when nobody has its
// other end any more.
func (c *Conn) local() (is bool) {
	_ = c.raw.Control(func(fd uintptr) {
		domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
		is = err == nil && domain == unix.AF_UNIX
	})
	return is
}

func poll(fd uintptr) (ended bool, err error) {
	fds := []unix.PollFd{{Fd: int32(fd)}} // hang-up and errors are always told
	for {
		if _, err = unix.Poll(fds, 0); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return true, err
	}
	if fds[0].Revents&unix.POLLERR != 0 {
		if code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code != 0 {
			return true, syscall.Errno(code)
		}
	}
	return fds[0].Revents&unix.POLLHUP != 0, nil
}
