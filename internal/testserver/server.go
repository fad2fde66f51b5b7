package testserver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// Loopback is an address for a test's server: a port of its own.
const Loopback = "127.0.0.1:0"

// maxDatagram is more than a datagram can have, in bytes.
const maxDatagram = 64 << 10

// acceptPause is between attempts to accept where there is no descriptor left, as in a flood.
const acceptPause = time.Millisecond

// ListenTCP serves connections to an address, over tcp, tcp4 or tcp6, until the listener is closed. A connection is closed
// when handle returns.
func ListenTCP(network, address string, handle func(*net.TCPConn)) (*net.TCPListener, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("serving TCP: %w", err)
	}
	tcp := l.(*net.TCPListener)
	go func() {
		for {
			c, err := tcp.AcceptTCP()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				time.Sleep(acceptPause)
				continue
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return tcp, nil
}

// ListenUDP answers datagrams to an address, over udp, udp4 or udp6, until the socket is closed. What answer is given is
// its own until it returns; where it returns nil, nothing is sent.
func ListenUDP(network, address string, answer func(from net.Addr, b []byte) []byte) (*net.UDPConn, error) {
	c, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, fmt.Errorf("serving UDP: %w", err)
	}
	go func() {
		b := make([]byte, maxDatagram)
		for {
			n, from, err := c.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // of a datagram before, such as an ICMP error
			}
			if reply := answer(from, b[:n:n]); reply != nil {
				_, _ = c.WriteTo(reply, from)
			}
		}
	}()
	return c.(*net.UDPConn), nil
}

// TCP is ListenTCP up to the test's end.
func TCP(t testing.TB, address string, handle func(*net.TCPConn)) *net.TCPListener {
	t.Helper()
	l, err := ListenTCP("tcp", address, handle)
	return kept(t, l, err)
}

// UDP is ListenUDP up to the test's end.
func UDP(t testing.TB, address string, answer func(from net.Addr, b []byte) []byte) *net.UDPConn {
	t.Helper()
	c, err := ListenUDP("udp", address, answer)
	return kept(t, c, err)
}

// kept closes a server when the test ends.
func kept[S io.Closer](t testing.TB, server S, err error) S {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

// Echo says what it hears.
func Echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

// Discard hears to the end, and says nothing.
func Discard(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }

// EchoDatagram says what it hears.
func EchoDatagram(_ net.Addr, b []byte) []byte { return b }
