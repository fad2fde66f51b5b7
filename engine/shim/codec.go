package shim

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// A message on any of the package's sockets is a four byte big-endian length and that many bytes
// of JSON. Open files travel with the first byte of a message (SCM_RIGHTS).
const (
	// maxRequest bounds what the engine may ask of a shim, and a shim of pid 1. Arguments and
	// environment are the bulk; the kernel itself stops at a quarter of the stack limit, 2 MiB by default.
	maxRequest = 4 << 20
	// maxAnswer bounds what pid 1 may tell the shim. pid 1 lives among hostile processes, and says
	// no more than "done", a number, or one sentence.
	maxAnswer = 64 << 10
	// maxFiles is the most files that one message carries: three streams and a pid file descriptor.
	maxFiles = 4
)

// errFrame says that a peer broke the protocol; the connection cannot be used any more.
var errFrame = errors.New("malformed message")

// readMessage reads one message of at most limit bytes from r into v.
// A clean end of the stream before the first byte is io.EOF.
func readMessage(r io.Reader, limit int, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || uint64(n) > uint64(limit) {
		return fmt.Errorf("%w: %d bytes announced, at most %d allowed", errFrame, n, limit)
	}
	// ReadAll grows with what arrives: an announced length alone costs no memory.
	body, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return err
	}
	if len(body) != int(n) {
		return io.ErrUnexpectedEOF
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	return nil
}

// appendMessage returns b followed by v as a message of at most limit bytes.
func appendMessage(b []byte, limit int, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(body) > limit {
		return nil, fmt.Errorf("message of %d bytes, at most %d allowed", len(body), limit)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...), nil
}

// writeMessage sends v, and the files with its first byte.
func writeMessage(c *net.UnixConn, limit int, v any, files ...*os.File) error {
	b, err := appendMessage(nil, limit, v)
	if err != nil {
		return err
	}
	n := 0
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			if fds[i], err = rawFD(f); err != nil {
				return err
			}
		}
		if n, _, err = c.WriteMsgUnix(b, unix.UnixRights(fds...), nil); err != nil {
			return err
		}
	}
	for n < len(b) {
		m, err := c.Write(b[n:])
		if err != nil {
			return err
		}
		n += m
	}
	return nil
}

// readMessageFiles is readMessage that also takes the files sent along. The caller closes them,
// also when an error is returned with them.
func readMessageFiles(c *net.UnixConn, limit int, v any) ([]*os.File, error) {
	r := &filesReader{conn: c}
	err := readMessage(r, limit, v)
	return r.files, err
}

// filesReader reads bytes and collects the files that come with them. Plain reads of the
// connection drop files unseen, which is what is wanted from hostile peers.
type filesReader struct {
	conn  *net.UnixConn
	files []*os.File
}

func (r *filesReader) Read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, flags, _, err := r.conn.ReadMsgUnix(p, oob)
	if oobn > 0 {
		if ferr := r.take(oob[:oobn]); ferr != nil {
			return 0, ferr // not n: io.ReadFull forgets an error that comes with enough bytes
		}
	}
	if err != nil {
		return n, err
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return 0, fmt.Errorf("%w: more files than a message may carry", errFrame)
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (r *filesReader) take(oob []byte) error {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // credentials and the like: nothing asked for, nothing to close
		}
		for _, fd := range fds {
			r.files = append(r.files, os.NewFile(uintptr(fd), "received"))
		}
	}
	if len(r.files) > maxFiles {
		return fmt.Errorf("%w: more files than a message may carry", errFrame)
	}
	return nil
}

// rawFD returns f's descriptor without what (*os.File).Fd does besides: make the file blocking,
// which would take a pipe or terminal away from the netpoller.
func rawFD(f *os.File) (int, error) {
	fd := -1
	c, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	if err := c.Control(func(p uintptr) { fd = int(p) }); err != nil {
		return -1, err
	}
	return fd, nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// fileConn turns an inherited or made socket into a connection and closes the file.
func fileConn(f *os.File) (*net.UnixConn, error) {
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("not a unix socket: %s", f.Name())
	}
	return u, nil
}

// socketPair returns two connected stream sockets: ours on the netpoller, theirs to be inherited.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "socketpair")
	if ours, err = fileConn(os.NewFile(uintptr(fds[0]), "socketpair")); err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}
