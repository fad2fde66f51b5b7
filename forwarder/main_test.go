package forwarder

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/pipe"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// The tests run in a user and network namespace of their own, where the
// "outside" are addresses of the loopback device and routes that refuse.
const inside = "FOOTBRIDGE_TEST_INSIDE"

var (
	host4    = netip.MustParseAddr("198.51.100.1")
	host6    = netip.MustParseAddr("2001:db8::1")
	nowhere4 = netip.MustParseAddr("198.51.101.1") // unreachable by a route
	nowhere6 = netip.MustParseAddr("2001:db8:1::1")
	closed4  = netip.MustParseAddr("198.51.102.1")   // not allowed
	all4     = netip.MustParseAddr("198.51.103.255") // broadcast of a network of the host
	second4  = netip.MustParseAddr("198.51.100.2")   // the host's second addresses
	second6  = netip.MustParseAddr("2001:db8::2")
	narrow4  = netip.MustParseAddr("198.51.104.1") // on a way of narrowMTU, nobody there
	narrow6  = netip.MustParseAddr("2001:db8:2::1")
	silent   = netip.MustParsePrefix("198.18.0.0/15") // nobody there
	gw4      = netip.MustParseAddr("172.18.0.1")
	gw6      = netip.MustParseAddr("fd00:1::1")
	ctr4     = netip.MustParseAddr("172.18.0.2")
	ctr6     = netip.MustParseAddr("fd00:1::2")
)

func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" {
		os.Exit(enter())
	}
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot build the test's network namespace:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// enter runs the test binary again in new namespaces.
func enter() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot enter namespaces for the test:", err)
		return 1
	}
	return 0
}

// furnish is called once more in the same namespace by every worker of a fuzz test.
func furnish() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for _, a := range []netip.Addr{host4, host6, second4, second6} {
		ip := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
		if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: ip, Flags: syscall.IFA_F_NODAD}); err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("address %s: %w", a, err)
		}
		if err := untilLocal(a); err != nil {
			return err
		}
	}
	dst := &net.IPNet{IP: all4.AsSlice(), Mask: net.CIDRMask(32, 32)}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Type: syscall.RTN_BROADCAST, Scope: netlink.SCOPE_LINK}); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("broadcast route to %s: %w", all4, err)
	}
	for _, a := range []netip.Addr{nowhere4, nowhere6} {
		dst := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
		if err := netlink.RouteAdd(&netlink.Route{Dst: dst, Type: syscall.RTN_UNREACHABLE}); err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("route to %s: %w", a, err)
		}
	}
	if err := furnishNarrow(lo); err != nil {
		return err
	}
	// What is sent to loopback and is nobody's address is lost.
	dst = &net.IPNet{IP: silent.Addr().AsSlice(), Mask: net.CIDRMask(silent.Bits(), 32)}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst}); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("route to %s: %w", silent, err)
	}
	return os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0)
}

// narrowMTU is less than usual, in bytes.
const narrowMTU = 1400

func furnishNarrow(lo netlink.Link) error {
	for _, a := range []netip.Addr{narrow4, narrow6} {
		dst := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
		err := netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, MTU: narrowMTU})
		if err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("route to %s: %w", a, err)
		}
	}
	return nil
}

// untilLocal waits until the kernel takes what is sent to a: it adds the local
// route of an IPv6 address on a thread of its own, some time after it has
// confirmed the address.
func untilLocal(a netip.Addr) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(10 * time.Second)
	for {
		routes, err := netlink.RouteGet(a.AsSlice())
		if err == nil && len(routes) > 0 && routes[0].Type == syscall.RTN_LOCAL {
			return nil
		}
		select {
		case <-tick.C:
		case <-end:
			return fmt.Errorf("waited 10 s until %s is local: %v, %w", a, routes, err)
		}
	}
}

// fake is a gateway whose container is a netstack at the other end of a pipe
// for TCP, and the test itself for all else.
type fake struct {
	stack, container *stack.Stack
	udp              chan datagram
	echo             chan reply
	icmp             chan icmpError
}

type datagram struct {
	src, dst netip.AddrPort
	payload  string
	size     int // of each of several
}

type reply struct {
	src, dst netip.Addr
	id, seq  uint16
	data     string
}

type icmpError struct {
	from   netip.Addr
	e      packet.ICMPError
	quoted []byte
}

// gatewayAddrs is made once: the flows' budget of allocations is none.
var gatewayAddrs = []netip.Addr{gw4, gw6}

func (f *fake) Stack() *stack.Stack { return f.stack }
func (f *fake) Addrs() []netip.Addr { return gatewayAddrs }
func (f *fake) SendDatagrams(src, dst netip.AddrPort, payload []byte, size int) error {
	f.udp <- datagram{src, dst, string(payload), size}
	return nil
}
func (f *fake) SendEchoReply(src, dst netip.Addr, id, seq uint16, data []byte) error {
	f.echo <- reply{src, dst, id, seq, string(data)}
	return nil
}
func (f *fake) SendICMPError(from netip.Addr, e packet.ICMPError, quoted []byte) error {
	f.icmp <- icmpError{from, e, append([]byte(nil), quoted...)}
	return nil
}

// drain makes the container take, and ignore, whatever it is sent.
func (f *fake) drain(t testing.TB) {
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			select {
			case <-f.udp:
			case <-f.echo:
			case <-f.icmp:
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() { close(stop); done.Wait() })
}

// wait receives from ch, or fails saying what it waited for.
func wait[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("waited 10 s for %s", what)
		panic("unreachable")
	}
}

func newStack(t testing.TB, link stack.LinkEndpoint, addrs ...netip.Addr) *stack.Stack {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC},
	})
	if err := s.CreateNIC(1, link); err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		proto, bits := ipv4.ProtocolNumber, 16
		if a.Is6() {
			proto, bits = ipv6.ProtocolNumber, 64
		}
		if err := s.AddProtocolAddress(1, tcpip.ProtocolAddress{Protocol: proto, AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: tcpip.AddrFromSlice(a.AsSlice()), PrefixLen: bits}}, stack.AddressProperties{}); err != nil {
			t.Fatal(err)
		}
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}, {Destination: header.IPv6EmptySubnet, NIC: 1}})
	t.Cleanup(s.Destroy)
	return s
}

// newWorld makes a forwarder whose container is the netstack returned with it.
func newWorld(t testing.TB, limits Limits) (*Forwarder, *fake) {
	t.Helper()
	return newWorldOf(t, Options{Limits: limits})
}

// newWorldOf takes all of o but Gateway and Allow.
func newWorldOf(t testing.TB, o Options) (*Forwarder, *fake) {
	t.Helper()
	a, b := pipe.New("\x02\x00\x00\x00\x00\x01", "\x02\x00\x00\x00\x00\x02", 1500)
	g := &fake{
		stack: newStack(t, a, gw4, gw6), container: newStack(t, b, ctr4, ctr6),
		udp: make(chan datagram, 16), echo: make(chan reply, 16), icmp: make(chan icmpError, 16),
	}
	g.stack.SetPromiscuousMode(1, true)
	g.stack.SetSpoofing(1, true)
	o.Gateway, o.Allow = g, func(a netip.Addr) bool { return a != closed4 }
	f := New(o)
	g.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, f.HandleTCP)
	t.Cleanup(func() {
		g.drain(t)
		f.Close()
	})
	return f, g
}

// dial connects from the container's netstack.
func (f *fake) dial(t testing.TB, dst netip.AddrPort) (*gonet.TCPConn, error) {
	t.Helper()
	proto := ipv4.ProtocolNumber
	if dst.Addr().Is6() {
		proto = ipv6.ProtocolNumber
	}
	conn, err := gonet.DialTCP(f.container, tcpip.FullAddress{NIC: 1,
		Addr: tcpip.AddrFromSlice(dst.Addr().AsSlice()), Port: dst.Port()}, proto)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(10 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited 10 s until %s", what)
		}
	}
}
