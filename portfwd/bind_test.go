package portfwd

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

var to80 = netip.AddrPortFrom(container4, 80)

func mapping(proto, host string) Mapping {
	return Mapping{Proto: proto, Host: netip.MustParseAddrPort(host), Container: to80, Owner: "second"}
}

// newRegistry closes what it has bound at the end of the test.
func newRegistry(t testing.TB) *Registry {
	r := NewRegistry()
	t.Cleanup(func() {
		r.mu.Lock()
		all := slices.Collect(maps.Values(r.owners))
		r.mu.Unlock()
		closeAll(all)
	})
	return r
}

// free fails if a port of the Registry is left.
func (r *Registry) free(t *testing.T, but ...*Bound) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.owners {
		if !slices.Contains(but, b) {
			t.Errorf("%v was left behind", b.Mapping())
		}
	}
}

func TestTakenPortNamesItsOwner(t *testing.T) {
	for _, proto := range []string{"tcp", "udp"} {
		for _, c := range []struct{ first, second string }{
			{"0.0.0.0", "0.0.0.0"},
			{"0.0.0.0", "127.0.0.1"}, // the kernel says no to either order
			{"127.0.0.1", "0.0.0.0"},
			{"127.0.0.2", "127.0.0.2"},
			{"::", "::1"},
			{"::1", "::"},
			{"127.0.0.1", "::ffff:127.0.0.1"},
		} {
			t.Run(proto+" "+c.first+" and "+c.second, func(t *testing.T) {
				r := newRegistry(t)
				first, err := r.Bind(Mapping{Proto: proto, Host: netip.AddrPortFrom(netip.MustParseAddr(c.first), 0), Container: to80, Owner: "web"})
				if err != nil {
					t.Fatal(err)
				}
				m := mapping(proto, "1.1.1.1:1")
				m.Host = at(c.second, first.Addr())
				_, err = r.Bind(m)
				if !errors.Is(err, ErrInUse) || !errors.Is(err, syscall.EADDRINUSE) {
					t.Fatalf("got %v, want ErrInUse", err)
				}
				want := fmt.Sprintf("Bind for %v failed: port is already allocated: container \"web\" has published %v/%s; "+
					"unpublish it there or choose another host port", unmap(m.Host), first.Addr(), proto)
				if err.Error() != want {
					t.Errorf("got  %s\nwant %s", err, want)
				}
				first.Close()
				if _, err := r.Bind(m); err != nil {
					t.Errorf("after the owner closed: %v", err)
				}
			})
		}
	}
}

func TestPortsThatDoNotExcludeEachOther(t *testing.T) {
	r := newRegistry(t)
	first, err := r.Bind(mapping("tcp", "0.0.0.0:0"))
	if err != nil {
		t.Fatal(err)
	}
	port := first.Addr().Port()
	for _, m := range []Mapping{mapping("udp", "0.0.0.0:0"), mapping("tcp", "[::]:0")} {
		m.Host = netip.AddrPortFrom(m.Host.Addr(), port)
		if _, err := r.Bind(m); err != nil {
			t.Error(err)
		}
	}
	one, err := r.Bind(mapping("tcp", "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	two := mapping("tcp", "127.0.0.2:1")
	two.Host = at("127.0.0.2", one.Addr())
	if _, err := r.Bind(two); err != nil {
		t.Error("another loopback address:", err)
	}
}

func TestForeignProgramHasThePort(t *testing.T) {
	r := newRegistry(t)
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for _, c := range []struct {
		m  Mapping
		ss string
	}{
		{mapping("tcp", l.Addr().String()), "ss -ltnp"},
		{mapping("udp", u.LocalAddr().String()), "ss -lunp"},
	} {
		_, err := r.Bind(c.m)
		want := fmt.Sprintf("failed to bind host port %v/%s: address already in use: a program outside footbridge has it; find it with `%s 'sport = :%d'` or choose another host port",
			c.m.Host, c.m.Proto, c.ss, c.m.Host.Port())
		if !errors.Is(err, ErrInUse) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// withoutCapabilities calls f as an ordinary user: in its own namespace the test has
// capabilities. The thread of it ends with it.
func withoutCapabilities(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		var none [2]unix.CapUserData
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		err := unix.Capset(&head, &none[0])
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestPrivilegedPort(t *testing.T) {
	r := newRegistry(t)
	var err error
	withoutCapabilities(t, func() { _, err = r.Bind(mapping("tcp", "0.0.0.0:80")) })
	b, _ := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	start := strings.TrimSpace(string(b))
	want := fmt.Sprintf("Bind for 0.0.0.0:80 failed: permission denied: port 80 is below net.ipv4.ip_unprivileged_port_start, which is %s; "+
		"choose a host port from %s up, or let an administrator run `sysctl net.ipv4.ip_unprivileged_port_start=80`", start, start)
	if !errors.Is(err, ErrPrivileged) || !errors.Is(err, syscall.EACCES) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A container that asks for one port twice is told so, not to unpublish it elsewhere.
func TestAPortAskedForTwice(t *testing.T) {
	r := newRegistry(t)
	first, err := r.Bind(mapping("tcp", "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Bind(mapping("tcp", first.Addr().String()))
	want := fmt.Sprintf("Bind for %v failed: port is already allocated: container \"second\" publishes its port 80 there; choose another host port", first.Addr())
	if !errors.Is(err, ErrInUse) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// Ports of a range that this user may not have are passed over.
func TestARangeThatBeginsBelowTheUnprivileged(t *testing.T) {
	r := newRegistry(t)
	withoutCapabilities(t, func() {
		all, err := r.BindRange([]Mapping{mapping("tcp", "127.0.0.1:0"), mapping("tcp", "[::1]:0")}, 1020, 1026)
		if err != nil || all[0].Addr().Port() != 1024 || all[1].Addr().Port() != 1024 {
			t.Errorf("got %v, %v, want port 1024", all, err)
		}
		if _, err := r.BindRange([]Mapping{mapping("tcp", "127.0.0.1:0")}, 1020, 1022); !errors.Is(err, ErrPrivileged) ||
			!strings.Contains(err.Error(), "no port from 1020 to 1022 is free") || !strings.Contains(err.Error(), "sysctl net.ipv4.ip_unprivileged_port_start=1022") {
			t.Errorf("got %v, want ErrPrivileged", err)
		}
	})
}

func TestAddressOfAnotherHost(t *testing.T) {
	r := newRegistry(t)
	for _, host := range []string{"203.0.113.1:8000", "[2001:db8:ffff::1]:8000", "[fe80::1%nosuch0]:8000"} {
		_, err := r.Bind(mapping("tcp", host))
		if !errors.Is(err, ErrNotLocal) || !errors.Is(err, syscall.EADDRNOTAVAIL) || !strings.Contains(err.Error(), "is not an address of this host") {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestMappingsWithoutSense(t *testing.T) {
	r := newRegistry(t)
	good := mapping("tcp", "127.0.0.1:0")
	for want, change := range map[string]func(*Mapping){
		`protocol "sctp"`:        func(m *Mapping) { m.Proto = "sctp" },
		"no address to listen":   func(m *Mapping) { m.Host = netip.AddrPort{} },
		"must be unicast":        func(m *Mapping) { m.Host = netip.MustParseAddrPort("224.0.0.1:80") },
		"container's address on": func(m *Mapping) { m.Container = netip.MustParseAddrPort("127.0.0.1:80") },
		"container's address":    func(m *Mapping) { m.Other = netip.MustParseAddrPort("[::1]:80") },
		"container's port":       func(m *Mapping) { m.Container = netip.AddrPortFrom(container4, 0) },
	} {
		m := good
		change(&m)
		if b, err := r.Bind(m); !errors.Is(err, ErrMapping) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, %v, want an error with %q", m, b, err, want)
		}
	}
	if _, err := r.Bind(good); err != nil {
		t.Error(err)
	}
}

func TestBindAllTakesOnePortForAll(t *testing.T) {
	r := newRegistry(t)
	all, err := r.BindAll([]Mapping{mapping("udp", "127.0.0.9:4242"), mapping("tcp", "0.0.0.0:0"), mapping("tcp", "[::]:0"), mapping("udp", "0.0.0.0:0")})
	if err != nil {
		t.Fatal(err)
	}
	port := all[1].Addr().Port()
	for i, want := range []string{"127.0.0.9:4242", fmt.Sprintf("0.0.0.0:%d", port), fmt.Sprintf("[::]:%d", port), fmt.Sprintf("0.0.0.0:%d", port)} {
		if got := all[i].Addr().String(); got != want {
			t.Errorf("port %d is at %s, want %s", i, got, want)
		}
	}
}

func TestBindAllIsAllOrNothing(t *testing.T) {
	r := newRegistry(t)
	taken, err := r.Bind(Mapping{Proto: "tcp", Host: netip.MustParseAddrPort("127.0.0.1:0"), Container: to80, Owner: "web"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.BindAll([]Mapping{mapping("tcp", "127.0.0.2:0"), mapping("tcp", taken.Addr().String())})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), `"web"`) {
		t.Errorf("got %v, want ErrInUse of web", err)
	}
	r.free(t, taken)
}

func TestBindAllTriesOtherRandomPorts(t *testing.T) {
	r := newRegistry(t)
	// Of the four ports that the kernel may choose from, all but one are taken
	// at the second address.
	const sysctl = "/proc/sys/net/ipv4/ip_local_port_range"
	was, err := os.ReadFile(sysctl)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sysctl, []byte("40000 40003"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(sysctl, was, 0)
	for _, port := range []int{40000, 40001, 40003} {
		if _, err := r.Bind(mapping("tcp", fmt.Sprintf("127.0.0.2:%d", port))); err != nil {
			t.Fatal(err)
		}
	}
	all, err := r.BindAll([]Mapping{mapping("tcp", "127.0.0.1:0"), mapping("tcp", "127.0.0.2:0")})
	if err != nil {
		t.Fatal(err)
	}
	if p, q := all[0].Addr().Port(), all[1].Addr().Port(); p != 40002 || q != 40002 {
		t.Errorf("ports %d and %d, want 40002", p, q)
	}
	closeAll(all)
	if _, err := r.Bind(mapping("tcp", "127.0.0.2:40002")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.BindAll([]Mapping{mapping("tcp", "127.0.0.1:0"), mapping("tcp", "127.0.0.2:0")}); !errors.Is(err, ErrInUse) {
		t.Errorf("with all ports taken: %v, want ErrInUse", err)
	}
	if _, ok := r.Owner("tcp", netip.MustParseAddrPort("127.0.0.1:40002")); ok {
		t.Error("a port was left behind")
	}
}

func TestBindRangeTakesTheFirstFreePort(t *testing.T) {
	r := newRegistry(t)
	ms := []Mapping{mapping("tcp", "127.0.0.1:0"), mapping("tcp", "127.0.0.2:0")}
	if _, err := r.Bind(Mapping{Proto: "tcp", Host: netip.MustParseAddrPort("127.0.0.2:28000"), Container: to80, Owner: "web"}); err != nil {
		t.Fatal(err)
	}
	all, err := r.BindRange(ms, 28000, 28001)
	if err != nil {
		t.Fatal(err)
	}
	if all[0].Addr().Port() != 28001 || all[1].Addr().Port() != 28001 {
		t.Errorf("got %v and %v", all[0].Addr(), all[1].Addr())
	}
	_, err = r.BindRange(ms, 28000, 28001)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "no port from 28000 to 28001 is free") || !strings.Contains(err.Error(), `"second"`) {
		t.Errorf("got %v", err)
	}
	for _, ports := range [][2]uint16{{0, 5}, {6, 5}} {
		if _, err := r.BindRange(ms, ports[0], ports[1]); !errors.Is(err, ErrMapping) {
			t.Errorf("range %v: %v", ports, err)
		}
	}
	if _, err := r.BindRange(ms[:1], 65535, 65535); err != nil {
		t.Error("the last port:", err)
	}
}
