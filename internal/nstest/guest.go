package nstest

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/footbridge-net/footbridge/internal/testserver"
)

// What most tests want done inside a World, besides "exec":
//
//	echo ADDRESS:PORT               serve it over TCP and UDP until the World ends
//	dial ADDRESS:PORT [PATIENCE]    connect by TCP, instead of to where it was before
//	ask WORD                        send a word on that connection, and read it back
//	lookup TRANSPORT SERVER NAME    ask a name server, udp or tcp, for IPv4 addresses
func init() {
	Register("echo", echo)
	Register("dial", dial)
	Register("ask", ask)
	Register("lookup", lookup)
}

// patience bounds what is waited for in a World.
const patience = 10 * time.Second

func echo(args []string) (string, error) {
	if _, err := testserver.ListenTCP("tcp", args[0], testserver.Echo); err != nil {
		return "", err
	}
	_, err := testserver.ListenUDP("udp", args[0], testserver.EchoDatagram)
	return "", err
}

// held is dial's connection; an agent does one thing at a time.
var held net.Conn

func dial(args []string) (_ string, err error) {
	timeout := patience
	if len(args) > 1 {
		if timeout, err = time.ParseDuration(args[1]); err != nil {
			return "", err
		}
	}
	c, err := net.DialTimeout("tcp", args[0], timeout)
	if err != nil {
		return "", err
	}
	if held != nil {
		held.Close()
	}
	held = c
	return "", nil
}

func ask(args []string) (string, error) {
	_ = held.SetDeadline(time.Now().Add(patience))
	if _, err := held.Write([]byte(args[0])); err != nil {
		return "", err
	}
	b := make([]byte, len(args[0]))
	_, err := io.ReadFull(held, b)
	return string(b), err
}

func lookup(args []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, args[0], args[1])
	}}
	addrs, err := r.LookupNetIP(ctx, "ip4", args[2])
	return fmt.Sprint(addrs), err
}
