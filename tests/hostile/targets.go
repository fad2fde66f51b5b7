package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/footbridge-net/footbridge/internal/testserver"
	"github.com/footbridge-net/footbridge/tests/world"
)

// Ports on which every actor in a container serves.
const (
	portEcho     = 7777 // TCP and UDP, all addresses: says what it hears
	portSecret   = 4761 // TCP and UDP, all addresses: the same; used by rows in which nobody may reach it
	portLoopback = 7778 // TCP and UDP, loopback only: says a secret
	portPeer     = 7779 // TCP, all addresses: says who asks
	portStream   = 7780 // TCP, 127.0.0.1 only: says ever more once it is asked
	portMailbox  = 7781 // UDP, while Mailbox: nobody reads
	portOutside  = 7782 // TCP and UDP, the internet's web addresses only: says what it hears, apart from what attacks are aimed at
	portNobody   = 9    // nobody serves
)

// secret is what loopback services say.
const secret = "secret of a loopback"

// serveTargets opens the services of an actor. Machines where a port is taken (the host has several actors) do without.
func serveTargets() error {
	for _, port := range []int{portEcho, portSecret} {
		serveTCP(net.JoinHostPort("", strconv.Itoa(port)), testserver.Echo)
		serveUDP(net.JoinHostPort("", strconv.Itoa(port)), testserver.EchoDatagram)
	}
	for _, ip := range []string{"127.0.0.1", "::1"} {
		serveTCP(net.JoinHostPort(ip, strconv.Itoa(portLoopback)), func(c *net.TCPConn) { _, _ = io.WriteString(c, secret) })
		serveUDP(net.JoinHostPort(ip, strconv.Itoa(portLoopback)), func(net.Addr, []byte) []byte { return []byte(secret) })
	}
	// Bound to an address, an answer comes from where the question went.
	for _, web := range []string{"WEB4", "WEB6"} {
		address := net.JoinHostPort(world.Addr(web).String(), strconv.Itoa(portOutside))
		serveTCP(address, testserver.Echo)
		serveUDP(address, testserver.EchoDatagram)
	}
	serveTCP(net.JoinHostPort("127.0.0.1", strconv.Itoa(portStream)), func(c *net.TCPConn) {
		b := make([]byte, 32<<10)
		for _, err := c.Read(b[:512]); err == nil; {
			_, err = c.Write(b)
		}
	})
	serveTCP(net.JoinHostPort("", strconv.Itoa(portPeer)), func(c *net.TCPConn) { _, _ = io.WriteString(c, c.RemoteAddr().String()) })
	return nil
}

func serveTCP(address string, handle func(*net.TCPConn)) {
	_, _ = testserver.ListenTCP("tcp", address, handle)
}

func serveUDP(address string, answer func(net.Addr, []byte) []byte) {
	_, _ = testserver.ListenUDP("udp", address, answer)
}

// Attempt is one try to reach something by the kernel's own sockets.
type Attempt struct {
	Network string // tcp, udp or ping
	Address string // with a port, but for ping
	Say     string // what is sent; TCP waits for an answer only if something is sent, or Listen
	Listen  bool
	Wait    time.Duration
}

// Outcome is how an attempt ended.
type Outcome struct {
	Reached bool   // connected, or answered
	Answer  string // the beginning of it
	Error   string
	Refused bool // by a RST or an ICMP error: somebody said no
	Took    time.Duration
}

// attemptsAtOnce bounds how many attempts an actor makes at the same time.
const attemptsAtOnce = 64

// Try makes attempts, many at once.
func (a *Actor) Try(attempts []Attempt, outcomes *[]Outcome) error {
	out := make([]Outcome, len(attempts))
	room := make(chan struct{}, attemptsAtOnce)
	var all sync.WaitGroup
	for i, t := range attempts {
		room <- struct{}{}
		all.Go(func() {
			out[i] = t.make()
			<-room
		})
	}
	all.Wait()
	*outcomes = out
	return nil
}

func (t Attempt) make() (o Outcome) {
	begin := time.Now()
	defer func() { o.Took = time.Since(begin) }()
	if t.Wait == 0 {
		t.Wait = time.Second
	}
	if t.Network == "ping" {
		if err := ping(t.Address, t.Wait); err != nil {
			return failed(err)
		}
		return Outcome{Reached: true}
	}
	c, err := net.DialTimeout(t.Network, t.Address, t.Wait)
	if err != nil {
		return failed(err)
	}
	defer c.Close()
	o.Reached = t.Network == "tcp"
	_ = c.SetDeadline(time.Now().Add(t.Wait))
	if t.Say != "" {
		if _, err := io.WriteString(c, t.Say); err != nil {
			return failed(err)
		}
	} else if t.Network == "tcp" && !t.Listen {
		return o
	}
	b := make([]byte, 512)
	n, err := c.Read(b)
	if n == 0 && err != nil {
		f := failed(err)
		f.Reached = o.Reached
		return f
	}
	return Outcome{Reached: true, Answer: string(b[:n])}
}

func failed(err error) Outcome {
	refused := errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) ||
		errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EACCES)
	return Outcome{Error: err.Error(), Refused: refused}
}

// describe says what an attempt is, for the table.
func (t Attempt) describe() string {
	if t.Network == "ping" {
		return "ping " + t.Address
	}
	return t.Network + " " + t.Address
}

// RunReply is how a command ended.
type RunReply struct {
	Output string
	Code   int
}

// Run runs a command where the actor is.
func (a *Actor) Run(args []string, reply *RunReply) error {
	out, code, err := run(args)
	if err != nil {
		return err
	}
	*reply = RunReply{Output: strings.TrimSpace(out), Code: code}
	return nil
}

// outcomeText is one line about an attempt that should have failed.
func outcomeText(t Attempt, o Outcome) string {
	if o.Answer != "" {
		return fmt.Sprintf("%s answered %q", t.describe(), o.Answer)
	}
	return t.describe() + " was reached"
}
