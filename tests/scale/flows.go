package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// FlowArgs ask for connections that stay.
type FlowArgs struct {
	Targets []string // in turn
	Count   int
	AtOnce  int  // that are being made at the same time
	Say     int  // bytes that each sends after it was made
	Ask     bool // and has one byte answered by a server of askPort, so that it is there at both ends
	Half    bool // and ends its direction then
}

// OpenFlows makes connections and keeps them, until CloseFlows. It says how long that took.
func (a *Actor) OpenFlows(args FlowArgs, took *time.Duration) error {
	conns := make([]net.Conn, args.Count)
	var next atomic.Int64
	begin := time.Now()
	err := together(make([]struct{}, max(args.AtOnce, 1)), func(int, struct{}) error {
		for {
			i := int(next.Add(1)) - 1
			if i >= args.Count {
				return nil
			}
			c, err := dial(args.Targets[i%len(args.Targets)])
			if err != nil {
				return fmt.Errorf("connection %d of %d: %w", i+1, args.Count, err)
			}
			conns[i] = c
			if err := begun(c, args); err != nil {
				return err
			}
		}
	})
	*took = time.Since(begin)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range conns {
		if c != nil {
			a.conns = append(a.conns, c)
		}
	}
	return err
}

// begun does what a new connection is to do first.
func begun(c *net.TCPConn, args FlowArgs) error {
	for b := bytes.Repeat([]byte{receives}, 64<<10); args.Say > 0; {
		// Who does not read takes what fits, and no more is wanted.
		_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := c.Write(b[:min(len(b), args.Say)])
		if args.Say -= n; isTimeout(err) {
			break
		}
		if err != nil {
			return err
		}
	}
	if args.Ask {
		if err := exchange(c); err != nil {
			return err
		}
	}
	if args.Half {
		return c.CloseWrite()
	}
	return nil
}

// exchange sends a byte to a server of askPort and waits for it to come back.
func exchange(c net.Conn) error {
	b := []byte{1}
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b)
	return err
}

// TryFlows sends a byte over each connection to a server of askPort, and counts those that bring it back.
func (a *Actor) TryFlows(_ struct{}, alive *int) error {
	a.mu.Lock()
	conns := a.conns
	a.mu.Unlock()
	var n, next atomic.Int64
	const atOnce = 64
	_ = together(make([]struct{}, atOnce), func(int, struct{}) error {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(conns) {
				return nil
			}
			if exchange(conns[i]) == nil {
				n.Add(1)
			}
		}
	})
	*alive = int(n.Load())
	return nil
}

// CloseFlows ends them; with a reset, so that nobody has to remember their ports.
func (a *Actor) CloseFlows(reset bool, _ *struct{}) error {
	a.mu.Lock()
	conns := a.conns
	a.conns = nil
	a.mu.Unlock()
	for _, c := range conns {
		if t, ok := c.(*net.TCPConn); ok && reset {
			_ = t.SetLinger(0)
		}
		c.Close()
	}
	return nil
}
