package stack

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/footbridge-net/footbridge/internal/packet"
	"github.com/footbridge-net/footbridge/internal/vnet"
)

// memory is a container's device whose container is the test.
type memory struct {
	t    testing.TB
	in   chan sent // what the container sends
	out  chan sent // what it gets
	done chan struct{}
	idle func() bool
}

type sent struct {
	hdr   [vnet.Len]byte
	frame []byte
}

func newMemory(t testing.TB) *memory {
	return &memory{t: t, in: make(chan sent), out: make(chan sent, 64), done: make(chan struct{})}
}

func (m *memory) Queues() []Queue { return []Queue{m} }
func (m *memory) Waited() bool    { return true }
func (m *memory) Close() error    { close(m.done); return nil }

func (m *memory) OnIdle(idle func() bool) { m.idle = idle }

func (m *memory) ReadFrame(hdr *[vnet.Len]byte, b []byte) (int, error) {
	for m.idle() { // nobody is ever there yet
	}
	select {
	case s := <-m.in:
		*hdr = s.hdr
		return copy(b, s.frame), nil
	case <-m.done:
		return 0, io.EOF
	}
}

func (m *memory) WriteFrame(parts [][]byte) error {
	s := sent{hdr: [vnet.Len]byte(parts[0]), frame: bytes.Join(parts[1:], nil)}
	select {
	case m.out <- s:
		return nil
	default:
		return io.ErrShortWrite
	}
}

// send lets the container send a frame, and waits until the port has read it.
func (m *memory) send(hdr [vnet.Len]byte, frame []byte) {
	m.t.Helper()
	select {
	case m.in <- sent{hdr, frame}:
	case <-time.After(5 * time.Second):
		m.t.Fatal("the port does not read its device")
	}
}

// receive waits for the next frame that the container gets.
func (m *memory) receive() sent {
	m.t.Helper()
	select {
	case s := <-m.out:
		return s
	case <-time.After(5 * time.Second):
		m.t.Fatal("the container waited for a frame in vain")
		return sent{}
	}
}

// silent fails if the container has got a frame. A frame sent by somebody and
// answered or delivered before has passed the switch, so there is no waiting.
func (m *memory) silent() {
	m.t.Helper()
	select {
	case s := <-m.out:
		m.t.Fatalf("the container got a frame it must not see: %x", s.frame)
	default:
	}
}

// world is a network with two containers.
type world struct {
	net  *Network
	a, b *memory
	pa   *Port
	pb   *Port
}

var (
	gw4, gw6 = netip.MustParsePrefix("172.18.0.1/16"), netip.MustParsePrefix("fd00:1::1/64")
	a4, a6   = netip.MustParseAddr("172.18.0.2"), netip.MustParseAddr("fd00:1::2")
	b4, b6   = netip.MustParseAddr("172.18.0.3"), netip.MustParseAddr("fd00:1::3")
	out4     = netip.MustParseAddr("198.51.100.7")
	out6     = netip.MustParseAddr("2001:db8::7")
	aMAC     = packet.MACFromIPv4(a4)
	bMAC     = packet.MACFromIPv4(b4)
	gwMAC    = packet.MACFromIPv4(gw4.Addr())
)

func newWorld(t testing.TB, v6 bool) *world {
	t.Helper()
	o := Options{Name: "test", Gateway4: gw4, Announce: Announce{Messages: 1}}
	if v6 {
		o.Gateway6 = gw6
	}
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	w := &world{net: n, a: newMemory(t), b: newMemory(t)}
	add := func(name string, m *memory, mac packet.MAC, addrs ...netip.Addr) *Port {
		if !v6 {
			addrs = addrs[:1]
		}
		p, err := n.AddPort(PortOptions{Name: name, MAC: mac, Addresses: addrs, Device: m})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	w.pa = add("a", w.a, aMAC, a4, a6)
	w.pb = add("b", w.b, bMAC, b4, b6)
	for len(w.a.out) > 0 { // the announcement of b
		<-w.a.out
	}
	return w
}

// settle waits until everything that a sent before has passed the switch: an
// ARP request for the gateway is always answered.
func (w *world) settle(m *memory, mac packet.MAC, ip netip.Addr) {
	m.t.Helper()
	m.send(plain, packet.ARPFrame(packet.Broadcast, packet.ARP{
		Op: packet.ARPRequest, SenderMAC: mac, SenderIP: ip, TargetIP: gw4.Addr()}))
	m.receive()
}

// datagramFrame makes a datagram with full checksums.
func datagramFrame(dstMAC, srcMAC packet.MAC, src, dst netip.AddrPort, payload string) []byte {
	b := make([]byte, packet.UDPHeaderLen(dst.Addr())+len(payload))
	n := packet.PutUDPPartial(b, dstMAC, srcMAC, src, dst, len(payload))
	copy(b[n:], payload)
	u := b[n-packet.UDPLen:]
	sum := ^packet.Sum(u, 0)
	u[6], u[7] = byte(sum>>8), byte(sum)
	return b
}
