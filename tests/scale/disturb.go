package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Press opens connections and writes to each of them without end, until Release. It returns when they have got stuck, or
// nearly: a server that reads slowly lets them go on for ever.
func (a *Actor) Press(args FlowArgs, _ *struct{}) error {
	var written atomic.Int64
	for i := range args.Count {
		c, err := dial(args.Targets[i%len(args.Targets)])
		if err != nil {
			return err
		}
		a.Hold(func() {
			_ = c.SetLinger(0)
			c.Close()
		})
		go func() {
			b := make([]byte, chunk)
			for {
				n, err := c.Write(b)
				written.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
	}
	const moment, patience, trickle = 200 * time.Millisecond, 3 * time.Second, 1 << 20
	for begin, last := time.Now(), int64(-trickle); time.Since(begin) < patience; {
		now := written.Load()
		if now-last < trickle {
			return nil
		}
		last = now
		time.Sleep(moment) // what is looked for is that next to nothing happens in it
	}
	return nil
}

// ShoutArgs ask for datagrams.
type ShoutArgs struct {
	To   string
	Rate int // a second; 0: as many as the machine can
	Size int // bytes of each
	Time time.Duration
}

// deafPort is that of the socket that nobody reads.
const deafPort = 7999

// Deaf opens a UDP socket that nobody reads, until Release.
func (a *Actor) Deaf(struct{}, *struct{}) error {
	c, err := net.ListenPacket("udp4", fmt.Sprint(":", deafPort))
	if err != nil {
		return err
	}
	a.Hold(func() { c.Close() })
	return nil
}

// Shout sends datagrams for a time, to deafPort of an address, of all or of one, and says how many. Its socket is not
// one of the runtime's poller, which the kernel would wake for each datagram that somebody has taken: what that
// costs is no neighbour's doing.
func (a *Actor) Shout(args ShoutArgs, sent *int) error {
	to, err := netip.ParseAddr(args.To)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		return err
	}
	there := &unix.SockaddrInet4{Port: deafPort, Addr: to.As4()}
	b := make([]byte, max(args.Size, 1))
	begin := time.Now()
	for n := 0; ; n++ {
		passed := time.Since(begin)
		if passed > args.Time {
			return nil
		}
		if args.Rate > 0 {
			if due := time.Duration(n) * time.Second / time.Duration(args.Rate); due > passed {
				ts := unix.NsecToTimespec(int64(min(due-passed, args.Time-passed)))
				_ = unix.Nanosleep(&ts, nil)
			}
		}
		switch err := unix.Sendto(fd, b, 0, there); err {
		case nil:
			*sent++
		case unix.ENOBUFS, unix.EAGAIN, unix.ECONNREFUSED, unix.EINTR:
		default:
			return err
		}
	}
}

// Knock sends datagrams from sockets of their own to where nobody listens, and keeps the sockets, until Release.
func (a *Actor) Knock(args FlowArgs, _ *struct{}) error {
	var mu sync.Mutex
	return together(make([]struct{}, args.Count), func(i int, _ struct{}) error {
		c, err := net.Dial("udp", args.Targets[i%len(args.Targets)])
		if err != nil {
			return err
		}
		mu.Lock()
		a.Hold(func() { c.Close() })
		mu.Unlock()
		for range 3 {
			// A refusal of the one before is what is wanted.
			if _, err := c.Write([]byte("knock")); err != nil && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EHOSTUNREACH) {
				return err
			}
			time.Sleep(10 * time.Millisecond) // for the refusal to come back
		}
		return nil
	})
}
