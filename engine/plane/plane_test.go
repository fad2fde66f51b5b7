package plane

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/dns"
	"github.com/footbridge-net/footbridge/internal/fdpass"
	"github.com/footbridge-net/footbridge/portfwd"
	"github.com/footbridge-net/footbridge/tap"
)

const guestVariable = "FOOTBRIDGE_TEST_GUEST"

func TestMain(m *testing.M) {
	tap.Dispatch()
	if os.Getenv(guestVariable) != "" {
		guestMain()
		return
	}
	os.Exit(m.Run())
}

// guestMain is what runs in the container's namespaces: it does what the lines
// of its input say and answers with one line each.
func guestMain() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		answer, err := guestDo(strings.Fields(in.Text()))
		if err != nil {
			answer = "error: " + err.Error()
		}
		fmt.Println(answer)
	}
}

func guestDo(args []string) (string, error) {
	switch args[0] {
	case "lookup": // transport, server, name
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, args[1], args[2])
		}}
		addrs, err := r.LookupNetIP(ctx, "ip4", args[3])
		return fmt.Sprint(addrs), err
	case "echo": // listen and echo, TCP and UDP
		l, err := net.Listen("tcp", args[1])
		if err != nil {
			return "", err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(c, c); c.Close() }()
			}
		}()
		u, err := net.ListenPacket("udp", args[1])
		if err != nil {
			return "", err
		}
		go func() {
			b := make([]byte, 2048)
			for {
				n, from, err := u.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = u.WriteTo(b[:n], from)
			}
		}()
		return "ready", nil
	case "dial": // address, patience
		patience, err := time.ParseDuration(args[2])
		if err != nil {
			return "", err
		}
		c, err := net.DialTimeout("tcp", args[1], patience)
		if err != nil {
			return "", err
		}
		c.Close()
		return "connected", nil
	}
	return "", errors.New("what?")
}

// guest is a process in a user and a network namespace of its own.
type guest struct {
	t   *testing.T
	ns  tap.Namespaces
	in  io.WriteCloser
	out *bufio.Reader
}

func newGuest(t *testing.T) *guest {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), guestVariable+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("make a user namespace: %v", err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	g := &guest{t: t, in: in, out: bufio.NewReader(out)}
	if g.ns, err = tap.OpenNamespaces(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.ns.Close() })
	return g
}

func (g *guest) ask(format string, args ...any) string {
	g.t.Helper()
	if _, err := fmt.Fprintf(g.in, format+"\n", args...); err != nil {
		g.t.Fatal(err)
	}
	line, err := g.out.ReadString('\n')
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.TrimSpace(line)
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
		if got := g.ask("lookup %s 10.99.0.1:53 db", transport); got != "[10.99.0.9]" {
			t.Errorf("db over %s: %s", transport, got)
		}
	}
	if got := g.ask("dial 169.254.169.254:80 200ms"); !strings.Contains(got, "error: ") || p.Stats().Network["refused_policy"] == 0 {
		t.Errorf("closed by policy: %s, counters %v", got, p.Stats().Network)
	}
	if got := g.ask("echo 10.99.0.2:7000"); got != "ready" {
		t.Fatal(got)
	}
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
	if got := g.ask("lookup udp 10.99.0.1:53 db"); got != "[10.99.0.9]" {
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
	if got := g.ask("dial 192.0.2.1:80 5s"); !strings.Contains(got, "network is unreachable") {
		t.Errorf("the outside: %s", got)
	}
	if got := g.ask("lookup udp 10.99.0.1:53 example.com"); !strings.Contains(got, "no such host") {
		t.Errorf("a name of the outside: %s", got)
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
