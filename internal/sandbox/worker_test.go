package sandbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/kernelsplice"
	"github.com/footbridge-net/footbridge/internal/splice"
	"github.com/footbridge-net/footbridge/internal/turn"
)

// patience bounds everything that is waited for.
const patience = 20 * time.Second

// workRole does in the sandbox what a worker does. args are the addresses of a TCP and
// of a UDP server that send back what they get. Descriptor 3 leads to the parent.
func workRole(args []string) error {
	tcp, udp := netip.MustParseAddrPort(args[0]), netip.MustParseAddrPort(args[1])
	parent, err := fdpass.NewConn(3)
	if err != nil {
		return err
	}
	defer parent.Close()
	fds, err := os.Open("/proc/self/fd")
	if err != nil {
		return err
	}
	defer fds.Close()
	var pipes [50][2]int
	for i := range pipes {
		if err := unix.Pipe2(pipes[i][:], unix.O_CLOEXEC); err != nil {
			return err
		}
	}
	published, err := newPublished()
	if err != nil {
		return err
	}
	if _, err := Enter(Options{}); err != nil {
		return err
	}
	_ = parent.SetDeadline(time.Now().Add(patience))
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"TCP", func() error { return useTCP(tcp) }},
		{"TCP as dns dials it", func() error { return dialTCP(tcp) }},
		{"TCP joined in the kernel", func() error { return published.useKernelSplice(tcp) }},
		{"UDP", func() error { return useUDP(udp) }},
		{"a way out", func() error { return useWayOut(tcp) }},
		{"ping sockets", usePing},
		{"what is answered", useRefused},
		{"what the parent sends", func() error { return useParent(parent) }},
		{"timers", useTimers},
		{"threads", func() error { return useThreads(pipes[:]) }},
		{"memory", useMemory},
		{"CPUs", func() error { runtime.SetDefaultGOMAXPROCS(); return nil }},
		{"own descriptors", func() error { return countDescriptors(fds) }},
		{"logs", func() error {
			slog.New(slog.NewTextHandler(os.Stderr, nil)).Info("here", "at", time.Now())
			_, err := rand.Read(make([]byte, 64))
			return err
		}},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	// The parent stops this process, lets it go on, and answers.
	if err := parent.Send([]byte("stop me")); err != nil {
		return err
	}
	_, _, err = parent.Receive(make([]byte, fdpass.MaxMessage))
	return err
}

func useTCP(server netip.AddrPort) error {
	c, err := splice.Dial(context.Background(), server, patience, turn.New(runtime.Gosched), splice.Hooks{})
	if err != nil {
		return err
	}
	defer c.Close()
	refused := netip.AddrPortFrom(server.Addr(), 1)
	if c, err := splice.Dial(context.Background(), refused, patience, turn.New(runtime.Gosched), splice.Hooks{}); !errors.Is(err, unix.ECONNREFUSED) {
		if err == nil {
			c.Close()
		}
		return fmt.Errorf("where nobody listens: %v", err)
	}
	return nil
}

// useWayOut does what package forwarder does with the sockets of a network whose address
// and interface were chosen, and with what a container says in its IP headers.
func useWayOut(server netip.AddrPort) error {
	prepare := func(fd int) error {
		return errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, 7),
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, 0x10),
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO),
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
			unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "lo"),
			unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	}
	var mtu int
	var merr error
	c, err := splice.Dial(context.Background(), server, patience, turn.New(runtime.Gosched), splice.Hooks{
		Prepare: prepare,
		Ended:   func(fd int, _ error) { mtu, merr = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU) },
	})
	if err != nil {
		return err
	}
	c.Close()
	if merr != nil || mtu <= 0 {
		return fmt.Errorf("MTU %d: %w", mtu, merr)
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err == unix.EAFNOSUPPORT {
		return nil
	} else if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 7),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0x10),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO))
	if unix.Connect(fd, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16(), Port: 9}) == nil {
		_, merr = unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU)
	}
	return errors.Join(err, merr)
}

func dialTCP(server netip.AddrPort) error {
	for _, mptcp := range []bool{false, true} {
		d := net.Dialer{Timeout: patience}
		d.SetMultipathTCP(mptcp)
		c, err := d.Dial("tcp", server.String())
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		go func() {
			_, _ = c.Write(bytes.Repeat([]byte("x"), 1<<20))
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		if n, err := io.Copy(io.Discard, c); n != 1<<20 || err != nil {
			return fmt.Errorf("%d bytes came back: %w", n, err)
		}
	}
	return nil
}

// published is what useKernelSplice is given from outside of the sandbox.
type published struct {
	listener *net.TCPListener
	inner    int // a socket with a port
}

func newPublished() (p published, err error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return p, err
	}
	p.listener = l.(*net.TCPListener)
	if p.inner, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return p, err
	}
	for port := 50000 + os.Getpid()%10000; ; port++ {
		err := unix.Bind(p.inner, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port})
		if err != unix.EADDRINUSE {
			return p, err
		}
	}
}

// useKernelSplice joins a client of a published port to the server, twice by one socket.
func (p published) useKernelSplice(server netip.AddrPort) error {
	defer p.listener.Close()
	inner, err := kernelsplice.NewInner(p.inner)
	if err != nil {
		return err
	}
	defer inner.Close()
	t := turn.New(runtime.Gosched)
	o := kernelsplice.Options{Pipes: kernelsplice.NewPipes(4), Holder: new(kernelsplice.Holder), Turn: t}
	for range 2 {
		client, err := net.Dial("tcp4", p.listener.Addr().String())
		if err != nil {
			return err
		}
		defer client.Close()
		_ = client.SetDeadline(time.Now().Add(patience))
		raw, err := p.listener.SyscallConn()
		if err != nil {
			return err
		}
		accepted := -1
		_ = raw.Control(func(fd uintptr) {
			for accepted, _, err = unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == unix.EAGAIN; {
				accepted, _, err = unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			}
		})
		if err != nil {
			return err
		}
		host, err := kernelsplice.NewSocket(accepted)
		if err != nil {
			return err
		}
		defer host.Close()
		if err := inner.Connect(context.Background(), server, t); err != nil {
			return err
		}
		over := make(chan error, 1)
		go func() {
			_, err := kernelsplice.Relay(context.Background(), host, inner, o)
			over <- errors.Join(err, inner.Closed(context.Background()), inner.Disconnect(0))
		}()
		go func() {
			_, _ = client.Write(make([]byte, 1<<20))
			_ = client.(*net.TCPConn).CloseWrite()
		}()
		if n, err := io.Copy(io.Discard, client); n != 1<<20 || err != nil {
			return fmt.Errorf("%d bytes came back: %w", n, err)
		}
		if err := <-over; err != nil {
			return err
		}
	}
	return nil
}

func useUDP(server netip.AddrPort) error {
	unconnected, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	defer unconnected.Close()
	raw, err := unconnected.SyscallConn()
	if err != nil {
		return err
	}
	_ = raw.Control(func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, 7),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_GRO, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 0),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1<<20))
	})
	if err != nil {
		return err
	}
	if _, err := unconnected.WriteToUDPAddrPort([]byte("one"), server); err != nil {
		return err
	}
	_ = unconnected.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 10)
	if n, _, _, from, err := unconnected.ReadMsgUDPAddrPort(b, make([]byte, 100)); string(b[:n]) != "one" || from != server || err != nil {
		return fmt.Errorf("%q from %v: %w", b[:n], from, err)
	}
	connected, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server))
	if err != nil {
		return err
	}
	defer connected.Close()
	_ = connected.SetDeadline(time.Now().Add(patience))
	if _, err := connected.Write([]byte("two")); err != nil {
		return err
	}
	if n, err := connected.Read(b); string(b[:n]) != "two" || err != nil {
		return fmt.Errorf("%q: %w", b[:n], err)
	}
	// Names of interfaces cannot be had; their numbers do. That nobody is there is
	// no error of ours.
	for _, zone := range []string{"1", "no-such-interface"} {
		if c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone(zone), 53))); err == nil {
			c.Close()
		}
	}
	return nil
}

// usePing opens the sockets, which net.ipv4.ping_group_range may forbid.
func usePing() error {
	for family, protocol := range map[int]int{unix.AF_INET: unix.IPPROTO_ICMP, unix.AF_INET6: unix.IPPROTO_ICMPV6} {
		fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
		if err == nil {
			unix.Close(fd)
		} else if err != unix.EACCES && err != unix.EAFNOSUPPORT {
			return err
		}
	}
	return nil
}

// useRefused does what gives an error instead of the end.
func useRefused() error {
	if _, err := net.Interfaces(); !errors.Is(err, unix.EACCES) {
		return fmt.Errorf("interfaces: %v", err)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0); e != unix.ENOSYS {
		return fmt.Errorf("clone3: %w", e)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil || limit.Max != 0 {
		return fmt.Errorf("limit on cores: %d: %w", limit.Max, err)
	}
	return nil
}

// useParent gets a listener, and accepts from it.
func useParent(parent *fdpass.Conn) error {
	if err := parent.Send([]byte("listener")); err != nil {
		return err
	}
	_, handles, err := parent.Receive(make([]byte, fdpass.MaxMessage))
	if err != nil || len(handles) != 1 {
		return fmt.Errorf("%d handles: %w", len(handles), err)
	}
	defer fdpass.CloseAll(handles)
	fd := handles[0].FD()
	for _, option := range []int{unix.SO_DOMAIN, unix.SO_TYPE, unix.SO_PROTOCOL, unix.SO_ACCEPTCONN} {
		if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option); err != nil {
			return err
		}
	}
	file := os.NewFile(uintptr(handles[0].Take()), "listener")
	defer file.Close()
	listener, err := net.FileListener(file)
	if err != nil {
		return err
	}
	defer listener.Close()
	client, err := listener.Accept()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	_, err = client.Write([]byte("welcome"))
	return err
}

func useTimers() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	<-ctx.Done()
	timer := time.NewTimer(time.Millisecond)
	<-timer.C
	return nil
}

// useThreads blocks a thread in each pipe, so that the runtime makes others, ends some,
// and interrupts those that do not rest.
func useThreads(pipes [][2]int) error {
	var all sync.WaitGroup
	errs := make([]error, len(pipes))
	for i, p := range pipes {
		all.Go(func() {
			if i%2 == 0 {
				runtime.LockOSThread() // and so the thread ends
			}
			_, errs[i] = syscall.Read(p[0], make([]byte, 1))
		})
	}
	stop := make(chan bool)
	for range 4 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					for k := range 1 << 22 {
						n += k
					}
				}
			}
		})
	}
	for range 5 {
		runtime.GC()
	}
	close(stop)
	for _, p := range pipes {
		if _, err := syscall.Write(p[1], []byte("x")); err != nil {
			return err
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

// keep is where useMemory's garbage escapes to.
var keep [64][]byte

func useMemory() error {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(64 << 20))
	for i := range 400 {
		b := make([]byte, 1<<20)
		for at := 0; at < len(b); at += 4096 {
			b[at] = 1
		}
		keep[i%len(keep)] = b
	}
	clear(keep[:])
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return nil
}

func countDescriptors(fds *os.File) error {
	for range 2 {
		if _, err := fds.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if names, err := fds.Readdirnames(-1); len(names) < 100 || err != nil {
			return fmt.Errorf("%d names: %w", len(names), err)
		}
	}
	return nil
}
