package splice

import (
	"context"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/nowait"
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
	ask        func(fd uintptr)
	pending    int
	pendingErr error

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
	c.ask = c.tryAsk
	c.read1 = c.tryRead
	c.writev = c.tryWritev
	// Out of the stream, an urgent byte would also hide how much there is to
	// read behind it: SIOCINQ counts up to it only.
	nowait.SetOption(uintptr(fd), unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
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
	var to nowait.Address
	to.Set(dst)
	start := t.Begin()
	c, connected, err := dial(dst.Addr().Is4(), &to, h)
	t.End(start)
	if err != nil || connected {
		return c, err
	}
	c.file.SetWriteDeadline(time.Now().Add(timeout))
	stop := context.AfterFunc(ctx, c.interrupt)
	err = c.connected(&to)
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
func dial(v4 bool, to *nowait.Address, h Hooks) (c *Conn, connected bool, err error) {
	family := unix.AF_INET6
	if v4 {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, false, err
	}
	// Small writes of the container must leave at once: it has applied its
	// own Nagle already.
	nowait.SetOption(uintptr(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	nowait.ResetOnClose(uintptr(fd), true)
	if h.Prepare != nil {
		if err := h.Prepare(fd); err != nil {
			nowait.Close(uintptr(fd))
			return nil, false, err
		}
	}
	no := to.Connect(uintptr(fd))
	if no == unix.EINPROGRESS {
		// A server of this machine has answered already.
		if no = to.Connect(uintptr(fd)); no == unix.EALREADY {
			c, err = NewConn(fd)
			return c, false, err
		}
	}
	if no != 0 {
		err = no
	}
	h.ended(fd, err)
	if err != nil {
		nowait.Close(uintptr(fd))
		return nil, false, err
	}
	c, err = NewConn(fd)
	return c, true, err
}

// connected waits for the end of a connection attempt under way.
func (c *Conn) connected(to *nowait.Address) error {
	var no syscall.Errno
	// It is looked at before the first wait, too: the poller may have seen the end of
	// the attempt before this call.
	err := c.raw.Write(func(fd uintptr) bool {
		no = to.Connect(fd)
		return no != unix.EALREADY
	})
	switch {
	case err != nil:
		return syscall.ETIMEDOUT
	case no != 0:
		return no
	}
	return nil
}

// receive reads into b; EAGAIN says that nothing is there, and 0 bytes the end of data.
// It never waits, and is for functions given to raw.
func receive(fd uintptr, b []byte) (int, error) {
	n, e := nowait.Recv(fd, b, 0)
	if e != 0 {
		return 0, e
	}
	return n, nil
}

// pendingNow says how many bytes are there to be read.
func (c *Conn) pendingNow() (int, error) {
	if err := c.raw.Control(c.ask); err != nil {
		return 0, err
	}
	return c.pending, c.pendingErr
}

func (c *Conn) tryAsk(fd uintptr) {
	var e syscall.Errno
	if c.pending, e = nowait.Pending(fd); e != 0 {
		c.pendingErr = e
	}
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
	var e syscall.Errno
	c.read1Err = nil
	if c.got, e = nowait.Read(fd, c.into); e != 0 {
		c.read1Err = e
	}
}

// Source is where WriteFrom takes bytes from.
type Source interface {
	// begin and end are called around each attempt, when there is no waiting.
	begin()
	end()
	// pieces gives what there is, and how many bytes that are. It is asked again after
	// each wait: the memory it gave before may be somebody else's by then.
	pieces() ([]unix.Iovec, int, error)
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
	iov, size, err := c.source.pieces()
	if err != nil {
		c.writeErr = err
		return true
	}
	n, e := nowait.Writev(fd, iov, size)
	switch e {
	case 0:
		c.writeErr = nil
		c.source.took(n)
	case unix.EAGAIN:
		return false
	default:
		c.writeErr = e
	}
	return true
}

// CloseWrite ends the outgoing direction (FIN). What was written is whole now, so it arrives
// whatever becomes of this process.
func (c *Conn) CloseWrite() error {
	var err error
	cerr := c.raw.Control(func(fd uintptr) {
		nowait.ResetOnClose(fd, false)
		if e := nowait.Shutdown(fd, unix.SHUT_WR); e != 0 {
			err = e
		}
	})
	if cerr != nil {
		return cerr
	}
	return err
}

// Reset closes the connection with a RST.
func (c *Conn) Reset() error {
	c.raw.Control(func(fd uintptr) {
		nowait.ResetOnClose(fd, true)
	})
	return c.file.Close()
}

// Close closes the connection. After CloseWrite unsent data is still delivered by the kernel; before,
// a connection of Dial is reset.
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
		domain, e := nowait.Option(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		is = e == 0 && domain == unix.AF_UNIX
	})
	return is
}

func poll(fd uintptr) (ended bool, err error) {
	events, e := nowait.Events(fd, 0)
	if e != 0 {
		return true, e
	}
	if events&unix.POLLERR != 0 {
		if code, e := nowait.Option(fd, unix.SOL_SOCKET, unix.SO_ERROR); e == 0 && code != 0 {
			return true, syscall.Errno(code)
		}
	}
	return events&unix.POLLHUP != 0, nil
}
