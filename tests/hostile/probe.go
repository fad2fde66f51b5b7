package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// probeEach is the pause between two measurements of one kind: enough of them for a 99th percentile in a second or two,
// few enough to be no load themselves.
const probeEach = 5 * time.Millisecond

// probeLimit is when a probe is lost.
const probeLimit = 2 * time.Second

// Probe is one thing to measure again and again.
type Probe struct {
	Kind   string // ping, connect, rr, udp, fragments (of UDP), dns or dnstcp
	Target string // address; with a port, but for ping
}

// ProbeArgs say what to measure for how long.
type ProbeArgs struct {
	Probes []Probe
	Time   time.Duration
}

// Samples are the measurements of one probe.
type Samples struct {
	Took []time.Duration // sorted
	Lost int
	Why  string // the first loss
}

// Probe measures all probes at the same time.
func (a *Actor) Probe(args ProbeArgs, reply *[]Samples) error {
	samples := make([]Samples, len(args.Probes))
	ctx, cancel := context.WithTimeout(context.Background(), args.Time)
	defer cancel()
	var all sync.WaitGroup
	for i, p := range args.Probes {
		all.Go(func() { samples[i] = p.measure(ctx) })
	}
	all.Wait()
	*reply = samples
	return nil
}

func (p Probe) measure(ctx context.Context) (s Samples) {
	var conn net.Conn // of rr
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	tick := time.NewTicker(probeEach)
	defer tick.Stop()
	for ctx.Err() == nil {
		begin := time.Now()
		err := p.once(&conn)
		if err != nil {
			s.Lost++
			if s.Why == "" {
				s.Why = fmt.Sprintf("%s %s: %v", p.Kind, p.Target, err)
			}
		} else {
			s.Took = append(s.Took, time.Since(begin))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	slices.Sort(s.Took)
	return s
}

// once makes one measurement.
func (p Probe) once(conn *net.Conn) error {
	b := []byte{'x'}
	switch p.Kind {
	case "ping":
		return ping(p.Target, probeLimit)
	case "rr", "udp", "fragments":
		if *conn == nil {
			network := "tcp"
			if p.Kind == "udp" {
				network = "udp"
			}
			c, err := net.DialTimeout(network, p.Target, probeLimit)
			if err != nil {
				return err
			}
			*conn = c
		}
		err := exchange(*conn, b)
		if err != nil { // what comes late must not answer the next question
			(*conn).Close()
			*conn = nil
		}
		return err
	case "connect":
		c, err := net.DialTimeout("tcp", p.Target, probeLimit)
		if err != nil {
			return err
		}
		defer c.Close()
		return exchange(c, b)
	case "dns", "dnstcp":
		m := new(dns.Msg)
		m.SetQuestion("alice.", dns.TypeA)
		c := dns.Client{Timeout: probeLimit}
		if p.Kind == "dnstcp" {
			c.Net = "tcp"
		}
		answer, _, err := c.Exchange(m, p.Target)
		if err == nil && len(answer.Answer) == 0 {
			err = errors.New(dns.RcodeToString[answer.Rcode])
		}
		return err
	}
	return fmt.Errorf("there is no probe %q", p.Kind)
}

func exchange(c net.Conn, b []byte) error {
	_ = c.SetDeadline(time.Now().Add(probeLimit))
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b)
	return err
}

// percentile of sorted values: the smallest that as many are not above.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(p*float64(len(sorted)))) - 1
	return sorted[max(i, 0)]
}

var pings atomic.Uint32

// ping sends one echo request by a raw socket, for which a container's usual capabilities are enough.
func ping(address string, limit time.Duration) error {
	to, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	network, request, reply := "ip4:icmp", byte(packet.ICMPEchoRequest), byte(packet.ICMPEchoReply)
	if to.Is6() {
		network, request, reply = "ip6:ipv6-icmp", packet.ICMPv6EchoRequest, packet.ICMPv6EchoReply
	}
	c, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer c.Close()
	n := pings.Add(1)
	message := []byte{request, 0, 0, 0, 0x46, 0x42, byte(n >> 8), byte(n), 'f', 'b'}
	if to.Is4() { // the kernel does it for the other
		binary.BigEndian.PutUint16(message[2:], ^packet.Sum(message, 0))
	}
	if _, err := c.Write(message); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(limit))
	b := make([]byte, 1500)
	for {
		n, _, err := c.(*net.IPConn).ReadFromIP(b) // without the IPv4 header
		if err != nil {
			return err
		}
		if m := b[:n]; len(m) >= len(message) && m[0] == reply && bytes.Equal(m[4:8], message[4:8]) {
			return nil
		}
	}
}

// run runs a command and returns all it printed.
func run(args []string) (string, int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return string(out), exit.ExitCode(), nil
	}
	return string(out), 0, err
}
