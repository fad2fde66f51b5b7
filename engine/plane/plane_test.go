package plane

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/internal/nstest"
	"github.com/footbridge-net/footbridge/portfwd"
	"github.com/footbridge-net/footbridge/tap"
)

func TestMain(m *testing.M) { nstest.Main(m, tap.Dispatch) }

// guest is a process in a user and a network namespace of its own.
type guest struct {
	*nstest.World
	t  *testing.T
	ns tap.Namespaces
}

func newGuest(t *testing.T) *guest {
	t.Helper()
	g := &guest{World: nstest.New(t, 0), t: t}
	var err error
	if g.ns, err = tap.OpenNamespaces(g.Pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.ns.Close() })
	return g
}

// attach makes link in the guest and puts it on p.
func (g *guest) attach(p *Plane) (*Port, error) {
	g.t.Helper()
	o := tap.LinkOptions{Name: link.Interface, MAC: link.MAC, MTU: p.opts.MTU, Addresses: link.Addresses, DisableIPv6: true}
	if !p.opts.Internal {
		o.Gateway4 = p.opts.Gateway4.Addr()
	}
	i, err := tap.Attach(g.t.Context(), g.ns, o)
	if err != nil {
		g.t.Fatal(err)
	}
	device, err := tap.NewDevice(i.Name, i.Queues)
	if err != nil {
		g.t.Fatal(err)
	}
	return p.AddPort(link, device)
}

func newPlane(t *testing.T, o Options) *Plane {
	t.Helper()
	o.Name, o.MTU, o.Gateway4 = "net", 1500, netip.MustParsePrefix("10.99.0.1/24")
	o.Budget = portfwd.NewBudget(0)
	if o.Allow == nil {
		o.Allow = func(netip.Addr) bool { return false }
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

var link = Link{
	Container: "c", Interface: "eth0", MAC: [6]byte{2, 0x42, 10, 99, 0, 2},
	Addresses: []netip.Prefix{netip.MustParsePrefix("10.99.0.2/24")},
}

// A container on the plane asks for names over both transports, is reached over
// published ports, and is refused what the policy closes.
func TestPlaneCarriesAContainer(t *testing.T) {
	names := dns.NewNames("net")
	names.Add("x", []string{"db"}, []netip.Addr{netip.MustParseAddr("10.99.0.9")})
	p := newPlane(t, Options{Zone: names})
	g := newGuest(t)
	port, err := g.attach(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{"udp", "tcp"} {
		if got := g.MustCall("lookup", transport, "10.99.0.1:53", "db"); got != "[10.99.0.9]" {
			t.Errorf("db over %s: %s", transport, got)
		}
	}
	if _, err := g.Call("dial", "169.254.169.254:80", "200ms"); err == nil || p.Stats().Network["refused_policy"] == 0 {
		t.Errorf("closed by policy: %v, counters %v", err, p.Stats().Network)
	}
	g.MustCall("echo", "10.99.0.2:7000")
	for _, proto := range []string{"tcp", "udp"} {
		bound, err := portfwd.NewRegistry().Bind(portfwd.Mapping{
			Proto: proto, Owner: "c", Host: netip.MustParseAddrPort("127.0.0.1:0"), Container: netip.MustParseAddrPort("10.99.0.2:7000"),
		})
		if err != nil {
			t.Fatal(err)
		}
		h, err := bound.Handle().Dup()
		if err != nil {
			t.Fatal(err)
		}
		l, err := p.Serve(bound.Mapping(), h)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial(proto, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 5)
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
			t.Errorf("%s echo: %q, %v", proto, b, err)
		}
		c.Close()
		if err := errors.Join(l.Close(), bound.Close()); err != nil {
			t.Error(err)
		}
	}
	if s := p.Stats(); s.Ports["c"]["rx_frames"] == 0 || s.Network["dns_names"] == 0 {
		t.Errorf("counters %v", s)
	}
	// The endpoint's interface outlives its port and is taken over again.
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	if port, err = g.attach(p); err != nil {
		t.Fatal(err)
	}
	if got := g.MustCall("lookup", "udp", "10.99.0.1:53", "db"); got != "[10.99.0.9]" {
		t.Errorf("db after taking over: %s", got)
	}
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestInternalPlane(t *testing.T) {
	p := newPlane(t, Options{Internal: true, Allow: func(netip.Addr) bool { return true }})
	g := newGuest(t)
	if _, err := g.attach(p); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Call("dial", "192.0.2.1:80"); err == nil || !strings.Contains(err.Error(), "network is unreachable") {
		t.Errorf("the outside: %v", err)
	}
	if _, err := g.Call("lookup", "udp", "10.99.0.1:53", "example.com"); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("a name of the outside: %v", err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	h := fdpass.NewHandle(pipe[1])
	_, err := p.Serve(portfwd.Mapping{Proto: "tcp", Host: netip.MustParseAddrPort("127.0.0.1:80"), Container: netip.MustParseAddrPort("10.99.0.2:80")}, h)
	if h.FD() >= 0 {
		t.Error("the handle was not taken over")
	}
	if err == nil || !strings.Contains(err.Error(), "internal") {
		t.Errorf("publish: %v", err)
	}
}

func TestDuplicateEndpointIsRefused(t *testing.T) {
	p := newPlane(t, Options{})
	a, b := newGuest(t), newGuest(t)
	if _, err := a.attach(p); err != nil {
		t.Fatal(err)
	}
	if _, err := b.attach(p); err == nil {
		t.Error("two containers have one address")
	}
}
