package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// A dial.
//
//	client                                daemon
//	POST .../dial {Network, Host, Port} -> who is that? an error ends it here
//	                                   <-  101 UPGRADED
//	                                       gives the connection away
//	                                   <-  an errno and a newline: 0 from who carries it now
//	 bytes of the container's port    <=>  and bytes, both ways
//
// The daemon has no part in the connection after that: neither its bytes nor its end.

// DialRequest asks for a connection to a TCP port of a container.
type DialRequest struct {
	Network string // name or id; "" is any that the host is found on
	Host    string // a name on the network, a container's name or id, or an address
	Port    uint16
}

// Dialer finds containers' ports.
type Dialer interface {
	// Dial finds the container that is asked for. Join then leads a connected stream
	// socket to it, which it takes over, and returns at once; the socket is told
	// what came of it, see [Client.Dial].
	Dial(ctx context.Context, req DialRequest) (join func(*fdpass.Handle) error, err error)
}

func (s *Server) dial(w http.ResponseWriter, r *http.Request) error {
	var req DialRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	if req.Host == "" || req.Port == 0 {
		return Errorf(errdefs.ErrInvalidArgument, "nothing to connect to: give a container and a TCP port, as in web:80")
	}
	join, err := s.backend.Dial(r.Context(), req)
	if err != nil {
		return err
	}
	conn, behind, done, err := s.takeOver(w)
	if err != nil {
		return err
	}
	defer done()
	if behind.Buffered() > 0 {
		return nil // a client that does not wait for the answer would lose what it said
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"); err != nil {
		return nil // the client is gone
	}
	var h *fdpass.Handle
	err = control(conn, func(fd int) (err error) {
		h, err = fdpass.NewHandle(fd).Dup()
		return err
	})
	if err == nil {
		err = join(h)
	}
	if err != nil {
		s.log.Warn("connection to a container not made", "host", req.Host, "port", req.Port, "error", err)
		_, _ = fmt.Fprintf(conn, "%d\n", int(syscall.EAGAIN))
	}
	return nil
}

// errnoLimit bounds the line that says what came of a dial.
const errnoLimit = 8

// Dial connects to a TCP port of a container. Its errors are those of the daemon, or
// the syscall.Errno of the connection: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENOBUFS
// for limits, EAGAIN when the process that carries packets is just being replaced.
// The connection can be half-closed by CloseWrite.
func (c *Client) Dial(ctx context.Context, req DialRequest) (net.Conn, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	h, err := c.hijack(ctx, request{method: http.MethodPost, path: ownPrefix + "/dial", body: body, unversioned: true})
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { h.Close() })
	no, err := readErrno(h.Reader)
	if !stop() {
		err = ctx.Err()
	}
	switch {
	case err != nil:
	case no != 0:
		err = fmt.Errorf("connect to %s: %w", net.JoinHostPort(req.Host, strconv.Itoa(int(req.Port))), no)
	default:
		return &dialed{Conn: h.Conn, reader: h.Reader}, nil
	}
	h.Close()
	return nil, err
}

func readErrno(r *bufio.Reader) (syscall.Errno, error) {
	var line strings.Builder
	for {
		b, err := r.ReadByte()
		switch {
		case err == io.EOF:
			return syscall.ECONNABORTED, nil // who carried it has ended
		case err != nil:
			return 0, err
		case b == '\n':
			n, err := strconv.ParseUint(line.String(), 10, 12)
			if err != nil {
				return 0, fmt.Errorf("the daemon's answer to a dial is %q", line.String())
			}
			return syscall.Errno(n), nil
		case line.Len() == errnoLimit:
			return 0, fmt.Errorf("the daemon's answer to a dial begins with %q", line.String())
		}
		line.WriteByte(b)
	}
}

// dialed is a connection whose first bytes may have been read already.
type dialed struct {
	net.Conn
	reader *bufio.Reader
}

func (d *dialed) Read(b []byte) (int, error) {
	if d.reader.Buffered() == 0 {
		return d.Conn.Read(b)
	}
	return d.reader.Read(b)
}

// CloseWrite ends what is sent and leaves the other direction open.
func (d *dialed) CloseWrite() error {
	return d.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// ParseHostPort reads what is to be dialed: "web:80", "172.18.0.2:80", "[fd00::2]:80".
func ParseHostPort(text string) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(text)
	n, nerr := strconv.ParseUint(p, 10, 16)
	if err != nil || nerr != nil || host == "" || n == 0 {
		return "", 0, Errorf(errdefs.ErrInvalidArgument, "invalid target %q: it is NAME:PORT, ADDRESS:PORT or [IPv6]:PORT", text)
	}
	if a, aerr := netip.ParseAddr(host); aerr == nil {
		host = a.Unmap().String()
	}
	return host, uint16(n), nil
}
