package portfwd

import (
	"net/netip"
	"strings"
	"testing"
)

// oneContainer says that container4 and container6 are one.
func oneContainer(a netip.Addr) netip.Addr {
	if a == container6 {
		return container4
	}
	return a
}

func TestConnectionLimitOfAContainerIsOverAllItsPorts(t *testing.T) {
	w := newWorld(t, Options{Owner: oneContainer})
	w.forwarder.SetLimits(container4, ContainerLimits{Connections: 2})
	for _, a := range []netip.Addr{container4, container6} {
		w.echo("tcp", netip.AddrPortFrom(a, 80))
	}
	l4 := w.publish("tcp", "127.0.0.1:0", netip.AddrPortFrom(container4, 80))
	l6 := w.publish("tcp", "[::1]:0", netip.AddrPortFrom(container6, 80))
	held := dial(t, "", l4.Addr())
	dial(t, "", l6.Addr())
	until(t, "both are joined", func() bool { return l4.Stats().Active == 1 && l6.Stats().Active == 1 })
	for _, l := range []*Listener{l4, l6} {
		expectResetFrom(t, "", l.Addr())
		until(t, "the reset is counted", func() bool { return l.Stats().DropConnections == 1 })
	}
	if got := w.forwarder.Refused(container4); len(got) != 1 || got["connections_limit"] != 2 {
		t.Errorf("refused %v", got)
	}
	held.SetLinger(0)
	held.Close()
	until(t, "the first is gone", func() bool { return l4.Stats().Active == 0 })
	if got := askTCP(t, dial(t, "", l6.Addr()), "x"); !strings.HasSuffix(got, ": x") {
		t.Errorf("got %q", got)
	}
	w.forwarder.SetLimits(container4, ContainerLimits{}) // the defaults
	for range 3 {
		if got := askTCP(t, dial(t, "", l4.Addr()), "x"); !strings.HasSuffix(got, ": x") {
			t.Errorf("got %q", got)
		}
	}
	l4.Close()
	l6.Close()
	w.forwarder.Release(container4)
	if got := w.forwarder.Refused(container4); len(got) != 0 {
		t.Errorf("of a container that is gone: refused %v", got)
	}
	if n := w.forwarder.containers.all.Len(); n != 0 {
		t.Errorf("%d containers are remembered after the end", n)
	}
	if n := w.forwarder.containers.halfOpen.Used() + w.forwarder.budget.pool.Used(); n != 0 {
		t.Errorf("%d connections are counted after the end", n)
	}
}

// Clients that flood one container's ports do not take flows from another's.
func TestFlowsGiveWayToThoseOfTheirOwnContainer(t *testing.T) {
	clock := &handClock{}
	w := newWorld(t, Options{Limits: Limits{FlowsTotal: 8, Container: ContainerLimits{Flows: 3}}, clock: clock})
	f := w.forwarder
	other := netip.MustParseAddr("10.0.0.4")
	mine := [2]*Listener{w.publish("udp", host4+":0", netip.AddrPortFrom(container4, 53)), w.publish("udp", host4+":0", netip.AddrPortFrom(container4, 54))}
	theirs := w.publish("udp", host4+":0", netip.AddrPortFrom(other, 53))
	flow := func(l *Listener, port uint16) *flow {
		return f.newFlow(l.server.(*udpServer), flowKey{
			client: netip.AddrPortFrom(netip.MustParseAddr(client4), port), local: netip.MustParseAddr(host4),
		})
	}
	for port := range uint16(3) {
		flow(theirs, 1000+port)
	}
	for port := range uint16(3) {
		flow(mine[0], 2000+port)
	}
	for port := range uint16(50) { // the first of them has to take a flow of the other port
		if flow(mine[1], 3000+port) == nil {
			t.Fatal("no flow for a client")
		}
	}
	if a, b, c := mine[0].Stats(), mine[1].Stats(), theirs.Stats(); a.Flows+b.Flows != 3 || c.Flows != 3 || c.FlowsEvicted != 0 || a.FlowsEvicted+b.FlowsEvicted != 50 {
		t.Errorf("%d and %d flows of one container, %d of another of which %d were evicted", a.Flows, b.Flows, c.Flows, c.FlowsEvicted)
	}
	if got := f.Refused(container4); len(got) != 1 || got["flows_limit"] != 50 || len(f.Refused(other)) > 0 {
		t.Errorf("refused %v, of the other %v", got, f.Refused(other))
	}
	// The table is full: whoever has none gets one, from whoever.
	f.SetLimits(container4, ContainerLimits{Flows: 100})
	for port := range uint16(50) {
		flow(mine[1], 4000+port)
	}
	if n, c := mine[0].Stats().Flows+mine[1].Stats().Flows, theirs.Stats(); n != 3 || c.Flows != 3 {
		t.Errorf("%d flows of one container, want no more than are left to others; %d of the other", n, c.Flows)
	}
	third := w.publish("udp", host4+":0", netip.MustParseAddrPort("10.0.0.5:53"))
	for port := range uint16(5) {
		flow(third, 5000+port)
	}
	fourth := w.publish("udp", host4+":0", netip.MustParseAddrPort("10.0.0.6:53"))
	fifth := w.publish("udp", host4+":0", netip.MustParseAddrPort("10.0.0.7:53"))
	if flow(fourth, 6000) == nil || flow(fifth, 7000) == nil {
		t.Error("no flow for the client of a container that has none")
	}
	if n := f.containers.flows.Used(); n > 8 {
		t.Errorf("%d flows, want 8 at most", n)
	}
	for _, l := range f.Listeners() {
		l.Close()
	}
	if n := f.containers.flows.Used(); n != 0 {
		t.Errorf("%d flows are counted after the end", n)
	}
}

func BenchmarkRefusedConnection(b *testing.B) {
	f := New(Options{Gateway: &testGateway{}, Subnets: subnets})
	f.SetLimits(container4, ContainerLimits{HalfOpen: 1})
	f.containers.enter(container4)
	refuse := func() {
		if _, why := f.containers.enter(container4); why != overHalfOpen {
			b.Fatal("let in")
		}
	}
	if n := testing.AllocsPerRun(100, refuse); n != 0 {
		b.Fatalf("%v allocations for a client that is refused, want 0", n)
	}
	for b.Loop() {
		refuse()
	}
}

// A client whose datagrams never end lets others run.
func TestTheReaderTakesTurns(t *testing.T) {
	yielded := make(chan struct{}, 1)
	w := newWorld(t, Options{Yield: func() {
		select {
		case yielded <- struct{}{}:
		default:
		}
	}})
	l := w.publish("udp", host4+":0", netip.AddrPortFrom(container4, 53))
	c := udpClient(t, client4)
	for {
		for range 100 {
			c.WriteToUDPAddrPort([]byte("x"), l.Addr())
		}
		select {
		case <-yielded:
			return
		default:
		}
		if l.Stats().DatagramsIn > 1e6 {
			t.Fatal("a million datagrams without a turn for others")
		}
	}
}
