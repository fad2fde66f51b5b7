package proxy

import (
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"syscall"
)

// Numbers of RFC 1928 and RFC 1929.
const (
	socksVersion = 5
	authVersion  = 1

	methodNone     = 0x00
	methodPassword = 0x02
	methodRefused  = 0xff

	commandConnect = 1

	address4    = 1
	addressName = 3
	address6    = 4

	replyDone        = 0
	replyFailure     = 1
	replyNetwork     = 3
	replyHost        = 4
	replyRefused     = 5
	replyExpired     = 6
	replyNoCommand   = 7
	replyNoAddresses = 8
)

// ErrProtocol says that what a client sent is not SOCKS version 5 as RFC 1928 has it.
var ErrProtocol = errors.New("not SOCKS version 5")

// ErrToken says that a client did not give the token.
var ErrToken = errors.New("no token, or a wrong one")

// target is what a client wants to be connected to.
type target struct {
	host string // name or address
	port uint16
}

// greet reads a client's greeting and authenticates it, when there is a token
// (RFC 1928 section 3, RFC 1929 section 2).
func greet(c io.ReadWriter, token string) error {
	methods, err := readGreeting(c)
	if err != nil {
		return err
	}
	offers := func(m byte) bool { return slices.Contains(methods, m) }
	switch {
	case token == "" && offers(methodNone):
		_, err = c.Write([]byte{socksVersion, methodNone})
		return err
	case offers(methodPassword):
		if _, err := c.Write([]byte{socksVersion, methodPassword}); err != nil {
			return err
		}
		return password(c, token)
	}
	if _, err := c.Write([]byte{socksVersion, methodRefused}); err != nil {
		return err
	}
	return ErrToken
}

func readGreeting(r io.Reader) (methods []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	if head[0] != socksVersion {
		return nil, fmt.Errorf("%w: version %d", ErrProtocol, head[0])
	}
	methods = make([]byte, head[1])
	_, err = io.ReadFull(r, methods)
	return methods, err
}

// password is RFC 1929.
func password(c io.ReadWriter, token string) error {
	var version [1]byte
	if _, err := io.ReadFull(c, version[:]); err != nil {
		return err
	}
	if version[0] != authVersion {
		return fmt.Errorf("%w: version %d of authentication", ErrProtocol, version[0])
	}
	var fields [2][]byte // name, password
	for i := range fields {
		var err error
		if fields[i], err = readField(c); err != nil {
			return err
		}
	}
	if token != "" && subtle.ConstantTimeCompare(fields[1], []byte(token)) != 1 {
		_, err := c.Write([]byte{authVersion, 1})
		return errors.Join(ErrToken, err)
	}
	_, err := c.Write([]byte{authVersion, 0})
	return err
}

// readField reads a byte of length and as many bytes.
func readField(r io.Reader) ([]byte, error) {
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	b := make([]byte, n[0])
	_, err := io.ReadFull(r, b)
	return b, err
}

// readRequest reads what a client wants (RFC 1928 section 4). The reply is the code
// that refuses it, when there is an error.
func readRequest(r io.Reader) (t target, reply byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return target{}, replyFailure, err
	}
	if head[0] != socksVersion {
		return target{}, replyFailure, fmt.Errorf("%w: version %d of a request", ErrProtocol, head[0])
	}
	switch head[3] {
	case address4, address6:
		b := make([]byte, 4)
		if head[3] == address6 {
			b = make([]byte, 16)
		}
		if _, err := io.ReadFull(r, b); err != nil {
			return target{}, replyFailure, err
		}
		a, _ := netip.AddrFromSlice(b)
		t.host = a.Unmap().String()
	case addressName:
		b, err := readField(r)
		if err != nil {
			return target{}, replyFailure, err
		}
		t.host = string(b)
	default:
		return target{}, replyNoAddresses, fmt.Errorf("%w: address of type %d", ErrProtocol, head[3])
	}
	var port [2]byte
	if _, err := io.ReadFull(r, port[:]); err != nil {
		return target{}, replyFailure, err
	}
	t.port = binary.BigEndian.Uint16(port[:])
	switch {
	case head[1] != commandConnect:
		return t, replyNoCommand, fmt.Errorf("command %d: only connections are made (1)", head[1])
	case t.host == "" || t.port == 0:
		return t, replyHost, fmt.Errorf("%w: no host or no port", ErrProtocol)
	}
	return t, replyDone, nil
}

// answerRequest is RFC 1928 section 6. The bound address, which clients of CONNECT do
// not need, is left out as 0.0.0.0:0.
func answerRequest(w io.Writer, reply byte) error {
	_, err := w.Write([]byte{socksVersion, reply, 0, address4, 0, 0, 0, 0, 0, 0})
	return err
}

// replyOf is the code that says why a connection was not made.
func replyOf(err error) byte {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return replyRefused
	case errors.Is(err, syscall.ETIMEDOUT):
		return replyExpired
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return replyNetwork
	case errors.Is(err, ErrUnknownHost), errors.Is(err, syscall.EHOSTUNREACH):
		return replyHost
	}
	return replyFailure
}
