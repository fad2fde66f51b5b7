package stack

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"

	"github.com/footbridge-net/footbridge/internal/busypoll"
	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// maxFrame is the size of a read buffer in bytes: the largest chunk that
// netstack pools. A buffer above 64 KiB would be garbage at every frame, which
// costs 2.5 times the throughput; the kernel's super-frames are below it.
const maxFrame = buffer.MaxChunkSize

// Queue is one queue of a Device.
type Queue interface {
	// ReadFrame waits for a frame, puts its virtio header into hdr and the
	// frame into b, and says how long the frame is in bytes. It returns
	// io.ErrShortBuffer or io.ErrUnexpectedEOF for a frame that is lost, and
	// another error, after which it is not called again, when the device is
	// closed (os.ErrClosed, io.EOF) or gone.
	ReadFrame(hdr *[vnet.Len]byte, b []byte) (int, error)
	// Waited reports whether the last ReadFrame found no frame at first, so
	// that its caller slept and others had their turn.
	Waited() bool
	// OnIdle makes ReadFrame call idle whenever it has found no frame, before it sleeps; idle
	// reports whether it has done something meanwhile, and is then called again.
	OnIdle(idle func() bool)
	// WriteFrame writes one frame: its virtio header and its pieces, in
	// order. It never waits; it may be called from many goroutines.
	WriteFrame(parts [][]byte) error
}

// Device is a container's network device.
type Device interface {
	Queues() []Queue
	Close() error
}

// PortOptions of a port. MAC, Device and at least one address are required.
type PortOptions struct {
	// Name is for logs and statistics.
	Name string
	MAC  packet.MAC
	// Addresses are those the endpoint may use. Its link-local address is
	// derived from the MAC.
	Addresses []netip.Addr
	Device    Device
	// Guard is what the port may carry beyond its MAC and Addresses.
	Guard Guard
	// Known: the endpoint has been on the network before, and the others know it.
	// They are told once all the same: one may have missed it.
	Known bool
	// Limits of what it may keep of everybody's memory.
	Limits Limits
}

// Port is where an endpoint's device meets its network's switch.
type Port struct {
	net       *Network
	name      string
	mac       packet.MAC
	addrs     []netip.Addr
	linkLocal netip.Addr
	dev       Device
	queues    []Queue
	guard     Guard
	limits    Limits
	stats     counters
	fragments fragments

	errors   pace // ICMP errors to the container
	connects pace // its TCP connections to the gateway itself
	dials    pace // and to the outside
	drops    pace // frames that are read to be dropped
	floods   floods
	claims   pace // addresses that it takes from others
	seeks    pace // questions of the gateway for who is behind it

	questions pace // its own, to be configured

	asks pace // questions of the gateway on its behalf, for who is behind others

	crossing crossings // its flows to other networks
	spoken   spoken    // its datagrams to exposed ports of others
	closed   atomic.Bool

	noSegments atomic.Bool // its device takes no frames of several datagrams

	gone bool // net.stations.mu: nothing is learned of it any more

	left      chan struct{} // closed when it leaves the network
	readers   sync.WaitGroup
	closeOnce sync.Once
}

func newPort(n *Network, o PortOptions) *Port {
	p := &Port{
		net: n, name: o.Name, mac: o.MAC, addrs: o.Addresses,
		linkLocal: o.MAC.LinkLocal(),
		left:      make(chan struct{}),
		dev:       o.Device, queues: o.Device.Queues(),
		guard: o.Guard, limits: o.Limits.withDefaults(),
	}
	p.fragments.limits = p.limits
	p.fragments.onExpiry = p.expireFragments
	return p
}

func (p *Port) start() {
	for i, q := range p.queues {
		p.readers.Go(func() { p.read(i, q) })
	}
}

// Stats gives the port's counters.
func (p *Port) Stats() PortStats {
	s := p.stats.read(p.name)
	s.FragmentDatagrams, s.FragmentBytes = p.fragments.held()
	if p.guard.extended() {
		s.Stations = len(p.Stations())
	}
	s.CrossTCP, s.CrossUDP, s.CrossEcho = p.crossing.read()
	return s
}

// Close takes the endpoint off the network, closes its device, and waits until
// nothing reads from it any more. It must not be called from a handler.
func (p *Port) Close() error {
	var err error
	p.closeOnce.Do(func() {
		p.closed.Store(true)
		close(p.left)
		p.net.remove(p)
		err = p.dev.Close()
	})
	p.readers.Wait()
	p.fragments.close()
	return err
}

func (p *Port) owns(a netip.Addr) bool {
	for _, own := range p.addrs {
		if own == a {
			return true
		}
	}
	return false
}

// incoming is a frame on its way through the switch.
type incoming struct {
	port  *Port
	queue int
	hdr   *[vnet.Len]byte
	frame []byte
	// view is the memory below frame. Who keeps it sets it to nil, and the
	// reader goes on with another.
	view *buffer.View
	// Set by the guard: source always, ip for IPv4 and IPv6, arp for ARP,
	// target for neighbour solicitations and advertisements.
	source packet.MAC
	ip     packet.IP
	arp    packet.ARP
	target netip.Addr
	// wasCut: the packet has come in fragments and was put together here.
	wasCut bool
	gather gather
	// moved is how many bytes there were since the device was last waited for, without those for a group: who
	// sends to all waits for nobody's answer.
	moved int
	// spawned is the time that others will spend for the frame when the
	// reader's turn is over.
	spawned time.Duration
	// parts is room for a write.
	parts [2][]byte
}

// read carries the frames of one queue until the device is closed or gone.
func (p *Port) read(queue int, q Queue) {
	var hdr [vnet.Len]byte
	in := incoming{port: p, queue: queue, hdr: &hdr}
	var buf []byte
	q.OnIdle(in.idle)
	defer in.gather.flush()
	turn := time.Now()
	for {
		if in.view == nil {
			in.view = buffer.NewViewSize(maxFrame)
			buf = in.view.AsSlice()
		}
		n, err := q.ReadFrame(&hdr, buf)
		switch {
		case q.Waited():
			turn = time.Now()
		case time.Since(turn) > turnLength:
			in.gather.flush()
			p.net.turns.yield()
			turn = time.Now()
		}
		if errors.Is(err, io.ErrShortBuffer) || errors.Is(err, io.ErrUnexpectedEOF) {
			in.gather.flush()
			p.dropped(DropMalformed)
			continue
		}
		if err != nil {
			if !errors.Is(err, os.ErrClosed) && !errors.Is(err, io.EOF) {
				p.net.log.Info("device is gone", "port", p.name, "error", err)
			}
			in.view.Release()
			return
		}
		p.stats.rxFrames.Add(1)
		p.stats.rxBytes.Add(uint64(n))
		in.frame = buf[:n]
		in.moved += n
		if reason := p.net.forward(&in); reason != DropNone {
			in.gather.flush() // who drops may sleep
			p.dropped(reason)
		}
		if in.spawned != 0 {
			turn = turn.Add(-in.spawned)
			in.spawned = 0
		}
	}
}

// idle is called when the device has no more. It reports whether it had something to do.
func (in *incoming) idle() bool {
	if in.gather.rest() {
		return true
	}
	if in.moved > 0 {
		busypoll.Waiting(in.moved)
		in.moved = 0
	}
	return false
}

// dropped counts a frame that was not passed on, and leaves the device alone for a
// while when there are too many. Frames that nobody wanted or took through no
// fault of the sender's do not count.
func (p *Port) dropped(reason DropReason) {
	p.stats.drops[reason].Add(1)
	if reason == DropMulticast || reason == DropDevice {
		return
	}
	// Shorter sleeps than a millisecond are not to be had of the poller.
	if d := p.drops.charge(time.Now(), dropRate); d >= time.Millisecond {
		time.Sleep(d)
	}
}

// write gives the port's container a frame whose virtio header is parts[0].
// queue is a hint: frames of one flow should come with the same.
func (p *Port) write(queue int, parts [][]byte) DropReason {
	if p.tryWrite(queue, parts) != nil {
		return DropDevice
	}
	return DropNone
}

// tryWrite is write with the device's error.
func (p *Port) tryWrite(queue int, parts [][]byte) error {
	if err := p.queues[uint(queue)%uint(len(p.queues))].WriteFrame(parts); err != nil {
		return err
	}
	n := 0
	for _, b := range parts[1:] {
		n += len(b)
	}
	p.stats.txFrames.Add(1)
	p.stats.txBytes.Add(uint64(n))
	return nil
}

// plain is the virtio header of a frame that is complete as it is.
var plain [vnet.Len]byte

// writePlain gives the container a complete frame made here.
func (p *Port) writePlain(frame []byte) DropReason {
	return p.write(0, [][]byte{plain[:], frame})
}
