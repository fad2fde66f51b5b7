package slirp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// machine is a virtual machine at the end of a socket of frames: netstack, which checks all
// checksums, and whoever writes frames besides.
type machine struct {
	t       *testing.T
	fd      int // of the frames
	mac     packet.MAC
	stack   *stack.Stack
	longest atomic.Int64 // frame that came, in bytes
	replies chan []byte  // datagrams to port 68, whole frames
}

// newMachine takes the socket over.
func newMachine(t *testing.T, fd int, at netip.Addr) *machine {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, fd: fd, mac: packet.MAC{0x52, 0x54, 0, 0, 0, 1}, replies: make(chan []byte, 16)}
	link, err := fdbased.New(&fdbased.Options{FDs: []int{pair[0]}, MTU: 1500, EthernetHeader: true, Address: tcpip.LinkAddress(m.mac[:])})
	if err != nil {
		t.Fatal(err)
	}
	m.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	if err := m.stack.CreateNIC(1, link); err != nil {
		t.Fatal(err)
	}
	address := tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(at.AsSlice()), PrefixLen: 24}
	if err := m.stack.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: address}, stack.AddressProperties{}); err != nil {
		t.Fatal(err)
	}
	m.stack.SetRouteTable([]tcpip.Route{{Destination: address.Subnet(), NIC: 1}, {Destination: header.IPv4EmptySubnet, NIC: 1, Gateway: tcpip.AddrFrom4([4]byte{10, 0, 2, 2})}})
	pump := func(from, to int, see func([]byte)) {
		b := make([]byte, 1<<17)
		for {
			n, err := unix.Read(from, b)
			if err != nil || n == 0 {
				return
			}
			see(b[:n])
			_, _ = unix.Write(to, b[:n])
		}
	}
	go pump(fd, pair[1], m.see)
	go pump(pair[1], fd, func([]byte) {})
	t.Cleanup(func() {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
		_ = unix.Shutdown(pair[1], unix.SHUT_RDWR)
		m.stack.Destroy()
	})
	return m
}

func (m *machine) see(frame []byte) {
	if n := int64(len(frame)); n > m.longest.Load() {
		m.longest.Store(n)
	}
	if len(frame) > 42 && packet.EtherType(frame) == packet.TypeIPv4 && frame[23] == packet.ProtoUDP && frame[37] == 68 {
		m.replies <- bytes.Clone(frame[42:])
	}
}

// download reads all that a server of the host's loopback sends.
func (m *machine) download(port int) []byte {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patient)
	defer cancel()
	c, err := gonet.DialContextTCP(ctx, m.stack, tcpip.FullAddress{NIC: 1, Addr: tcpip.AddrFrom4([4]byte{10, 0, 2, 2}), Port: uint16(port)}, ipv4.ProtocolNumber)
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patient))
	b, err := io.ReadAll(c)
	if err != nil {
		m.t.Fatalf("after %d bytes: %v", len(b), err)
	}
	return b
}

// ask broadcasts a DHCP message and gives the reply.
func (m *machine) ask(change ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	m.t.Helper()
	q, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(m.mac[:]), dhcpv4.WithBroadcast(true)}, change...)...)
	if err != nil {
		m.t.Fatal(err)
	}
	frame := packet.UDPFrame(packet.Broadcast, m.mac, netip.MustParseAddrPort("0.0.0.0:68"), netip.AddrPortFrom(packet.LimitedBroadcast, 67), q.ToBytes())
	if _, err := unix.Write(m.fd, frame); err != nil {
		m.t.Fatal(err)
	}
	select {
	case b := <-m.replies:
		r, err := dhcpv4.FromBytes(b)
		if err != nil {
			m.t.Fatalf("%v: %x", err, b)
		}
		return r
	case <-time.After(patient):
		m.t.Fatal("no DHCP server answers")
		return nil
	}
}

// big is what bigServer sends.
var big = bytes.Repeat([]byte("0123456789abcdef"), 1<<16)

func bigServer(t *testing.T) int {
	t.Helper()
	return serveHost(t, func(c *net.TCPConn) { _, _ = c.Write(big) })
}

// check sees to all that a machine can have.
func (m *machine) check() {
	t := m.t
	t.Helper()
	offer := m.ask(dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover))
	ack := m.ask(dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier())))
	a, _ := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if ack.MessageType() != dhcpv4.MessageTypeAck || a.Less(netip.MustParseAddr("10.0.2.15")) || netip.MustParseAddr("10.0.2.30").Less(a) ||
		fmt.Sprint(ack.Router(), ack.DNS(), ack.ServerIdentifier(), ack.SubnetMask()) != "[10.0.2.2] [10.0.2.3] 10.0.2.2 ffffff00" {
		t.Errorf("%s", ack.Summary())
	}
	if got := m.download(bigServer(t)); !bytes.Equal(got, big) {
		t.Errorf("%d bytes came, not %d, or other ones", len(got), len(big))
	}
	if n := m.longest.Load(); n > 1500+packet.EthernetLen || n < 1000 {
		t.Errorf("the longest frame has %d bytes", n)
	}
}

func TestADescriptorOfFramesIsServed(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "frames")
	defer theirs.Close()
	s := start(t, []*os.File{theirs}, "-r", "3", "-e", "4", "--netns-type=tapfd", "5")
	theirs.Close()
	s.mustBeReady()
	newMachine(t, pair[0], netip.MustParseAddr("10.0.2.100")).check()
	_ = unix.Shutdown(pair[0], unix.SHUT_RDWR)
	if err := s.ended(); err != nil {
		t.Errorf("after the other end's end: %v", err)
	}
}

func TestABESSClientIsServed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bess")
	s := start(t, nil, "-r", "3", "-e", "4", "--target-type=bess", path)
	waitUntil(t, "the socket", func() bool { return strings.Contains(s.out.String(), "Waiting for connection to "+path) })
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	s.mustBeReady()
	newMachine(t, fd, netip.MustParseAddr("10.0.2.50")).check()
	_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	if err := s.ended(); err != nil {
		t.Errorf("after the client's end: %v", err)
	}
	gone(t, path)
}
