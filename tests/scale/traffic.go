package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What a client of bulkPort begins with.
const (
	sends    = 's' // and eight bytes of a time, in nanoseconds: the client sends, and is told what arrived in that time
	receives = 'r' // the server sends until the client closes
)

// chunk is what one write and one read take at most, in bytes.
const chunk = 128 << 10

// cubic makes a socket use CUBIC where it may; who may not has been given it by the routes.
func cubic(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic") })
}

// dialer of all clients.
func dial(to string) (*net.TCPConn, error) {
	c, err := (&net.Dialer{Timeout: 10 * time.Second, Control: cubic, KeepAlive: -1}).Dial("tcp", to)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// Serve opens the TCP servers of this actor, on all its addresses, each port shifted by an offset.
func (a *Actor) Serve(offset int, _ *struct{}) error {
	for port, handle := range map[int]func(*net.TCPConn){
		bulkPort: bulkServer, askPort: answer, crawlPort: crawl, holdPort: a.keep, finPort: a.fin, resetPort: reset,
	} {
		l, err := (&net.ListenConfig{Control: cubic, KeepAlive: -1}).Listen(context.Background(), "tcp4", ":"+strconv.Itoa(port+offset))
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err == nil {
					go handle(c.(*net.TCPConn))
				}
			}
		}()
	}
	return nil
}

// tally is what arrived, and how long it took from the first byte to the last.
type tally struct {
	bytes int64
	took  time.Duration
}

// drain reads to the end, or for a time from the first byte on: what is still under way then does not count, however
// much there is room for on the way.
func drain(c *net.TCPConn, limit time.Duration) (t tally, err error) {
	b := make([]byte, chunk)
	var first, last time.Time
	for {
		n, err := c.Read(b)
		if n > 0 {
			last = time.Now()
			if first.IsZero() {
				first = last // the bytes of the first read took no time that was seen
			} else {
				t.bytes += int64(n)
			}
		}
		if !first.IsZero() && last.Sub(first) > limit || errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return t, err
		}
	}
	t.took = last.Sub(first)
	return t, nil
}

func bulkServer(c *net.TCPConn) {
	defer c.Close()
	var what [1]byte
	if _, err := io.ReadFull(c, what[:]); err != nil {
		return
	}
	if what[0] == receives {
		b := make([]byte, chunk)
		for {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}
	var limit [8]byte
	if _, err := io.ReadFull(c, limit[:]); err != nil {
		return
	}
	t, err := drain(c, time.Duration(binary.BigEndian.Uint64(limit[:])))
	if err != nil {
		return
	}
	b := binary.BigEndian.AppendUint64(nil, uint64(t.bytes))
	_, _ = c.Write(binary.BigEndian.AppendUint64(b, uint64(t.took)))
	// To close now, with bytes unread, is to reset: that could overtake the answer.
	_, _ = io.Copy(io.Discard, c)
}

func answer(c *net.TCPConn) {
	defer c.Close()
	b := make([]byte, 16)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

// keep holds a connection and never reads from it.
func (a *Actor) keep(c *net.TCPConn) { a.Hold(func() { c.SetLinger(0); c.Close() }) }

// fin ends its direction and does nothing else.
func (a *Actor) fin(c *net.TCPConn) {
	_ = c.CloseWrite()
	a.keep(c)
}

// reset fills whatever is between it and who does not read, and resets.
func reset(c *net.TCPConn) {
	_ = begun(c, FlowArgs{Say: 64 << 20})
	_ = c.SetLinger(0)
	c.Close()
}

func crawl(c *net.TCPConn) {
	defer c.Close()
	// Little is in the way: who sends must feel the speed, not the buffers.
	_ = c.SetReadBuffer(4 << 10)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	b := make([]byte, 100)
	for range tick.C {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// BulkArgs ask for streams to a server of bulkPort.
type BulkArgs struct {
	To      string // with its port
	Streams int    // 0 is 1
	Time    time.Duration
	Receive bool
}

// Bulk carries as much as it can for a time, and says how many bytes a second arrived.
func (a *Actor) Bulk(args BulkArgs, rate *float64) error {
	one := func() (tally, error) {
		c, err := dial(args.To)
		if err != nil {
			return tally{}, err
		}
		defer c.Close()
		if args.Receive {
			if _, err := c.Write([]byte{receives}); err != nil {
				return tally{}, err
			}
			t, err := drain(c, args.Time)
			_ = c.SetLinger(0)
			return t, err
		}
		if _, err := c.Write(binary.BigEndian.AppendUint64([]byte{sends}, uint64(args.Time))); err != nil {
			return tally{}, err
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			b := make([]byte, chunk)
			for {
				if _, err := c.Write(b); err != nil {
					return // closed below, or told by the read
				}
			}
		}()
		var said [16]byte
		_ = c.SetReadDeadline(time.Now().Add(args.Time + time.Minute))
		_, err = io.ReadFull(c, said[:])
		_ = c.SetLinger(0)
		c.Close()
		<-ended
		if err != nil {
			return tally{}, fmt.Errorf("what arrived: %w", err)
		}
		return tally{int64(binary.BigEndian.Uint64(said[:])), time.Duration(binary.BigEndian.Uint64(said[8:]))}, nil
	}
	tallies := make([]tally, max(args.Streams, 1))
	if err := together(tallies, func(i int, _ tally) (err error) {
		tallies[i], err = one()
		return err
	}); err != nil {
		return err
	}
	for _, t := range tallies {
		if t.took > 0 {
			*rate += float64(t.bytes) / t.took.Seconds()
		}
	}
	return nil
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// Connect opens a connection, exchanges a byte with a server of askPort and closes, again and again, and says how often
// a second.
func (a *Actor) Connect(args BulkArgs, rate *float64) error {
	var done atomic.Int64
	begin := time.Now()
	err := together(make([]struct{}, max(args.Streams, 1)), func(int, struct{}) error {
		b := []byte{1}
		for time.Since(begin) < args.Time {
			c, err := dial(args.To)
			if err != nil {
				return err
			}
			_, err = c.Write(b)
			if err == nil {
				_, err = io.ReadFull(c, b)
			}
			// A reset leaves nothing behind that would fill the tables of ports.
			_ = c.SetLinger(0)
			c.Close()
			if err != nil {
				return err
			}
			done.Add(1)
		}
		return nil
	})
	*rate = float64(done.Load()) / time.Since(begin).Seconds()
	return err
}

// AskNames asks for a name again and again, several at a time, and says how often a second.
func (a *Actor) AskNames(args BulkArgs, rate *float64) error {
	var done atomic.Int64
	begin := time.Now()
	server, err := nameServer()
	if err != nil {
		return err
	}
	err = together(make([]struct{}, max(args.Streams, 1)), func(int, struct{}) error {
		c, err := net.Dial("udp", server)
		if err != nil {
			return err
		}
		defer c.Close()
		query, err := question(args.To)
		if err != nil {
			return err
		}
		b := make([]byte, 1500)
		for time.Since(begin) < args.Time {
			if _, err := c.Write(query); err != nil {
				return err
			}
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, err := c.Read(b)
			if err != nil {
				return err
			}
			if n < 12 || b[3]&0xf != 0 || b[6] == 0 && b[7] == 0 {
				return fmt.Errorf("the name %s has no address: % x", args.To, b[:min(n, 12)])
			}
			done.Add(1)
		}
		return nil
	})
	*rate = float64(done.Load()) / time.Since(begin).Seconds()
	return err
}
