package fdpass

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// MaxMessage bounds a message, in bytes. The kernel's default socket buffer
	// holds 208 KiB, of which a message of this size takes a part.
	MaxMessage = 96 << 10
	// MaxHandles is the kernel's SCM_MAX_FD.
	MaxHandles = 253
)

// ErrMessage: what came is longer than allowed, or its descriptors cannot be read.
var ErrMessage = errors.New("not a message")

// Conn is one end of a pair of SOCK_SEQPACKET sockets.
type Conn struct{ c *net.UnixConn }

// Pair makes two connected sockets: ours on the poller, and the other process's as a
// Handle.
func Pair() (*Conn, *Handle, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := NewHandle(fds[1])
	ours, err := NewConn(fds[0])
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// NewConn takes over fd, a connected SOCK_SEQPACKET unix socket.
func NewConn(fd int) (*Conn, error) {
	unix.CloseOnExec(fd)
	file := os.NewFile(uintptr(fd), "messages")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("socket for messages: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("socket for messages: it is a %T", c), c.Close())
	}
	return &Conn{u}, nil
}

// Send sends one message with the handles, which stay the caller's.
func (c *Conn) Send(b []byte, hs ...*Handle) error {
	if len(b) == 0 || len(b) > MaxMessage || len(hs) > MaxHandles {
		return fmt.Errorf("%w: %d bytes, %d descriptors; at most %d and %d", ErrMessage, len(b), len(hs), MaxMessage, MaxHandles)
	}
	var oob []byte
	if len(hs) > 0 {
		fds := make([]int, len(hs))
		for i, h := range hs {
			if fds[i] = h.FD(); fds[i] < 0 {
				return fmt.Errorf("send a descriptor: %w", os.ErrClosed)
			}
		}
		oob = unix.UnixRights(fds...)
	}
	_, _, err := c.c.WriteMsgUnix(b, oob, nil)
	return err
}

// Receive takes one message into b, which is to have MaxMessage bytes, and its
// handles. io.EOF: the other end is closed.
func (c *Conn) Receive(b []byte) (n int, hs []*Handle, err error) {
	var oob [4096]byte // CmsgSpace(4*MaxHandles) is 1032
	n, oobn, flags, _, err := c.c.ReadMsgUnix(b, oob[:])
	switch {
	case errors.Is(err, unix.ECONNRESET):
		return 0, nil, io.EOF // closed before our last message was read
	case err != nil:
		return 0, nil, err
	}
	hs, err = handles(oob[:oobn])
	switch {
	case err == nil && n == 0 && len(hs) == 0:
		return 0, nil, io.EOF
	case err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("longer than allowed")
	}
	if err != nil {
		Discard(hs)
		return 0, nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return n, hs, nil
}

// handles takes all descriptors out of control messages, also when it fails.
func handles(oob []byte) ([]*Handle, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var all []*Handle
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return all, err
		}
		for _, fd := range fds {
			all = append(all, NewHandle(fd))
		}
	}
	return all, nil
}

// SetDeadline bounds the waiting of Send and Receive; the zero time lifts it.
func (c *Conn) SetDeadline(t time.Time) error { return c.c.SetDeadline(t) }

// Handle makes a Handle of the same socket, for another program to go on with.
func (c *Conn) Handle() (*Handle, error) {
	raw, err := c.c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var h *Handle
	cerr := raw.Control(func(fd uintptr) {
		var n int
		if n, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3); err == nil {
			h = NewHandle(n)
		}
	})
	if err = errors.Join(cerr, err); err != nil {
		return nil, fmt.Errorf("duplicate a socket: %w", err)
	}
	return h, nil
}

// FD is the socket's descriptor, which stays the Conn's.
func (c *Conn) FD() (fd int, err error) {
	raw, err := c.c.SyscallConn()
	if err != nil {
		return -1, err
	}
	err = raw.Control(func(n uintptr) { fd = int(n) })
	return fd, err
}

// RefuseHandles has the kernel refuse the other end's messages with descriptors: they fail
// there with EPERM. Linux before 6.16 does not know it.
func (c *Conn) RefuseHandles() error {
	raw, err := c.c.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0) })
	return errors.Join(cerr, err)
}

// maxQueued is more than the messages that a socket's buffer can hold, whatever their
// size: 208 KiB, of which each takes some 700 bytes.
const maxQueued = 1 << 9

// Drain takes what the other end has sent, which must have ended, and discards it with its
// descriptors. Close would leave that to the kernel, which waits as Close of a Handle
// does.
func (c *Conn) Drain() {
	_ = c.SetDeadline(time.Now().Add(time.Second)) // nothing is sent any more: it does not wait
	b := make([]byte, MaxMessage)
	for range maxQueued {
		_, hs, err := c.Receive(b)
		Discard(hs)
		// An empty message looks like the end.
		if err != nil && !errors.Is(err, ErrMessage) && !errors.Is(err, io.EOF) {
			return
		}
	}
}

// Close closes this end.
func (c *Conn) Close() error { return c.c.Close() }
