package worker

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdstore"
	"github.com/footbridge-net/footbridge/portfwd"
)

// scene is a network with two containers and a published port. One container has
// a connection to the other.
type scene struct {
	t        *testing.T
	s        *Supervisor
	plane    *Plane
	ports    []*Port
	listener *Listener
	a, b     *ctr
}

func newScene(t *testing.T, o Options) *scene {
	t.Helper()
	sc := &scene{t: t, s: newSupervisor(t, o), a: newCtr(t, 2), b: newCtr(t, 3)}
	sc.build(netip.MustParseAddrPort("127.0.0.1:0"))
	if err := sc.s.Release(); err != nil {
		t.Fatal(err)
	}
	sc.a.MustCall("echo", "10.99.0.2:7000")
	sc.b.MustCall("dial", "10.99.0.2:7000")
	sc.check("at first")
	return sc
}

// build asks for everything, as an engine does at its start.
func (sc *scene) build(host netip.AddrPort) {
	t := sc.t
	t.Helper()
	var err error
	if sc.plane, err = sc.s.NewPlane(netSpec()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*ctr{sc.a, sc.b} {
		p, err := sc.plane.Attach(t.Context(), c.ns, c.link)
		if err != nil {
			t.Fatal(err)
		}
		sc.ports = append(sc.ports, p)
	}
	addr := netip.MustParseAddr("10.99.0.2")
	if err := sc.plane.SetNames("a", []string{"web"}, []netip.Addr{addr}); err != nil {
		t.Fatal(err)
	}
	ls, err := sc.s.Publish([]Published{{Plane: sc.plane, Mapping: portfwd.Mapping{
		Proto: "tcp", Owner: "c2", Host: host, Container: netip.AddrPortFrom(addr, 7000),
	}, Namespaces: sc.a.ns}}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	sc.listener = ls[0]
}

// check goes through everything that the scene has.
func (sc *scene) check(when string) {
	t := sc.t
	t.Helper()
	if got, err := sc.b.Call("ask", "hello"); got != "hello" || err != nil {
		t.Errorf("%s: the connection between containers: %q, %v", when, got, err)
	}
	if got, err := sc.b.Call("lookup", "udp", "10.99.0.1:53", "web"); got != "[10.99.0.2]" || err != nil {
		t.Errorf("%s: a name: %q, %v", when, got, err)
	}
	if err := sc.published(); err != nil {
		t.Errorf("%s: the published port: %v", when, err)
	}
}

func (sc *scene) published() error {
	c, err := net.DialTimeout("tcp", sc.listener.Addr().String(), 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("hi")); err != nil {
		return err
	}
	b := make([]byte, 2)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hi" {
		return errors.Join(errors.New("got "+string(b)), err)
	}
	return nil
}

func TestAKilledWorkerIsReplaced(t *testing.T) {
	sc := newScene(t, Options{})
	for range 3 {
		before := sc.s.Status()
		begin := time.Now()
		if err := unix.Kill(before.PID, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := sc.published(); err != nil { // waits in the listener's backlog
			t.Errorf("right after: %v", err)
		}
		took := time.Since(begin)
		sc.check("afterwards")
		after := sc.s.Status()
		if after.PID == before.PID || after.Restarts != before.Restarts+1 || !strings.Contains(after.LastExit, "SIGKILL") {
			t.Errorf("before %+v, after %+v", before, after)
		}
		// The bound asked for is one second; a loaded machine has five.
		if t.Logf("a new connection through the published port %v after the kill", took); took > 5*time.Second {
			t.Errorf("recovery took %v", took)
		}
	}
}

// A worker that is there but does nothing is no worker.
func TestAStoppedWorkerIsReplaced(t *testing.T) {
	sc := newScene(t, Options{})
	pid := sc.s.Status().PID
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// On a busy machine it works on for a while, until it takes the signal.
	eventually(t, "another worker", func() bool { return sc.s.Status().PID != pid })
	if st := sc.s.Status(); !strings.Contains(st.LastExit, "stopped") {
		t.Errorf("%+v", st)
	}
	sc.check("afterwards")
}

// What the daemon's caller had left open is not the worker's.
func TestAWorkerInheritsNothing(t *testing.T) {
	for range 40 {
		fd, err := unix.Open("/proc/self/status", unix.O_RDONLY, 0) // not close-on-exec
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
	}
	sc := newScene(t, Options{})
	if n := sc.s.Status().Self.Descriptors; n == 0 || n > 30 {
		t.Errorf("the worker has %d descriptors", n)
	}
}

// Both ways of counting find the same.
func TestTheWorkersDescriptorsAreCounted(t *testing.T) {
	sc := newScene(t, Options{})
	eventually(t, "the worker, the kernel (if it tells) and the status to agree on descriptors", func() bool {
		var listed int
		sc.s.ask(opFiles, "", &listed)
		told := sc.s.openFiles()
		return listed > 0 && (told == 0 || told == listed) && sc.s.Status().Self.Descriptors == listed
	})
}

// What was dropped while no worker lived is not made again.
func TestWhatIsDroppedStaysDropped(t *testing.T) {
	sc := newScene(t, Options{})
	fds := openFDs(t)
	if err := unix.Kill(sc.s.Status().PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := sc.listener.Close(); err != nil {
		t.Error(err)
	}
	if err := sc.ports[0].Close(); err != nil {
		t.Error(err)
	}
	if c, err := net.DialTimeout("tcp", sc.listener.Addr().String(), time.Second); err == nil {
		c.Close()
		t.Error("the published port is still there")
	}
	if got, err := sc.b.Call("lookup", "udp", "10.99.0.1:53", "web"); got != "[10.99.0.2]" || err != nil {
		t.Errorf("what was not dropped: %q, %v", got, err)
	}
	// One socket held twice, one TAP's queue, and the two namespaces for sockets inside.
	if got := openFDs(t); got != fds-5 {
		t.Errorf("%d descriptors, were %d", got, fds)
	}
	if err := sc.plane.Close(); err != nil {
		t.Error(err)
	}
	sc.s.mu.Lock()
	defer sc.s.mu.Unlock()
	if len(sc.s.facts) != 0 {
		t.Errorf("facts left: %v", sc.s.facts)
	}
}

// A worker without a network to carry does not stay, and the next network gets one.
func TestAnIdleWorkerEnds(t *testing.T) {
	sc := newScene(t, Options{})
	sc.s.mu.Lock()
	sc.s.rest = 50 * time.Millisecond
	sc.s.mu.Unlock()
	if err := sc.plane.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the worker's end", func() bool { return sc.s.Status().PID == 0 })
	sc.build(sc.listener.Addr())
	sc.b.MustCall("dial", "10.99.0.2:7000")
	sc.check("with another worker")
	if st := sc.s.Status(); st.PID == 0 || st.Restarts != 0 {
		t.Errorf("%+v", st)
	}
}

// The next program finds interfaces and listeners as they are and ends the worker
// of the one before when it has one of its own.
func TestHandOver(t *testing.T) {
	store := openStore(t)
	dir := t.TempDir()
	sc := newScene(t, Options{RuntimeDir: dir, Store: store})
	old := sc.s.Status().PID
	if err := sc.s.HandOver(); err != nil {
		t.Fatal(err)
	}
	sc.check("handed over")
	next := &scene{t: t, s: newSupervisor(t, Options{RuntimeDir: dir, Store: store}), a: sc.a, b: sc.b}
	next.build(sc.listener.Addr())
	sc.check("while the next one prepares")
	if next.s.Status().PID != 0 {
		t.Error("a worker before Release")
	}
	if err := next.s.Release(); err != nil {
		t.Fatal(err)
	}
	next.check("taken over")
	if st := next.s.Status(); st.PID == 0 || st.PID == old {
		t.Errorf("the worker is %d, was %d", st.PID, old)
	}
	eventually(t, "the end of the old worker", func() bool {
		sc.s.mu.Lock()
		defer sc.s.mu.Unlock()
		return sc.s.live.broken()
	})
	for _, name := range store.Names() {
		if strings.Contains(name, previousPart) {
			t.Errorf("%s is left in the store", name)
		}
	}
	// What nobody claims any more goes.
	if err := next.listener.Close(); err != nil {
		t.Error(err)
	}
	for _, name := range store.Names() {
		if strings.Contains(name, "port") {
			t.Errorf("%s is left in the store", name)
		}
	}
}

// A port that is refused because it is another's leaves that one's listener in the store.
func TestARefusedPortStaysItsOwnersInTheStore(t *testing.T) {
	store := openStore(t)
	sc := newScene(t, Options{Store: store})
	before := store.Names()
	_, err := sc.s.Publish([]Published{{Plane: sc.plane, Mapping: portfwd.Mapping{
		Proto: "tcp", Owner: "c3", Host: sc.listener.Addr(), Container: netip.MustParseAddrPort("10.99.0.3:7000"),
	}}}, 0, 0)
	if !errors.Is(err, portfwd.ErrInUse) {
		t.Errorf("the port of another: %v", err)
	}
	if after := store.Names(); !slices.Equal(after, before) {
		t.Errorf("the store has %q, had %q", after, before)
	}
	sc.check("afterwards")
}

func TestTakeBack(t *testing.T) {
	sc := newScene(t, Options{Store: openStore(t)})
	if err := sc.s.HandOver(); err != nil {
		t.Fatal(err)
	}
	pid := sc.s.Status().PID
	if err := sc.s.TakeBack(); err != nil {
		t.Fatal(err)
	}
	sc.check("taken back")
	if got := sc.s.Status().PID; got != pid {
		t.Errorf("the worker is %d, was %d", got, pid)
	}
	// It is watched again.
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	sc.check("killed after that")
}

// A worker that dies while nobody watches is replaced when somebody does.
func TestTakeBackOfADeadWorker(t *testing.T) {
	sc := newScene(t, Options{Store: openStore(t)})
	pid := sc.s.Status().PID
	if err := sc.s.HandOver(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-sc.s.live.done
	if err := sc.s.TakeBack(); err != nil {
		t.Fatal(err)
	}
	sc.check("afterwards")
}

func openStore(t *testing.T) *fdstore.Store {
	t.Helper()
	s, err := fdstore.Open()
	if err != nil {
		t.Fatal(err)
	}
	return s
}
