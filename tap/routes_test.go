package tap

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheDefaultRouteMovesToAnotherInterface(t *testing.T) {
	w, ns := newWorld(t, 0)
	mustAttach(t, ns, testLink())
	mustAttach(t, ns, LinkOptions{
		Name: "eth1", Addresses: prefixes("10.8.0.2/24", "fd00:8::2/64"),
		Gateway4: netip.MustParseAddr("10.8.0.1"), Gateway6: netip.MustParseAddr("fd00:8::1"),
	})
	if got := defaultRoutes(t, w, "-4"); !slices.Equal(got, []string{"10.8.0.1 dev eth1"}) {
		t.Errorf("default routes %q", got)
	}
	if got := defaultRoutes(t, w, "-6"); !slices.Equal(got, []string{"fd00:8::1 dev eth1"}) {
		t.Errorf("IPv6 default routes %q", got)
	}
}

// Routes moves default routes while their interfaces are in use, and touches nothing else of them.
func TestRoutesChangesTheRoutesAlone(t *testing.T) {
	w, ns := newWorld(t, 0)
	d := mustAttach(t, ns, testLink())
	w.Run("ip", "addr", "add", "10.9.0.250/24", "dev", "eth0")
	w.Run("ip", "link", "set", "eth0", "mtu", "1450")
	o := testLink()
	o.Gateway4 = netip.Addr{}
	if err := Routes(testContext(t), ns, o); err != nil {
		t.Fatal(err)
	}
	if got := defaultRoutes(t, w, "-4"); len(got) != 0 {
		t.Errorf("default routes %q", got)
	}
	if got := defaultRoutes(t, w, "-6"); !slices.Equal(got, []string{"fd00:9::1 dev eth0"}) {
		t.Errorf("IPv6 default routes %q", got)
	}
	if err := Routes(testContext(t), ns, testLink()); err != nil {
		t.Fatal(err)
	}
	if got := defaultRoutes(t, w, "-4"); !slices.Equal(got, []string{"10.9.0.1 dev eth0"}) {
		t.Errorf("default routes %q", got)
	}
	if v := viewLink(t, w, "eth0"); v.MTU != 1450 || !slices.Contains(v.addresses(), "10.9.0.250/24") || !slices.Contains(v.Flags, "LOWER_UP") {
		t.Errorf("the interface is %+v", v)
	}
	d.Close()
	o.Name = "eth7"
	if err := Routes(testContext(t), ns, o); !errors.Is(err, unix.ENODEV) {
		t.Errorf("an interface that is not there: %v", err)
	}
	o.Name = "a/b"
	if err := Routes(testContext(t), ns, o); !errors.Is(err, ErrOptions) {
		t.Errorf("an impossible name: %v", err)
	}
}

// Several interfaces may lead to an address outside of their subnets; when one goes, another does.
func TestAddressesOutsideOfTheSubnetsAreOnLink(t *testing.T) {
	w, ns := newWorld(t, 0)
	at := []netip.Addr{netip.MustParseAddr("169.254.53.53"), netip.MustParseAddr("fd6e::53")}
	a, b := testLink(), LinkOptions{Name: "eth1", Addresses: prefixes("10.8.0.2/24", "fd00:8::2/64")}
	a.OnLink, b.OnLink = at, at
	a.Neighbors = nil
	mustAttach(t, ns, a)
	mustAttach(t, ns, b)
	leads := func(device string) {
		t.Helper()
		for _, to := range at {
			if got := w.Run("ip", "route", "get", to.String()); !strings.Contains(got, " dev "+device+" ") || strings.Contains(got, " via ") {
				t.Errorf("to %v: %s", to, got)
			}
		}
	}
	leads("eth0")
	if err := Detach(testContext(t), ns, "eth0"); err != nil {
		t.Fatal(err)
	}
	leads("eth1")
}

func TestAGatewayOutsideTheSubnetIsOnLink(t *testing.T) {
	w, ns := newWorld(t, 0)
	o := testLink()
	o.Addresses = prefixes("10.9.0.2/32", "fd00:9::2/128")
	mustAttach(t, ns, o)
	if got := defaultRoutes(t, w, "-4"); len(got) != 1 {
		t.Errorf("default routes %q", got)
	}
	if got := defaultRoutes(t, w, "-6"); len(got) != 1 {
		t.Errorf("IPv6 default routes %q", got)
	}
}

// An interface that was taken down and up again has lost its IPv6 addresses: a default
// route over it needs them, and gets them.
func TestRoutesGivesBackWhatTheKernelTook(t *testing.T) {
	w, ns := newWorld(t, 0)
	d := mustAttach(t, ns, testLink())
	defer d.Close()
	w.Run("ip", "link", "set", "eth0", "down")
	w.Run("ip", "link", "set", "eth0", "up")
	if v := viewLink(t, w, "eth0"); slices.Contains(v.addresses(), "fd00:9::2/64") {
		t.Fatalf("the kernel keeps them: %v", v.addresses())
	}
	if err := Routes(testContext(t), ns, testLink()); err != nil {
		t.Fatal(err)
	}
	if v := viewLink(t, w, "eth0"); !slices.Contains(v.addresses(), "fd00:9::2/64") {
		t.Errorf("addresses %v", v.addresses())
	}
	if got := defaultRoutes(t, w, "-6"); !slices.Equal(got, []string{"fd00:9::1 dev eth0"}) {
		t.Errorf("IPv6 default routes %q", got)
	}
	if got := defaultRoutes(t, w, "-4"); !slices.Equal(got, []string{"10.9.0.1 dev eth0"}) {
		t.Errorf("default routes %q", got)
	}
}

// Addresses that somebody moved or removed on purpose stay where they are.
func TestRoutesGivesBackNothingThatWasMoved(t *testing.T) {
	for what, move := range map[string][][]string{
		"another interface": {{"ip", "link", "add", "br0", "type", "bridge"}, {"ip", "addr", "add", "fd00:9::2/64", "dev", "br0", "nodad"}},
		"a bridge above":    {{"ip", "link", "add", "br0", "type", "bridge"}, {"ip", "link", "set", "eth0", "master", "br0"}},
		"IPv4 gone, too":    {{"ip", "addr", "flush", "dev", "eth0"}},
	} {
		t.Run(what, func(t *testing.T) {
			w, ns := newWorld(t, 0)
			d := mustAttach(t, ns, testLink())
			defer d.Close()
			w.Run("ip", "link", "set", "eth0", "down")
			w.Run("ip", "link", "set", "eth0", "up")
			for _, command := range move {
				w.Run(command...)
			}
			o := testLink()
			o.Gateway4 = netip.Addr{}
			if err := Routes(testContext(t), ns, o); !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.ENETUNREACH) {
				t.Errorf("error %v", err)
			}
			if v := viewLink(t, w, "eth0"); slices.Contains(v.addresses(), "fd00:9::2/64") {
				t.Errorf("addresses %v", v.addresses())
			}
		})
	}
}
