package load

import (
	"fmt"
	"net"
	"strconv"

	"github.com/footbridge-net/footbridge/internal/testserver"
)

// Ports of every agent's servers, on all of its addresses. All of them serve TCP and UDP.
const (
	EchoPort = 7007 // says what it hears; over UDP it adds from where it heard it
	PeerPort = 7006 // TCP: says from where it was reached and closes; UDP: as EchoPort
)

// serve opens the servers of an agent. They end with the process.
func serve() error {
	for port, handle := range map[int]func(*net.TCPConn){
		EchoPort: testserver.Echo,
		PeerPort: func(c *net.TCPConn) { fmt.Fprintln(c, plain(c.RemoteAddr())) },
	} {
		address := ":" + strconv.Itoa(port)
		if _, err := testserver.ListenTCP("tcp", address, handle); err != nil {
			return err
		}
		if _, err := testserver.ListenUDP("udp", address, func(from net.Addr, b []byte) []byte { return append(b, plain(from)...) }); err != nil {
			return err
		}
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
