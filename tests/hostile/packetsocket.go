package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// openPacket opens a packet socket on an interface of this namespace.
func openPacket(name string, protocol uint16, options ...int) (int, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return -1, err
	}
	wire := protocol<<8 | protocol>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(wire))
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, o, 1); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("option %d of a packet socket: %w", o, err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: wire, Ifindex: i.Index}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("packet socket on %s: %w", name, err)
	}
	return fd, nil
}

// SendArgs are frames for an interface.
type SendArgs struct {
	Interface string
	Frames    [][]byte // with VNet: a virtio header before each
	VNet      bool
}

// SendReply says how many frames the actor's own kernel took.
type SendReply struct {
	Sent    int
	Refused int
}

// Send sends frames by a packet socket.
func (a *Actor) Send(args SendArgs, reply *SendReply) error {
	var options []int
	if args.VNet {
		options = append(options, unix.PACKET_VNET_HDR)
	}
	fd, err := openPacket(args.Interface, 0, options...)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, f := range args.Frames {
		if sendFrame(fd, f) == nil {
			reply.Sent++
		} else {
			reply.Refused++
		}
	}
	return nil
}

// sendFrame writes one frame and tries again while the queue is full.
func sendFrame(fd int, frame []byte) error {
	for {
		_, err := unix.Write(fd, frame)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN):
			time.Sleep(100 * time.Microsecond)
		default:
			return err
		}
	}
}

// WatchArgs say what an actor looks for on an interface: frames that hold one of the patterns, TCP or UDP to the port, or,
// with Everything, all frames that arrive.
type WatchArgs struct {
	Interface  string
	Patterns   [][]byte
	Port       uint16
	Everything bool
	Outgoing   bool // also what leaves through the interface
}

// watcher collects frames until Watched.
type watcher struct {
	fd   int
	args WatchArgs
	done chan struct{}
	stop chan struct{}

	mu     sync.Mutex
	frames [][]byte
}

func (w *watcher) seen() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.frames)
}

// Limits of what a watcher keeps.
const (
	maxSeen     = 2000
	maxSeenSize = 400 // bytes of each frame
)

// Watch begins to look and returns the watch's number.
func (a *Actor) Watch(args WatchArgs, id *int) error {
	fd, err := openPacket(args.Interface, unix.ETH_P_ALL)
	if err != nil {
		return err
	}
	// A flood must not push out what is looked for.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000})
	w := &watcher{fd: fd, args: args, done: make(chan struct{}), stop: make(chan struct{})}
	go w.run()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	a.watches[a.last] = w
	*id = a.last
	return nil
}

// Watched ends a watch and says what it saw. Frames that are there already are looked at.
func (a *Actor) Watched(id int, frames *[][]byte) error {
	a.mu.Lock()
	w := a.watches[id]
	delete(a.watches, id)
	a.mu.Unlock()
	if w == nil {
		return fmt.Errorf("there is no watch %d", id)
	}
	close(w.stop)
	<-w.done
	*frames = w.seen()
	return nil
}

// Seen says what a watch has seen so far.
func (a *Actor) Seen(id int, frames *[][]byte) error {
	a.mu.Lock()
	w := a.watches[id]
	a.mu.Unlock()
	if w == nil {
		return fmt.Errorf("there is no watch %d", id)
	}
	*frames = w.seen()
	return nil
}

func (w *watcher) run() {
	defer close(w.done)
	defer unix.Close(w.fd)
	b := make([]byte, 70000)
	for {
		n, from, err := unix.Recvfrom(w.fd, b, 0)
		if err != nil {
			select {
			case <-w.stop:
				return // and nothing is waiting
			default:
			}
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
				continue
			}
			if errors.Is(err, unix.ENETDOWN) {
				continue
			}
			return
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if ok && ll.Pkttype == unix.PACKET_OUTGOING && !w.args.Outgoing {
			continue
		}
		if w.wants(b[:n]) {
			w.mu.Lock()
			if len(w.frames) < maxSeen {
				w.frames = append(w.frames, bytes.Clone(b[:min(n, maxSeenSize)]))
			}
			w.mu.Unlock()
		}
	}
}

func (w *watcher) wants(frame []byte) bool {
	if w.args.Everything {
		return true
	}
	for _, p := range w.args.Patterns {
		if bytes.Contains(frame, p) {
			return true
		}
	}
	return w.args.Port != 0 && portOf(frame) == w.args.Port
}

// portOf is the TCP or UDP port that a frame is for; 0 for other frames.
func portOf(frame []byte) uint16 {
	if len(frame) < packet.EthernetLen {
		return 0
	}
	ip, err := packet.ParseIP(frame[packet.EthernetLen:])
	if err != nil || ip.Proto != packet.ProtoTCP && ip.Proto != packet.ProtoUDP || !ip.IsFirst() || ip.Len < ip.HeaderLen+4 {
		return 0
	}
	return binary.BigEndian.Uint16(frame[packet.EthernetLen+ip.HeaderLen+2:])
}

// withHeader puts a virtio header before a frame.
func withHeader(h vnet.Header, frame []byte) []byte {
	var b [vnet.Len]byte
	h.Encode(&b)
	return append(b[:], frame...)
}

// LinkReply describes an interface of an actor.
type LinkReply struct {
	MAC, Gateway packet.MAC
	Addresses    []string
}

// Link describes an interface, and asks for the MAC of a neighbour on it, as the kernel knows it after a ping.
func (a *Actor) Link(args [2]string, reply *LinkReply) error {
	i, err := net.InterfaceByName(args[0])
	if err != nil {
		return err
	}
	copy(reply.MAC[:], i.HardwareAddr)
	addresses, err := i.Addrs()
	if err != nil {
		return err
	}
	for _, address := range addresses {
		reply.Addresses = append(reply.Addresses, address.String())
	}
	if args[1] == "" {
		return nil
	}
	deadline := time.Now().Add(5 * time.Second)
	for time.Now().Before(deadline) {
		if c, err := net.Dial("udp", net.JoinHostPort(args[1], "9")); err == nil {
			_, _ = c.Write([]byte("who is there?"))
			c.Close()
		}
		if mac, ok := neighbour(args[1]); ok {
			reply.Gateway = mac
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%s does not say its MAC", args[1])
}

// neighbour looks an IPv4 address up in the kernel's ARP table.
func neighbour(address string) (packet.MAC, bool) {
	table, err := os.ReadFile("/proc/net/arp")
	if err != nil {
		return packet.MAC{}, false
	}
	for line := range bytes.Lines(table) {
		fields := bytes.Fields(line)
		if len(fields) > 3 && string(fields[0]) == address {
			mac, err := packet.ParseMAC(string(fields[3]))
			return mac, err == nil && mac != packet.MAC{}
		}
	}
	return packet.MAC{}, false
}
