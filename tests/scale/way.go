package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/tests/world"
)

// Addresses at the two ends of the long way.
const (
	nearEnd = "198.18.0.1" // the host's; a range for measurements, RFC 2544
	farEnd  = "198.18.0.2" // the client's
)

// Ends of the long way, as network interfaces.
const nearTUN, farTUN = "near", "far"

// WayArgs say what the long way does with packets.
type WayArgs struct {
	Delay time.Duration // of each direction
	Loss  float64       // of each direction: the part that is lost
	Seed  uint64
}

// way is the long way: packets wait their delay in a queue, in each direction.
type way struct {
	mu   sync.Mutex
	args WayArgs
	dice map[uint64]*rand.Rand // by connection and direction
	next map[uint64]uint64     // by server and direction: the number of its next connection
	ends [2]*os.File
	full int // packets lost because a queue was full
}

// MakeWay makes the long way, or changes what it does. It needs the capabilities of both network namespaces.
func (a *Actor) MakeWay(args WayArgs, _ *struct{}) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.way != nil {
		a.way.change(args)
		return nil
	}
	w := &way{args: args, dice: map[uint64]*rand.Rand{}, next: map[uint64]uint64{}}
	var err error
	if w.ends[0], err = openTUN("", nearTUN); err != nil {
		return err
	}
	if w.ends[1], err = openTUN(string(world.Client), farTUN); err != nil {
		return err
	}
	a.way = w
	go w.carry(0)
	go w.carry(1)
	return nil
}

func (w *way) change(args WayArgs) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.args = args
	clear(w.dice)
	clear(w.next)
}

// openTUN makes a device in a network namespace, the own one if it has no name.
func openTUN(namespace, name string) (*os.File, error) {
	type opened struct {
		file *os.File
		err  error
	}
	done := make(chan opened)
	go func() {
		if namespace != "" {
			runtime.LockOSThread() // never unlocked: the thread ends in that namespace
			handle, err := netns.GetFromName(namespace)
			if err == nil {
				err = netns.Set(handle)
				handle.Close()
			}
			if err != nil {
				done <- opened{nil, fmt.Errorf("entering %s: %w", namespace, err)}
				return
			}
		}
		f, err := newTUN(name)
		done <- opened{f, err}
	}()
	o := <-done
	return o.file, o.err
}

func newTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("making the TUN device %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

// packet is one that waits.
type packet struct {
	bytes []byte
	due   time.Time
}

// carry moves packets from one end to the other until the device is gone.
func (w *way) carry(from int) {
	queue := make(chan packet, 1<<16)
	go w.deliver(w.ends[1-from], queue)
	defer close(queue)
	b := make([]byte, 64<<10)
	for {
		n, err := w.ends[from].Read(b)
		if err != nil {
			return
		}
		w.mu.Lock()
		lost := w.tossed(from, b[:n])
		due := time.Now().Add(w.args.Delay)
		w.mu.Unlock()
		if lost {
			continue
		}
		select {
		case queue <- packet{append([]byte(nil), b[:n]...), due}:
		default:
			w.mu.Lock()
			w.full++
			w.mu.Unlock()
		}
	}
}

func (w *way) deliver(to *os.File, queue <-chan packet) {
	for p := range queue {
		if wait := time.Until(p.due); wait > 0 {
			time.Sleep(wait)
		}
		// A packet that the other end does not take is lost, as on any way.
		if _, err := to.Write(p.bytes); errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

// tossed says whether a packet is lost. Each connection has a coin of its own, seeded by its number among those to the same
// server: the first connection to one server and the first to another lose the same packets. mu is held.
func (w *way) tossed(from int, p []byte) bool {
	if w.args.Loss <= 0 {
		return false
	}
	server, client, ok := ports(p)
	if !ok {
		return false
	}
	at := uint64(server)<<1 | uint64(from)
	key := at<<16 | uint64(client)
	dice := w.dice[key]
	if dice == nil {
		dice = rand.New(rand.NewPCG(w.args.Seed, w.next[at]<<1|uint64(from)))
		w.dice[key] = dice
		w.next[at]++
	}
	return dice.Float64() < w.args.Loss
}

// ports of an IPv4 TCP packet, unless it begins a connection: such a packet is spared, since it costs a second when it is
// lost, whoever sends it. The server's port is the smaller one.
func ports(p []byte) (server, client uint16, ok bool) {
	if len(p) < 20 || p[0]>>4 != 4 || p[9] != unix.IPPROTO_TCP {
		return 0, 0, false
	}
	header := int(p[0]&0xf) * 4
	if header < 20 || len(p) < header+20 {
		return 0, 0, false
	}
	const syn = 2
	a, b := binary.BigEndian.Uint16(p[header:]), binary.BigEndian.Uint16(p[header+2:])
	return min(a, b), max(a, b), p[header+13]&syn == 0
}
