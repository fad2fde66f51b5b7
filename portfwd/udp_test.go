package portfwd

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// handClock is turned by hand.
type handClock struct {
	mu     sync.Mutex
	time   time.Duration
	timers []*handTimer
	hook   func() // called once, by the next now
}

type handTimer struct {
	c    *handClock
	when time.Duration
	f    func()
}

func (c *handClock) now() time.Duration {
	c.mu.Lock()
	if hook := c.hook; hook != nil {
		c.hook = nil
		c.mu.Unlock()
		hook()
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	return c.time
}

func (c *handClock) set(hook func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hook = hook
}

func (c *handClock) after(d time.Duration, f func()) stopper {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &handTimer{c, c.time + d, f}
	c.timers = append(c.timers, t)
	return t
}

func (t *handTimer) Stop() bool {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	n := len(t.c.timers)
	t.c.timers = slices.DeleteFunc(t.c.timers, func(o *handTimer) bool { return o == t })
	return len(t.c.timers) < n
}

func (c *handClock) pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.timers)
}

// turn moves the time on and runs what becomes due, in order. It says how many
// timers ran.
func (c *handClock) turn(d time.Duration) (ran int) {
	c.mu.Lock()
	end := c.time + d
	for {
		var next *handTimer
		for _, t := range c.timers {
			if t.when <= end && (next == nil || t.when < next.when) {
				next = t
			}
		}
		if next == nil {
			break
		}
		c.timers = slices.DeleteFunc(c.timers, func(o *handTimer) bool { return o == next })
		c.time = next.when
		c.mu.Unlock()
		next.f()
		ran++
		c.mu.Lock()
	}
	c.time = end
	c.mu.Unlock()
	return ran
}

func (w *world) publishUDP(host string, container netip.Addr) *Listener {
	w.t.Helper()
	return w.publish("udp", host, netip.AddrPortFrom(container, 53))
}

func TestUDPContainerSeesClientsAndAnswersThem(t *testing.T) {
	w := newWorld(t, Options{})
	w.echo("udp", netip.AddrPortFrom(container4, 53))
	w.echo("udp", netip.AddrPortFrom(container6, 53))
	l4, l6 := w.publishUDP("0.0.0.0:0", container4), w.publishUDP("[::]:0", container6)
	for range 2 { // each answer once with a new flow, once with an old one
		for _, c := range []struct {
			client string
			to     netip.AddrPort
		}{
			{client4 + ":4000", at(host4, l4.Addr())},
			{other4 + ":4000", at(host4, l4.Addr())},
			{client4 + ":4001", at(host4, l4.Addr())},
			{"[" + client6 + "]:4000", at(host6, l6.Addr())},
			{host4 + ":4000", at(host4, l4.Addr())},
		} {
			conn := udpClient(t, c.client)
			if got, want := askUDP(t, conn, c.to, "hi"), "from "+c.client+": hi"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			conn.Close()
		}
	}
	// A client may have its answer before we have counted it.
	until(t, "all datagrams are counted", func() bool {
		s := l4.Stats()
		return s.DatagramsIn == 8 && s.DatagramsOut == 8 && s.BytesIn == 16
	})
	if s := l4.Stats(); s.Flows != 4 || s.FlowsCreated != 4 {
		t.Errorf("IPv4: %+v", s)
	}
}

func TestUDPClientsWithoutUsableAddressAreSeenAsTheGateway(t *testing.T) {
	w := newWorld(t, Options{})
	w.echo("udp", netip.AddrPortFrom(container4, 53))
	w.echo("udp", netip.AddrPortFrom(container6, 53))
	for _, c := range []struct {
		name, client, bind, host string
		container, want          netip.Addr
	}{
		{"loopback", "127.0.0.1", "127.0.0.1:0", "127.0.0.1", container4, gw4},
		{"second loopback", "127.0.0.1", "0.0.0.0:0", "127.0.0.2", container4, gw4},
		{"IPv6 loopback", "::1", "[::]:0", "::1", container6, gw6},
		{"IPv6 client, IPv4 container", client6, "[::]:0", host6, container4, gw4},
		{"address of the network", inside4, "0.0.0.0:0", host4, container4, gw4},
		{"link-local", "fe80::7%lo", "[::]:0", "fe80::7%lo", container6, gw6},
		{"link-local of another device", "fe80::8%host0", "[fe80::8%host0]:0", "fe80::8%host0", container6, gw6},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := w.publishUDP(c.bind, c.container)
			defer l.Close()
			seen := map[string]bool{}
			for range 2 {
				got := askUDP(t, udpClient(t, c.client), at(c.host, l.Addr()), "hi")
				from, _, _ := strings.Cut(strings.TrimPrefix(got, "from "), ": ")
				shown := netip.MustParseAddrPort(from)
				if shown.Addr() != c.want || shown.Port() < firstShown || shown.Port() > lastShown {
					t.Errorf("the container saw %v, want %v with a port of its own", shown, c.want)
				}
				seen[from] = true
			}
			if len(seen) != 2 {
				t.Errorf("two clients were seen as %v", seen)
			}
		})
	}
}

func TestUDPAnswersComeFromTheAddressThatWasAsked(t *testing.T) {
	w := newWorld(t, Options{})
	w.echo("udp", netip.AddrPortFrom(container4, 53))
	l := w.publishUDP("0.0.0.0:0", container4)
	client := udpClient(t, client4)
	shown := map[string]bool{}
	for _, host := range []string{host4, other4, "127.0.0.1", "127.0.0.2", host4} {
		got := askUDP(t, client, at(host, l.Addr()), "x") // checks where it comes from
		if !strings.HasPrefix(got, "from "+client4+":") {
			t.Errorf("by %s the container saw %q, want %s", host, got, client4)
		}
		shown[got] = true
	}
	if len(shown) != 4 {
		t.Errorf("four ways were shown as %v; their answers cannot be told apart", shown)
	}
}

func TestUDPEmptyDatagram(t *testing.T) {
	w := newWorld(t, Options{})
	w.echo("udp", netip.AddrPortFrom(container4, 53))
	l := w.publishUDP(host4+":0", container4)
	client := udpClient(t, client4)
	if got := askUDP(t, client, l.Addr(), ""); !strings.HasSuffix(got, ": ") {
		t.Errorf("got %q", got)
	}
	if !w.forwarder.HandleDatagram(packet.Datagram{Src: netip.AddrPortFrom(container4, 53), Dst: local(client)}) {
		t.Fatal("an empty answer was not taken")
	}
	if n, _, err := client.ReadFromUDPAddrPort(make([]byte, 10)); n != 0 || err != nil {
		t.Errorf("client read %d bytes, %v, want an empty datagram", n, err)
	}
}

func TestUDPFlowTimeouts(t *testing.T) {
	clock := &handClock{}
	w := newWorld(t, Options{clock: clock})
	l := w.publishUDP(host4+":0", container4)
	if n := clock.pending(); n != 0 {
		t.Fatalf("%d timers without a flow", n)
	}
	// Nobody answers yet.
	client := udpClient(t, client4)
	send := func() {
		t.Helper()
		in := l.Stats().DatagramsIn
		client.WriteToUDPAddrPort([]byte("x"), l.Addr())
		until(t, "the datagram went in", func() bool { return l.Stats().DatagramsIn == in+1 })
	}
	answer := func() bool {
		return w.forwarder.HandleDatagram(packet.Datagram{Src: netip.AddrPortFrom(container4, 53), Dst: local(client), Payload: []byte("y")})
	}
	send()
	clock.turn(29 * time.Second)
	send() // 29 s: starts the 30 s again
	clock.turn(29 * time.Second)
	if n := l.Stats().Flows; n != 1 {
		t.Fatalf("%d flows after 29 idle seconds, want 1", n)
	}
	clock.turn(2 * time.Second)
	if n := l.Stats().Flows; n != 0 {
		t.Fatalf("%d flows after 31 idle seconds, want 0", n)
	}
	if answer() {
		t.Error("the answer to an ended flow was taken")
	}
	if n := clock.pending(); n != 0 {
		t.Errorf("%d timers without a flow", n)
	}
	// Both directions.
	send()
	if !answer() {
		t.Fatal("the answer was not taken")
	}
	if ran := clock.turn(119 * time.Second); l.Stats().Flows != 1 || ran > 2 {
		t.Fatalf("%d flows and %d wake-ups after 119 idle seconds, want 1 and at most 2", l.Stats().Flows, ran)
	}
	if !answer() { // starts the 120 s again
		t.Fatal("the second answer was not taken")
	}
	clock.turn(119 * time.Second)
	if n := l.Stats().Flows; n != 1 {
		t.Fatalf("%d flows 119 s after an answer, want 1", n)
	}
	clock.turn(2 * time.Second)
	if n := l.Stats().Flows; n != 0 {
		t.Fatalf("%d flows 121 s after an answer, want 0", n)
	}
	// Closing takes the timer with the last flow.
	send()
	if clock.pending() != 1 {
		t.Fatalf("%d timers with a flow, want 1", clock.pending())
	}
	l.Close()
	if n := clock.pending(); n != 0 {
		t.Errorf("%d timers after Close", n)
	}
}

func TestUDPNewFlowsDoNotWaitForOldOnes(t *testing.T) {
	clock := &handClock{}
	w := newWorld(t, Options{clock: clock})
	l := w.publishUDP(host4+":0", container4)
	s := l.server.(*udpServer)
	key := func(i int) flowKey {
		return flowKey{client: netip.AddrPortFrom(netip.MustParseAddr(client4), uint16(i)), local: l.Addr().Addr()}
	}
	first := w.forwarder.newFlow(s, key(1))
	first.both.Store(true)
	clock.turn(40 * time.Second) // the next sweep is at 120 s
	for i := range 3 * sweepBatch {
		w.forwarder.newFlow(s, key(i+2))
	}
	if n := clock.pending(); n != 1 {
		t.Errorf("%d timers, want 1", n)
	}
	clock.turn(31 * time.Second)
	if n := l.Stats().Flows; n != 1 {
		t.Errorf("%d flows 31 s after those that nobody answered, want 1", n)
	}
	clock.turn(50 * time.Second)
	if n, timers := l.Stats().Flows, clock.pending(); n != 0 || timers != 0 {
		t.Errorf("%d flows and %d timers at the end", n, timers)
	}
}

func TestUDPFlowsMadeDuringASweepAreSwept(t *testing.T) {
	clock := &handClock{}
	w := newWorld(t, Options{clock: clock})
	l := w.publishUDP(host4+":0", container4)
	s := l.server.(*udpServer)
	f := w.forwarder
	key := flowKey{client: netip.MustParseAddrPort(client4 + ":1"), local: l.Addr().Addr()}
	f.newFlow(s, key)
	made := false
	clock.mu.Lock()
	clock.timers[0].f = func(sweep func()) func() {
		return func() {
			// The sweep asks for the time when it begins to look and when
			// it has looked: the second time is the one meant.
			clock.set(func() {
				clock.set(func() {
					made = true
					key.client = netip.MustParseAddrPort(client4 + ":2")
					f.newFlow(s, key)
				})
			})
			sweep()
		}
	}(clock.timers[0].f)
	clock.mu.Unlock()
	clock.turn(31 * time.Second)
	if n := l.Stats().Flows; n != 1 || !made || clock.pending() != 1 {
		t.Fatalf("%d flows and %d timers after the sweep (made during it: %v), want 1 and 1", n, clock.pending(), made)
	}
	clock.turn(31 * time.Second)
	if n, timers := l.Stats().Flows, clock.pending(); n != 0 || timers != 0 {
		t.Errorf("%d flows and %d timers at the end", n, timers)
	}
}

func TestUDPRestartedContainerIsServedAtOnce(t *testing.T) {
	w := newWorld(t, Options{})
	at53 := netip.AddrPortFrom(container4, 53)
	old := w.echo("udp", at53)
	l := w.publishUDP(host4+":0", container4)
	client := udpClient(t, client4)
	askUDP(t, client, l.Addr(), "one")
	l.Close()
	old.Close()
	if w.forwarder.HandleDatagram(packet.Datagram{Src: at53, Dst: local(client), Payload: []byte("late")}) {
		t.Error("an answer of the old container was taken after Close")
	}
	// The new container has another port; the client goes on as before.
	w.echo("udp", netip.AddrPortFrom(container4, 5353))
	again := w.publish("udp", l.Addr().String(), netip.AddrPortFrom(container4, 5353))
	if got, want := askUDP(t, client, again.Addr(), "two"), fmt.Sprintf("from %v: two", local(client)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if s := again.Stats(); s.FlowsCreated != 1 || s.Flows != 1 {
		t.Errorf("%+v", s)
	}
}

func TestUDPFlowLimits(t *testing.T) {
	for name, limits := range map[string]Limits{"container": {Container: ContainerLimits{Flows: 2}}, "total": {FlowsTotal: 4}} {
		t.Run(name, func(t *testing.T) {
			clock := &handClock{}
			w := newWorld(t, Options{Limits: limits, clock: clock})
			w.echo("udp", netip.AddrPortFrom(container4, 53))
			l := w.publishUDP(host4+":0", container4)
			var clients [3]string
			for i := range clients {
				c := udpClient(t, client4)
				clients[i] = askUDP(t, c, l.Addr(), "x")
				clock.turn(time.Second)
				if i == 2 {
					break
				}
				defer func() {
					if got := askUDP(t, c, l.Addr(), "x"); got != clients[i] {
						t.Errorf("an evicted client came back as %q, was %q", got, clients[i])
					}
				}()
			}
			s := l.Stats()
			if s.Flows != 2 || s.FlowsEvicted != 1 || s.FlowsCreated != 3 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestUDPEvictionPrefersWhatHasLeastLeft(t *testing.T) {
	clock := &handClock{}
	w := newWorld(t, Options{Limits: Limits{Container: ContainerLimits{Flows: 2}}, clock: clock})
	l := w.publishUDP(host4+":0", container4)
	answered, forged, third := udpClient(t, client4), udpClient(t, client4), udpClient(t, client4)
	in := uint64(0)
	send := func(c *net.UDPConn) {
		t.Helper()
		c.WriteToUDPAddrPort([]byte("x"), l.Addr())
		in++
		until(t, "the datagram went in", func() bool { return l.Stats().DatagramsIn == in })
	}
	answer := func(dst netip.AddrPort) bool {
		return w.forwarder.HandleDatagram(packet.Datagram{Src: netip.AddrPortFrom(container4, 53), Dst: dst, Payload: []byte("y")})
	}
	send(answered)
	if !answer(local(answered)) {
		t.Fatal("not taken")
	}
	clock.turn(20 * time.Second)
	send(forged) // newer, but nobody has answered it
	send(third)
	if !answer(local(answered)) || answer(local(forged)) {
		t.Error("the flow that was answered had to give way to one that was not")
	}
}

func TestUDPSeveralDatagramsInOneFrame(t *testing.T) {
	for _, segments := range []bool{true, false} {
		t.Run(fmt.Sprintf("kernel segments %v", segments), func(t *testing.T) {
			w := newWorld(t, Options{})
			l := w.publishUDP(host4+":0", container4)
			l.server.(*udpServer).out.Apart.Store(!segments)
			client := udpClient(t, client4)
			client.SetReadBuffer(1 << 20)
			client.WriteToUDPAddrPort([]byte("x"), l.Addr())
			until(t, "the flow exists", func() bool { return l.Stats().Flows == 1 })
			frame := make([]byte, 100*500+7) // more than one system call takes
			for i := range frame {
				frame[i] = byte(i / 500)
			}
			d := packet.Datagram{Src: netip.AddrPortFrom(container4, 53), Dst: local(client), Payload: frame, SegmentSize: 500}
			if !w.forwarder.HandleDatagram(d) {
				t.Fatal("not taken")
			}
			b := make([]byte, 1000)
			for i := range 101 {
				want := 500
				if i == 100 {
					want = 7
				}
				n, _, err := client.ReadFromUDPAddrPort(b)
				if err != nil || n != want || b[0] != byte(i) || b[n-1] != byte(i) {
					t.Fatalf("datagram %d: %d bytes of %d, %v", i, n, b[0], err)
				}
			}
			if s := l.Stats(); s.DatagramsOut != 101 || s.BytesOut != uint64(len(frame)) || s.DropOut != 0 {
				t.Errorf("%+v", s)
			}
			if segments && l.server.(*udpServer).out.Apart.Load() {
				t.Error("the kernel did not send several datagrams at once on loopback")
			}
			d.SegmentSize = 1
			w.forwarder.HandleDatagram(d)
			if s := l.Stats(); s.DatagramsOut != 101 || s.DropOut != 1 {
				t.Errorf("a frame of %d datagrams was sent: %+v", len(frame), s)
			}
		})
	}
}

func TestUDPAnswersThatCannotBeSentAreCounted(t *testing.T) {
	w := newWorld(t, Options{})
	l := w.publishUDP(host4+":0", container4)
	client := udpClient(t, client4)
	client.WriteToUDPAddrPort([]byte("x"), l.Addr())
	until(t, "the flow exists", func() bool { return l.Stats().Flows == 1 })
	for _, fl := range l.server.(*udpServer).flows {
		fl.name.Set(netip.AddrPortFrom(fl.key.client.Addr(), 0)) // to port 0 nothing is sent
	}
	d := packet.Datagram{Src: netip.AddrPortFrom(container4, 53), Dst: local(client), Payload: make([]byte, 5*100-1), SegmentSize: 100}
	w.forwarder.HandleDatagram(d)
	d.SegmentSize = 0
	w.forwarder.HandleDatagram(d)
	if s := l.Stats(); s.DropOut != 6 || s.DatagramsOut != 0 || s.BytesOut != 0 {
		t.Errorf("of 5 datagrams and one %d are dropped, and %d with %d bytes sent", s.DropOut, s.DatagramsOut, s.BytesOut)
	}
}

func TestUDPSeveralDatagramsFromTheHostAtOnce(t *testing.T) {
	w := newWorld(t, Options{})
	w.echo("udp", netip.AddrPortFrom(container4, 53))
	l := w.publishUDP(host4+":0", container4)
	client := udpClient(t, client4)
	raw, _ := client.SyscallConn()
	raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, 4); err != nil {
			t.Fatal(err)
		}
	})
	client.WriteToUDPAddrPort([]byte("aaaabbbbcc"), l.Addr())
	b := make([]byte, 100)
	for _, want := range []string{"aaaa", "bbbb", "cc"} {
		n, _, err := client.ReadFromUDPAddrPort(b)
		if err != nil || !strings.HasSuffix(string(b[:n]), ": "+want) {
			t.Fatalf("got %q, %v, want the answer to %q", b[:n], err, want)
		}
	}
	until(t, "three datagrams are counted", func() bool { s := l.Stats(); return s.DatagramsIn == 3 && s.BytesIn == 10 })
}

func TestUDPBroadcastAndMulticastStayOutside(t *testing.T) {
	w := newWorld(t, Options{})
	l4, l6 := w.publishUDP("0.0.0.0:0", container4), w.publishUDP("[::]:0", container6)
	for _, c := range []struct {
		client string
		to     netip.AddrPort
		l      *Listener
	}{
		{"127.0.0.1", at("127.255.255.255", l4.Addr()), l4},
		{"fe80::8%host0", at("ff02::1%host0", l6.Addr()), l6},
	} {
		client := udpClient(t, c.client) // Go sets SO_BROADCAST
		if _, err := client.WriteToUDPAddrPort([]byte("x"), c.to); err != nil {
			t.Fatal(err)
		}
		until(t, fmt.Sprint("the datagram to ", c.to, " is dropped"), func() bool { return c.l.Stats().DropNotToUs == 1 })
		if s := c.l.Stats(); s.DatagramsIn != 0 || s.Flows != 0 {
			t.Errorf("%v: %+v", c.to, s)
		}
	}
}

func TestUDPSurvivesErrorsOfClients(t *testing.T) {
	w := newWorld(t, Options{})
	w.echo("udp", netip.AddrPortFrom(container4, 53))
	l := w.publishUDP("127.0.0.1:0", container4)
	gone := udpClient(t, "127.0.0.1")
	gone.WriteToUDPAddrPort([]byte("x"), l.Addr())
	until(t, "the flow exists", func() bool { return l.Stats().DatagramsOut == 1 })
	var shown netip.AddrPort
	w.forwarder.mu.RLock()
	for k := range w.forwarder.replies {
		shown = k.shown
	}
	w.forwarder.mu.RUnlock()
	gone.Close()
	for range 20 { // each one is answered with ICMP port unreachable
		w.forwarder.HandleDatagram(packet.Datagram{Src: netip.AddrPortFrom(container4, 53), Dst: shown, Payload: []byte("y")})
	}
	if got := askUDP(t, udpClient(t, "127.0.0.1"), l.Addr(), "hi"); !strings.HasSuffix(got, ": hi") {
		t.Errorf("got %q", got)
	}
}

func TestUDPForeignDatagramsAreNotTaken(t *testing.T) {
	w := newWorld(t, Options{})
	w.echo("udp", netip.AddrPortFrom(container4, 53))
	l := w.publishUDP(host4+":0", container4)
	client := udpClient(t, client4)
	askUDP(t, client, l.Addr(), "x")
	until(t, "the answer is counted", func() bool { return l.Stats().DatagramsOut == 1 })
	for _, d := range []packet.Datagram{
		{Src: netip.AddrPortFrom(container4, 54), Dst: local(client)},
		{Src: netip.AddrPortFrom(nowhere, 53), Dst: local(client)},
		{Src: netip.AddrPortFrom(container4, 53), Dst: netip.AddrPortFrom(local(client).Addr(), local(client).Port()+1)},
		{Src: netip.AddrPortFrom(container4, 53), Dst: netip.MustParseAddrPort(other4 + ":53")},
	} {
		if w.forwarder.HandleDatagram(d) {
			t.Errorf("%v to %v was taken", d.Src, d.Dst)
		}
	}
	if n := l.Stats().DatagramsOut; n != 1 {
		t.Errorf("%d datagrams went out", n-1)
	}
}

func TestUDPClosingUnderTraffic(t *testing.T) {
	w := newWorld(t, Options{})
	w.echo("udp", netip.AddrPortFrom(container4, 53))
	client := udpClient(t, client4)
	stop, done := make(chan struct{}), make(chan struct{})
	to := make(chan netip.AddrPort, 1)
	go func() {
		defer close(done)
		a := <-to
		for {
			select {
			case <-stop:
				return
			default:
				client.WriteToUDPAddrPort([]byte("x"), a)
				w.forwarder.HandleDatagram(packet.Datagram{Src: netip.AddrPortFrom(container4, 53), Dst: local(client), Payload: []byte("y")})
			}
		}
	}()
	l := w.publishUDP(host4+":0", container4)
	to <- l.Addr()
	for range 20 {
		in := l.Stats().DatagramsIn
		until(t, "traffic flows", func() bool { return l.Stats().DatagramsIn > in })
		l.Close()
		l = w.publishUDP(l.Addr().String(), container4)
	}
	close(stop)
	<-done
}
