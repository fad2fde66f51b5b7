package splice

import (
	"context"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a connected TCP socket of the host, readable and writable by system
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

	writev   func(fd uintptr) bool
	iov      [][]byte
	written  int
	writeErr error
}

// NewConn takes over fd, a non-blocking connected TCP socket. The fd is closed
// on error too.
func NewConn(fd int) (*Conn, error) {
	c := &Conn{file: os.NewFile(uintptr(fd), "tcp")}
	raw, err := c.file.SyscallConn()
	if err != nil {
		c.file.Close()
		return nil, err
	}
	c.raw = raw
	c.readable = c.tryReadable
	c.writev = c.tryWritev
	return c, nil
}

// Dial connects to dst and returns the connection once it is established. It
// gives up after timeout, or when ctx is done. Errors are syscall.Errno as
// connect(2) gives them, ETIMEDOUT for the timeout and for ctx.
func Dial(ctx context.Context, dst netip.AddrPort, timeout time.Duration) (*Conn, error) {
	family := unix.AF_INET6
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(dst.Port()), Addr: dst.Addr().As16()}
	if dst.Addr().Is4() {
		family = unix.AF_INET
		sa = &unix.SockaddrInet4{Port: int(dst.Port()), Addr: dst.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, err
	}
	// Small writes of the container must leave at once: it has applied its
	// own Nagle already.
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	err = unix.Connect(fd, sa)
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return nil, err
	}
	c, nerr := NewConn(fd)
	if nerr != nil {
		return nil, nerr
	}
	if err == nil {
		return c, nil
	}
	c.file.SetWriteDeadline(time.Now().Add(timeout))
	stop := context.AfterFunc(ctx, c.interrupt)
	err = c.connected()
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
	case n > 0:
		c.pending, c.readErr = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	}
	return true
}

// read is one read(2); the caller knows that bytes are there.
func (c *Conn) read(b []byte) (n int, err error) {
	cerr := c.raw.Control(func(fd uintptr) {
		for {
			n, err = unix.Read(int(fd), b)
			if err != unix.EINTR {
				return
			}
		}
	})
	if cerr != nil {
		return 0, cerr
	}
	return n, err
}

// Writev waits until the socket takes at least a part of iov, and says how
// many bytes it took.
func (c *Conn) Writev(iov [][]byte) (int, error) {
	c.iov = iov
	err := c.raw.Write(c.writev)
	c.iov = nil
	if err != nil {
		return 0, err
	}
	return c.written, c.writeErr
}

func (c *Conn) tryWritev(fd uintptr) bool {
	for {
		c.written, c.writeErr = unix.Writev(int(fd), c.iov)
		switch c.writeErr {
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

// interrupt makes Readable and Writev return with an error, now and later.
func (c *Conn) interrupt() { c.file.SetDeadline(time.Unix(1, 0)) }
