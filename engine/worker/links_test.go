package worker

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/engine/plane"
)

// What is open between containers that are kept apart is open with the next worker, and is
// forgotten when it is taken away.
func TestExceptionsAreFacts(t *testing.T) {
	s := newSupervisor(t, Options{})
	a, b := newCtr(t, 2), newCtr(t, 3)
	spec := netSpec()
	spec.Rules.NoICC = true
	p, err := s.NewPlane(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*ctr{a, b} {
		if _, err := p.Attach(t.Context(), c.ns, c.link); err != nil {
			t.Fatal(err)
		}
	}
	open := []plane.Exception{{
		From: netip.MustParseAddr("10.99.0.3"), To: netip.MustParseAddr("10.99.0.2"),
		PortRange: plane.PortRange{Proto: "tcp", First: 7000, Last: 7000},
	}}
	if err := p.SetExceptions("b", open); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	a.MustCall("echo", "10.99.0.2:7000")
	b.MustCall("dial", "10.99.0.2:7000")
	if err := unix.Kill(s.Status().PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Call("ask", "hello"); got != "hello" || err != nil {
		t.Errorf("with another worker: %q, %v", got, err)
	}
	if err := p.SetExceptions("b", []plane.Exception{{From: open[0].From, To: open[0].From, PortRange: open[0].PortRange}}); err == nil {
		t.Error("an impossible exception is no error")
	}
	if got, err := b.Call("ask", "still"); got != "still" || err != nil {
		t.Errorf("after a refused change: %q, %v", got, err)
	}
	if err := p.SetExceptions("b", nil); err != nil {
		t.Fatal(err)
	}
	if err := p.SetExceptions("c", open); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.facts) != 0 {
		t.Errorf("facts left: %v", s.facts)
	}
}

func TestNamesAreOnLinkWhereThereIsNoGateway(t *testing.T) {
	spec := Spec{Resolves: true, Rules: plane.Rules{Mode4: plane.ModeIsolated}}
	var l Link
	for _, a := range []string{"10.0.0.2/24", "fd00::2/64"} {
		l.Addresses = append(l.Addresses, netip.MustParsePrefix(a))
	}
	if got := spec.resolvers(l); !slices.Equal(got, []netip.Addr{plane.Resolver4}) {
		t.Errorf("%v", got)
	}
	spec.Resolves = false
	if got := spec.resolvers(l); got != nil {
		t.Errorf("without names: %v", got)
	}
}
