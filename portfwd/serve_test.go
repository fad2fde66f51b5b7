package portfwd

import (
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
)

// A client that connects while nobody serves waits in the socket, and is
// served by whoever comes next.
func TestClientsWaitUntilSomebodyServes(t *testing.T) {
	w := newWorld(t, Options{})
	to := netip.AddrPortFrom(container4, 80)
	for _, proto := range []string{"tcp", "udp"} {
		t.Run(proto, func(t *testing.T) {
			w.echo(proto, to)
			b, err := newRegistry(t).Bind(Mapping{Proto: proto, Host: netip.MustParseAddrPort(host4 + ":0"), Container: to, Owner: "web"})
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{"first", "second"} { // two workers, one after the other
				got := make(chan string)
				var ask func() string
				if proto == "tcp" {
					c := dial(t, client4, b.Addr())
					ask = func() string { return askTCP(t, c, word) }
				} else {
					c := udpClient(t, client4)
					if _, err := c.WriteToUDPAddrPort([]byte(word), b.Addr()); err != nil {
						t.Fatal(err)
					}
					ask = func() string {
						buf := make([]byte, 100)
						n, _, err := c.ReadFromUDPAddrPort(buf)
						if err != nil {
							t.Error(err)
						}
						return string(buf[:n])
					}
				}
				h, err := b.Handle().Dup()
				if err != nil {
					t.Fatal(err)
				}
				go func() { got <- ask() }()
				l, err := w.forwarder.Serve(b.Mapping(), h)
				if err != nil {
					t.Fatal(err)
				}
				if s := <-got; !strings.HasSuffix(s, ": "+word) {
					t.Errorf("got %q, want an answer to %q", s, word)
				}
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestServeRefusesWhatIsNotTheMapping(t *testing.T) {
	f := New(Options{Gateway: &testGateway{}, Subnets: subnets})
	defer f.Close()
	r := newRegistry(t)
	tcp, err := r.Bind(mapping("tcp", "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	udp, err := r.Bind(mapping("udp", "[::1]:0"))
	if err != nil {
		t.Fatal(err)
	}
	serve := func(m Mapping, b *Bound, want error, text string) {
		t.Helper()
		h, err := b.Handle().Dup()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Serve(m, h); !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v with the socket of %v: %v, want %v with %q", m, b.Mapping(), err, want, text)
		}
		if h.FD() >= 0 {
			t.Error("the socket was not closed")
		}
	}
	for text, change := range map[string]func(*Mapping){
		"SO_TYPE":            func(m *Mapping) { m.Proto = "udp" },
		"SO_DOMAIN":          func(m *Mapping) { m.Host = at("::1", m.Host) },
		"it is bound to":     func(m *Mapping) { m.Host = at("127.0.0.2", m.Host) },
		"it is bound to 127": func(m *Mapping) { m.Host = netip.MustParseAddrPort("127.0.0.1:1") },
	} {
		m := tcp.Mapping()
		change(&m)
		serve(m, tcp, ErrSocket, text)
	}
	m := tcp.Mapping()
	m.Container = netip.MustParseAddrPort("10.0.1.2:80")
	serve(m, tcp, ErrMapping, "outside of the network")
	m = udp.Mapping()
	m.Proto = "sctp"
	serve(m, udp, ErrMapping, "sctp")

	v4only := New(Options{Gateway: oneGateway{&testGateway{}, gw4}})
	defer v4only.Close()
	m = tcp.Mapping()
	m.Container = netip.AddrPortFrom(container6, 80)
	h, _ := tcp.Handle().Dup()
	if _, err := v4only.Serve(m, h); !errors.Is(err, ErrMapping) || !strings.Contains(err.Error(), "no IPv6 gateway") {
		t.Errorf("IPv6 container without IPv6 gateway: %v", err)
	}
}

type oneGateway struct {
	*testGateway
	addr netip.Addr
}

func (g oneGateway) Addrs() []netip.Addr { return []netip.Addr{g.addr} }

func TestClosedForwarderServesNothing(t *testing.T) {
	f := New(Options{Gateway: &testGateway{}, Subnets: subnets})
	f.Close()
	r := newRegistry(t)
	for _, proto := range []string{"tcp", "udp"} {
		b, err := r.Bind(mapping(proto, "127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Serve(b.Mapping(), b.Handle()); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", proto, err)
		}
		if b.Handle().FD() >= 0 {
			t.Error("the socket is open")
		}
	}
}

// What a keeper holds does not wake it, and goes on in the one that comes after it.
func TestAdoptedSocketIsTheSame(t *testing.T) {
	for _, host := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0", "[fe80::8%host0]:0"} {
		for _, proto := range []string{"tcp", "udp"} {
			t.Run(proto+" "+host, func(t *testing.T) {
				before, after := newRegistry(t), newRegistry(t)
				b, err := before.Bind(mapping(proto, host))
				if err != nil {
					t.Fatal(err)
				}
				h, err := b.Handle().Dup()
				if err != nil {
					t.Fatal(err)
				}
				text, err := json.Marshal(b.Mapping())
				if err != nil {
					t.Fatal(err)
				}
				b.Close()
				var m Mapping
				if err := json.Unmarshal(text, &m); err != nil {
					t.Fatal(err)
				}
				again, err := after.Adopt(m, h)
				if err != nil {
					t.Fatal(err)
				}
				if again.Mapping() != m {
					t.Errorf("adopted %v, want %v", again.Mapping(), m)
				}
				if owner, ok := after.Owner(proto, m.Host); !ok || owner != m {
					t.Errorf("its owner is %v", owner)
				}
				if _, err := after.Bind(m); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), `"second"`) {
					t.Errorf("bound again: %v", err)
				}
				dup, _ := again.Handle().Dup()
				if _, err := after.Adopt(m, dup); !errors.Is(err, ErrInUse) || dup.FD() >= 0 {
					t.Errorf("adopted again: %v", err)
				}
				if err := again.Close(); err != nil {
					t.Error(err)
				}
				last, err := after.Bind(m)
				if err != nil {
					t.Fatal("after both were closed:", err)
				}
				if err := again.Close(); err != nil {
					t.Error("closed twice:", err)
				}
				if _, ok := after.Owner(proto, last.Addr()); !ok {
					t.Error("closing twice took another's claim away")
				}
			})
		}
	}
}

func TestAdoptRefusesOtherSockets(t *testing.T) {
	r := newRegistry(t)
	for want, c := range map[string]struct {
		m    Mapping
		open func(t *testing.T) int
	}{
		"SO_TYPE": {mapping("udp", "127.0.0.1:4000"), func(*testing.T) int { return socketFD(unix.AF_INET, unix.SOCK_STREAM) }},
		"SO_ACCEPTCONN": {mapping("tcp", "127.0.0.1:4000"), func(*testing.T) int {
			fd := socketFD(unix.AF_INET, unix.SOCK_STREAM)
			unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 4000})
			return fd
		}},
		"SO_PROTOCOL": {mapping("udp", "127.0.0.1:4000"), func(t *testing.T) int {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDPLITE)
			if err != nil {
				t.Fatal(err)
			}
			return fd
		}},
		"V6ONLY": {mapping("udp", "[::]:4000"), func(*testing.T) int {
			fd := socketFD(unix.AF_INET6, unix.SOCK_DGRAM)
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
			unix.Bind(fd, &unix.SockaddrInet6{Port: 4000})
			return fd
		}},
		"it blocks": {mapping("udp", "127.0.0.1:4000"), func(*testing.T) int {
			fd := socketFD(unix.AF_INET, unix.SOCK_DGRAM)
			unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 4000})
			unix.SetNonblock(fd, false)
			return fd
		}},
		"socket operation on non-socket": {mapping("udp", "127.0.0.1:4000"), func(t *testing.T) int {
			fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			return fd
		}},
	} {
		t.Run(want, func(t *testing.T) {
			h := fdpass.NewHandle(c.open(t))
			if b, err := r.Adopt(c.m, h); !errors.Is(err, ErrSocket) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, %v; want ErrSocket with %q", b, err, want)
			}
			if h.FD() >= 0 {
				t.Error("the descriptor is open")
			}
		})
	}
	r.free(t)
}

func socketFD(domain, kind int) int {
	fd, _ := unix.Socket(domain, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	return fd
}

// The keeper must not be woken by clients of ports that others serve.
func TestBoundIsNotOnThePoller(t *testing.T) {
	b, err := newRegistry(t).Bind(mapping("tcp", "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range epolls(t) {
		// Taking it out fails with ENOENT where it is not in.
		if err := unix.EpollCtl(fd, unix.EPOLL_CTL_DEL, b.Handle().FD(), nil); err != syscall.ENOENT {
			t.Errorf("epoll descriptor %d knows the socket: %v", fd, err)
		}
	}
}

// epolls gives the descriptors of the process's pollers.
func epolls(t *testing.T) []int {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0") // so that there is one
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var fds []int
	for fd := range 1024 {
		if name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd)); err == nil && name == "anon_inode:[eventpoll]" {
			fds = append(fds, fd)
		}
	}
	if len(fds) == 0 {
		t.Fatal("no poller found")
	}
	return fds
}
