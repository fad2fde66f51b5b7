package main

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// CrowdArgs ask for many TCP connections at once.
type CrowdArgs struct {
	Target    string
	Count     int
	Says      [][]byte // what the connections say, in turn; nil says nothing
	Keep      bool     // until Release
	HalfClose bool     // after saying it
	Wait      time.Duration
	Limit     time.Duration // for all of it; 0 is long
}

// CrowdReply says how many there came to be.
type CrowdReply struct {
	Opened, Failed int
}

// Crowd opens connections, many at the same time.
func (a *Actor) Crowd(args CrowdArgs, reply *CrowdReply) error {
	const atOnce = 128
	if args.Wait == 0 {
		args.Wait = time.Second
	}
	var opened, failed atomic.Int64
	var mu sync.Mutex
	var conns []net.Conn
	var all sync.WaitGroup
	room := make(chan struct{}, atOnce)
	if args.Limit == 0 {
		args.Limit = 20 * time.Second
	}
	deadline := time.Now().Add(args.Limit)
	for i := range args.Count {
		if time.Now().After(deadline) {
			break
		}
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			c, err := net.DialTimeout("tcp", args.Target, args.Wait)
			if err != nil {
				failed.Add(1)
				return
			}
			opened.Add(1)
			if len(args.Says) > 0 {
				_ = c.SetWriteDeadline(time.Now().Add(args.Wait))
				_, _ = c.Write(args.Says[i%len(args.Says)])
			}
			if t, ok := c.(*net.TCPConn); ok && args.HalfClose {
				_ = t.CloseWrite()
			}
			if !args.Keep {
				c.Close()
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
		})
	}
	all.Wait()
	reply.Opened, reply.Failed = int(opened.Load()), int(failed.Load())
	a.Hold(func() {
		for _, c := range conns {
			if t, ok := c.(*net.TCPConn); ok {
				_ = t.SetLinger(0)
			}
			c.Close()
		}
	})
	return nil
}

// TCPArgs are messages for a name server.
type TCPArgs struct {
	Server   string
	Messages [][]byte
}

// TCPMessages sends messages over TCP, as many over one connection as the server takes, and reads no answers.
func (a *Actor) TCPMessages(args TCPArgs, reply *struct{}) error {
	const each = 50 // connections are paced
	for i := 0; i < len(args.Messages); i += each {
		c, err := net.DialTimeout("tcp", args.Server, 2*time.Second)
		if err != nil {
			continue // refused by a quota: that is right
		}
		_ = c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		for _, m := range args.Messages[i:min(i+each, len(args.Messages))] {
			b := binary.BigEndian.AppendUint16(nil, uint16(len(m)))
			if _, err := c.Write(append(b, m...)); err != nil {
				break
			}
		}
		c.Close()
	}
	return nil
}
