package load

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// Ports of every agent's servers, on all of its addresses. All of them serve TCP and UDP.
const (
	EchoPort = 7007 // says what it hears; over UDP it adds from where it heard it
	PeerPort = 7006 // TCP: says from where it was reached and closes; UDP: as EchoPort
)

// serve opens the servers of an agent. They end with the process.
func serve() error {
	for port, handle := range map[int]func(net.Conn){
		EchoPort: func(c net.Conn) { io.Copy(c, c) },
		PeerPort: func(c net.Conn) { fmt.Fprintln(c, plain(c.RemoteAddr())) },
	} {
		address := ":" + strconv.Itoa(port)
		l, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("serving TCP: %w", err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					handle(c)
				}()
			}
		}()
		p, err := net.ListenPacket("udp", address)
		if err != nil {
			return fmt.Errorf("serving UDP: %w", err)
		}
		go func() {
			b := make([]byte, 64<<10)
			for {
				n, from, err := p.ReadFrom(b)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil {
					continue // an ICMP error
				}
				_, _ = p.WriteTo(append(b[:n:n], plain(from)...), from)
			}
		}()
	}
	return nil
}

// plain words an address, an IPv4 one always as such.
func plain(a net.Addr) string {
	switch a := a.(type) {
	case *net.TCPAddr:
		ap := a.AddrPort()
		return net.JoinHostPort(ap.Addr().Unmap().String(), strconv.Itoa(int(ap.Port())))
	case *net.UDPAddr:
		ap := a.AddrPort()
		return net.JoinHostPort(ap.Addr().Unmap().String(), strconv.Itoa(int(ap.Port())))
	}
	return a.String()
}
