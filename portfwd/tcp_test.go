package portfwd

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"
)

func TestContainerSeesTheClientsOwnAddress(t *testing.T) {
	w := newWorld(t, Options{})
	w.echo("tcp", netip.AddrPortFrom(container4, 80))
	w.echo("tcp", netip.AddrPortFrom(container6, 80))
	for _, c := range []struct {
		client, bind, host string
		container          netip.Addr
	}{
		{client4, "0.0.0.0:0", host4, container4},
		{client4, host4 + ":0", host4, container4},
		{host4, "0.0.0.0:0", host4, container4}, // the host itself, by an address of its own
		{client6, "[::]:0", host6, container6},
		{client6, "[" + host6 + "]:0", host6, container6},
	} {
		t.Run(c.client+" to "+c.bind, func(t *testing.T) {
			to := netip.AddrPortFrom(c.container, 80)
			l := w.publish("tcp", c.bind, to)
			defer l.Close()
			conn := dial(t, c.client, at(c.host, l.Addr()))
			if got, want := askTCP(t, conn, "hello"), "from "+local(conn).String()+": hello"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestClientsWithoutUsableAddressAreSeenAsTheGateway(t *testing.T) {
	w := newWorld(t, Options{})
	w.echo("tcp", netip.AddrPortFrom(container4, 80))
	w.echo("tcp", netip.AddrPortFrom(container6, 80))
	for _, c := range []struct {
		name, client, bind, host string
		container, want          netip.Addr
	}{
		{"loopback", "127.0.0.1", "0.0.0.0:0", "127.0.0.1", container4, gw4},
		{"second loopback", "", "127.0.0.2:0", "127.0.0.2", container4, gw4},
		{"IPv6 loopback", "::1", "[::1]:0", "::1", container6, gw6},
		{"IPv6 client, IPv4 container", client6, "[::]:0", host6, container4, gw4},
		{"IPv4 client, IPv6 container", client4, "0.0.0.0:0", host4, container6, gw6},
		{"address of the network", inside4, "0.0.0.0:0", host4, container4, gw4},
		{"IPv6 address of the network", inside6, "[::]:0", host6, container6, gw6},
		{"link-local", "fe80::7%lo", "[::]:0", "fe80::7%lo", container6, gw6},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := netip.AddrPortFrom(c.container, 80)
			l := w.publish("tcp", c.bind, to)
			defer l.Close()
			got := askTCP(t, dial(t, c.client, at(c.host, l.Addr())), "x")
			if want := "from " + netip.AddrPortFrom(c.want, 0).String(); !strings.HasPrefix(got, want[:len(want)-1]) {
				t.Errorf("the container saw %q, want %v", got, c.want)
			}
		})
	}
}

func TestOnlyTheGivenAddressListens(t *testing.T) {
	w := newWorld(t, Options{})
	w.echo("tcp", netip.AddrPortFrom(container4, 80))
	for _, c := range []struct {
		bind, open string
		shut       []string
	}{
		{"127.0.0.2:0", "127.0.0.2", []string{"127.0.0.1", host4, "::1"}},
		{"0.0.0.0:0", host4, []string{"::1", host6}},
		{"[::]:0", host6, []string{"127.0.0.1", host4}},
		{"[::1]:0", "::1", []string{host6, "127.0.0.1"}},
	} {
		l := w.publish("tcp", c.bind, netip.AddrPortFrom(container4, 80))
		dial(t, "", at(c.open, l.Addr()))
		for _, a := range c.shut {
			if _, err := tryDial("", at(a, l.Addr())); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("published on %s: connecting to %s gave %v, want a refusal", l.Addr(), a, err)
			}
		}
		l.Close()
	}
}

func TestRefusedByTheContainerIsAReset(t *testing.T) {
	w := newWorld(t, Options{})
	l := w.publish("tcp", "127.0.0.1:0", netip.AddrPortFrom(container4, 80))
	expectResetFrom(t, "", l.Addr())
	until(t, "the refusal is counted", func() bool { return l.Stats().Refused == 1 })
}

func TestSilentContainerIsAReset(t *testing.T) {
	w := newWorld(t, Options{Limits: Limits{DialTimeout: 20 * time.Millisecond}})
	l := w.publish("tcp", "127.0.0.1:0", netip.AddrPortFrom(nowhere, 80))
	expectResetFrom(t, "", l.Addr())
	until(t, "the timeout is counted", func() bool { return l.Stats().TimedOut == 1 && l.Stats().HalfOpen == 0 })
}

// expectResetFrom connects and expects a reset, which may come so early that
// connect(2) reports it.
func expectResetFrom(t *testing.T, from string, to netip.AddrPort) {
	t.Helper()
	c, err := tryDial(from, to)
	switch {
	case err == nil:
		defer c.Close()
		expectReset(t, c)
	case !errors.Is(err, syscall.ECONNRESET):
		t.Errorf("client %s: %v, want a reset", from, err)
	}
}

func expectReset(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("client read gave %v, want a reset", err)
	}
}

func TestHalfCloseBothWays(t *testing.T) {
	w := newWorld(t, Options{})
	to := netip.AddrPortFrom(container4, 80)
	inner := w.listen(to)
	l := w.publish("tcp", "127.0.0.1:0", to)

	// The container ends its direction first and still gets all of the client's.
	client := dial(t, "", l.Addr())
	c, err := inner.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(testTimeout))
	io.WriteString(c, "bye")
	c.(interface{ CloseWrite() error }).CloseWrite()
	if b, err := io.ReadAll(client); string(b) != "bye" || err != nil {
		t.Fatalf("client read %q, %v", b, err)
	}
	io.WriteString(client, "still here")
	client.CloseWrite()
	if b, err := io.ReadAll(c); string(b) != "still here" || err != nil {
		t.Fatalf("container read %q, %v", b, err)
	}
	c.Close()
	until(t, "the connection is forgotten", func() bool { return l.Stats().Active == 0 })
}

func TestClosingEndsConnectionsAndFreesThePort(t *testing.T) {
	w := newWorld(t, Options{})
	to := netip.AddrPortFrom(container4, 80)
	inner := w.listen(to)
	l := w.publish("tcp", "127.0.0.1:0", to)
	client := dial(t, "", l.Addr())
	c, err := inner.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(testTimeout))
	until(t, "the connection is joined", func() bool { return l.Stats().Active == 1 })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if n := l.Stats().Active; n != 0 {
		t.Errorf("%d connections after Close", n)
	}
	expectReset(t, client)
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("container read gave %v, want a reset", err)
	}
	if _, err := tryDial("", l.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after Close: %v, want a refusal", err)
	}
	if err := l.Close(); err != nil {
		t.Error("second Close:", err)
	}
	if again := w.publish("tcp", l.Addr().String(), to); again.Addr() != l.Addr() {
		t.Errorf("published again on %v, want %v", again.Addr(), l.Addr())
	}
}

func TestClosingEndsDials(t *testing.T) {
	w := newWorld(t, Options{})
	l := w.publish("tcp", "127.0.0.1:0", netip.AddrPortFrom(nowhere, 80))
	client := dial(t, "", l.Addr())
	until(t, "the dial is under way", func() bool { return l.Stats().HalfOpen == 1 })
	l.Close()
	expectReset(t, client)
}

func TestTakenSourceKeepsTheAddress(t *testing.T) {
	w := newWorld(t, Options{})
	to := netip.AddrPortFrom(container4, 80)
	inner := w.listen(to)
	a := w.publish("tcp", host4+":0", to)
	b := w.publish("tcp", host4+":0", to)
	first := dial(t, client4, a.Addr())
	seen := func() netip.AddrPort {
		c, err := inner.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return netip.MustParseAddrPort(c.RemoteAddr().String())
	}
	if got := seen(); got != local(first) {
		t.Fatalf("the container saw %v, want %v", got, local(first))
	}
	second := dial(t, local(first).String(), b.Addr())
	got := seen()
	if got.Addr() != local(second).Addr() || got.Port() == local(second).Port() {
		t.Errorf("the container saw %v for a second connection of %v, want the address with another port", got, local(second))
	}
}

func TestHalfOpenLimits(t *testing.T) {
	for name, limits := range map[string]Limits{
		"container": {Container: ContainerLimits{HalfOpen: 1}},
		"total":     {HalfOpenTotal: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{Limits: limits})
			l := w.publish("tcp", "127.0.0.1:0", netip.AddrPortFrom(nowhere, 80))
			dial(t, "", l.Addr())
			until(t, "the first dial is under way", func() bool { return l.Stats().HalfOpen == 1 })
			expectResetFrom(t, "", l.Addr())
			until(t, "the reset is counted", func() bool { return l.Stats().DropHalfOpen == 1 })
			if s := l.Stats(); s.HalfOpen != 1 || s.Connections != 2 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestConnectionLimitIsOfTheBudget(t *testing.T) {
	o := Options{Budget: NewBudget(1)}
	a, b := newWorld(t, o), newWorld(t, o)
	to := netip.AddrPortFrom(container4, 80)
	a.listen(to)
	b.echo("tcp", to)
	first := a.publish("tcp", "127.0.0.1:0", to)
	second := b.publish("tcp", "127.0.0.1:0", to)
	held := dial(t, "", first.Addr())
	until(t, "the first is joined", func() bool { return first.Stats().Active == 1 })
	expectResetFrom(t, "", second.Addr())
	until(t, "the reset is counted", func() bool { return second.Stats().DropConnections == 1 })
	held.SetLinger(0)
	held.Close()
	until(t, "the first is gone", func() bool { return o.Budget.pool.Used() == 0 })
	if got := askTCP(t, dial(t, "", second.Addr()), "x"); !strings.HasSuffix(got, ": x") {
		t.Errorf("got %q", got)
	}
}

func TestAcceptWaitsForFileDescriptors(t *testing.T) {
	w := newWorld(t, Options{})
	to := netip.AddrPortFrom(container4, 80)
	w.echo("tcp", to)
	l := w.publish("tcp", "127.0.0.1:0", to)

	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	sa, _ := sockaddr(l.Addr())
	err = unix.Connect(fd, sa) // the kernel takes it into the backlog
	if err == nil {
		until(t, "accept fails three times", func() bool { return l.Stats().AcceptErrors >= 3 })
	}
	unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	if err != nil {
		t.Fatal(err)
	}
	if n, limit := l.Stats().AcceptErrors, 4+uint64(time.Since(start)/acceptPauseMin); n > limit {
		t.Errorf("%d attempts in %v: spinning", n, time.Since(start))
	}
	unix.Write(fd, []byte("x"))
	unix.Shutdown(fd, unix.SHUT_WR)
	b := make([]byte, 100)
	n, err := unix.Read(fd, b)
	if err != nil || !strings.HasSuffix(string(b[:n]), ": x") {
		t.Errorf("after the shortage the client got %q, %v", b[:n], err)
	}
}

// failing is a gateway whose dials fail in turn.
type failing struct {
	*testGateway
	errs []error
}

func (g *failing) DialTCP(_ context.Context, src, _ netip.AddrPort) (tcpip.Endpoint, *waiter.Queue, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dials = append(g.dials, src)
	err := g.errs[0]
	g.errs = g.errs[1:]
	return nil, nil, err
}

func TestErrorsNeverShowAnotherAddress(t *testing.T) {
	for _, c := range []struct {
		errs  []error
		dials int
		count func(Stats) uint64
	}{
		{[]error{syscall.EADDRINUSE, syscall.EADDRINUSE}, 2, func(s Stats) uint64 { return s.Unreachable }},
		{[]error{syscall.EADDRNOTAVAIL}, 1, func(s Stats) uint64 { return s.Unreachable }},
		{[]error{syscall.EHOSTUNREACH}, 1, func(s Stats) uint64 { return s.Unreachable }},
		{[]error{syscall.ECONNREFUSED}, 1, func(s Stats) uint64 { return s.Refused }},
	} {
		g := &failing{testGateway: &testGateway{}, errs: c.errs}
		f := New(Options{Gateway: g, Subnets: subnets})
		l := publish(t, f, Mapping{Proto: "tcp", Host: netip.MustParseAddrPort(host4 + ":0"), Container: netip.AddrPortFrom(container4, 80)})
		expectResetFrom(t, client4, l.Addr())
		until(t, "the failure is counted", func() bool { return c.count(l.Stats()) == 1 })
		f.Close()
		if len(g.dials) != c.dials {
			t.Errorf("%v: %d dials, want %d", c.errs, len(g.dials), c.dials)
		}
		for _, src := range g.dials {
			if src.Addr() != netip.MustParseAddr(client4) {
				t.Errorf("%v: dialed from %v, want the client's address", c.errs, src)
			}
		}
	}
}

func TestAServiceOfOneFamilyIsReachedByTheOther(t *testing.T) {
	w := newWorld(t, Options{})
	w.echo("tcp", netip.AddrPortFrom(container4, 80)) // and nothing on IPv6
	l := publish(t, w.forwarder, Mapping{
		Proto: "tcp", Host: netip.MustParseAddrPort("[::1]:0"), Owner: "web",
		Container: netip.AddrPortFrom(container6, 80), Other: netip.AddrPortFrom(container4, 80),
	})
	got := askTCP(t, dial(t, "::1", l.Addr()), "hello")
	if !strings.HasPrefix(got, "from "+gw4.String()+":") || !strings.HasSuffix(got, ": hello") {
		t.Errorf("got %q, want an answer to the gateway", got)
	}
}

// A container that never ends a connection cannot use up those of all others.
func TestOneContainerLeavesConnectionsToOthers(t *testing.T) {
	o := Options{Budget: NewBudget(6)}
	w := newWorld(t, o)
	to := netip.AddrPortFrom(container4, 80)
	w.echo("tcp", to)
	publish := func(owner string) *Listener {
		return publish(t, w.forwarder, Mapping{Proto: "tcp", Host: netip.MustParseAddrPort("127.0.0.1:0"), Container: to, Owner: owner})
	}
	greedy, also, other := publish("greedy"), publish("greedy"), publish("other")
	for i, l := range []*Listener{greedy, also, greedy} {
		dial(t, "", l.Addr())
		until(t, "a connection is joined", func() bool { return greedy.Stats().Active+also.Stats().Active == i+1 })
	}
	expectResetFrom(t, "", also.Addr())
	if got := askTCP(t, dial(t, "", other.Addr()), "x"); !strings.HasSuffix(got, ": x") {
		t.Errorf("another container's port: %q", got)
	}
}
