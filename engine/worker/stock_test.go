package worker

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/portfwd"
	"github.com/footbridge-net/footbridge/tap"
)

func (sc *scene) counter(name string) uint64 { return sc.plane.Stats().Network[name] }

// publish publishes one more port, which leads to container a.
func (sc *scene) publish(n func(*Published)) *Listener {
	sc.t.Helper()
	p := Published{Plane: sc.plane, Namespaces: sc.a.ns, Mapping: portfwd.Mapping{
		Proto: "tcp", Owner: "c2", Host: netip.MustParseAddrPort("127.0.0.1:0"), Container: netip.MustParseAddrPort("10.99.0.2:7000"),
	}}
	n(&p)
	ls, err := sc.s.Publish([]Published{p}, 0, 0)
	if err != nil {
		sc.t.Fatal(err)
	}
	return ls[0]
}

// Clients on the host's loopback are joined by sockets inside the container, from the first one
// on, and again with each new worker.
func TestLoopbackClientsAreJoinedInTheKernel(t *testing.T) {
	sc := newScene(t, Options{})
	for range 2 {
		n := sc.counter("published_tcp_spliced")
		for range 20 {
			if err := sc.published(); err != nil {
				t.Fatal(err)
			}
		}
		if after := sc.counter("published_tcp_spliced"); after != n+20 {
			t.Errorf("%d of 20 connections were joined", after-n)
		}
		eventually(t, "sockets for the next clients", func() bool { return sc.counter("published_sockets_idle") >= 4 })
		if err := unix.Kill(sc.s.Status().PID, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		// It waits for its listener's next server, and then for a socket.
		if err := sc.published(); err != nil {
			t.Fatal(err)
		}
		if n := sc.counter("published_tcp_spliced"); n != 1 {
			t.Errorf("after the worker's end %d connections were joined", n)
		}
	}
}

// Sockets are there while a port leads to the address, and their namespace is held no longer.
func TestAStockEndsWithItsLastPort(t *testing.T) {
	sc := newScene(t, Options{})
	eventually(t, "sockets", func() bool { return sc.counter("published_sockets_idle") == 4 })
	fds := openFDs(t)
	second := sc.publish(func(*Published) {})
	if n := openFDs(t); n > fds+2 { // its socket, for the registry and for the worker
		t.Errorf("%d descriptors for a second port of a container", n-fds)
	}
	if err := sc.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if n := sc.counter("published_sockets_idle"); n != 4 {
		t.Errorf("%d sockets while a port is left", n)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if n := sc.counter("published_sockets_idle"); n != 0 {
		t.Errorf("%d sockets without a port", n)
	}
	if n := openFDs(t); n > fds-4 { // two namespaces, two of the first port's socket
		t.Errorf("%d descriptors are left of %d", n, fds)
	}
	sc.listener = sc.publish(func(*Published) {})
	sc.check("published again")
}

// Where no sockets can be made, or none are wanted, all is as it was without them.
func TestPortsWithoutSocketsInside(t *testing.T) {
	for name, change := range map[string]func(*scene, *Published){
		"namespaces are not known": func(_ *scene, p *Published) { p.Namespaces = tap.Namespaces{} },
		"another container's":      func(sc *scene, p *Published) { p.Namespaces = sc.b.ns },
		"they are closed": func(_ *scene, p *Published) {
			null, _ := os.Open(os.DevNull)
			_ = null.Close()
			p.Namespaces = tap.Namespaces{Net: null}
		},
	} {
		t.Run(name, func(t *testing.T) {
			sc := newScene(t, Options{})
			if err := sc.listener.Close(); err != nil {
				t.Fatal(err)
			}
			sc.listener = sc.publish(func(p *Published) { change(sc, p) })
			n := sc.counter("published_tcp_spliced")
			for range 3 {
				sc.check(name)
			}
			if after := sc.counter("published_tcp_spliced"); after != n {
				t.Errorf("%d connections were joined", after-n)
			}
		})
	}
}

// rings plays a worker that rings all the time, and wants what there is not, and too much.
func rings(conn *fdpass.Conn, buf []byte) {
	_ = sendReply(conn, []byte(`{"Body":{}}`))
	go func() {
		for range time.Tick(time.Millisecond) {
			ringBell()
		}
	}()
	for n := 0; ; n++ {
		got, hs, err := conn.Receive(buf)
		if err != nil {
			os.Exit(0)
		}
		fdpass.CloseAll(hs)
		answer := `{}`
		var r request
		if json.Unmarshal(buf[:got], &r) == nil && r.Op == opWanted {
			answer = `{"Body":[{"Key":"net1/10.99.0.2","Count":253},{"Key":"net1/10.99.0.2","Count":254},{"Key":"net1/10.99.0.2","Count":-1},{"Key":"nobody","Count":9}]}`
			if n%2 == 1 {
				answer = `{"Body":[` + strings.TrimSuffix(strings.Repeat(`{"Key":"","Count":1},`, maxWishes+1), ",") + `]}`
			}
		}
		_ = sendReply(conn, []byte(answer))
	}
}

// A worker that asks for sockets for ever takes no more than a share of the keeper's time,
// and nothing of what others have.
func TestAWorkerThatRingsForEver(t *testing.T) {
	t.Setenv(logVariable, fakePrefix+"rings")
	s := newSupervisor(t, Options{})
	if err := s.Release(); err != nil {
		t.Fatal(err)
	}
	sc := &scene{t: t, s: s, a: newCtr(t, 2), b: newCtr(t, 3)}
	sc.build(netip.MustParseAddrPort("127.0.0.1:0"))
	fds := openFDs(t)
	cpu := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before, start := cpu(), time.Now()
	for range 30 { // requests are answered meanwhile
		sc.plane.Stats()
		<-time.After(10 * time.Millisecond)
	}
	if spent, took := cpu()-before, time.Since(start); spent > took*3/4 {
		t.Errorf("%v of the processor in %v", spent, took)
	}
	eventually(t, "no descriptor is left open", func() bool { return openFDs(t) <= fds+1 })
}
