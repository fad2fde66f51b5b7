package tap

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/footbridge-net/footbridge/tap/internal/nsexec"
)

func TestAttachMakesTheInterfaceThatIsAsked(t *testing.T) {
	w, ns := newWorld(t, 0)
	o := testLink()
	o.MTU, o.TxQueueLen, o.Queues = 1400, 512, 2
	o.Sysctls = map[string]string{"net.ipv4.conf.IFNAME.log_martians": "1", "net/ipv6/conf/eth0/hop_limit": "33"}
	d := mustAttach(t, ns, o)

	v := viewLink(t, w, "eth0")
	if v.Address != "02:42:0a:09:00:02" || d.MAC != testMAC {
		t.Errorf("MAC %s and %x, want %x", v.Address, d.MAC, testMAC)
	}
	if v.MTU != 1400 || v.Qlen != 512 || v.Ifindex != d.Index {
		t.Errorf("MTU %d, queue length %d, index %d; want 1400, 512, %d", v.MTU, v.Qlen, v.Ifindex, d.Index)
	}
	if !slices.Contains(v.Flags, "UP") || !slices.Contains(v.Flags, "LOWER_UP") || v.State != "UP" {
		t.Errorf("flags %q, state %s; want up with carrier", v.Flags, v.State)
	}
	if got, want := v.addresses(), []string{"10.9.0.2/24", "fd00:9::2/64"}; !slices.Equal(got, want) {
		t.Errorf("addresses %q, want %q", got, want)
	}
	if got := defaultRoutes(t, w, "-4"); !slices.Equal(got, []string{"10.9.0.1 dev eth0"}) {
		t.Errorf("default routes %q", got)
	}
	if got := defaultRoutes(t, w, "-6"); !slices.Equal(got, []string{"fd00:9::1 dev eth0"}) {
		t.Errorf("IPv6 default routes %q", got)
	}
	for _, line := range []string{"10.9.0.1 dev eth0 lladdr 02:42:0a:09:00:01 PERMANENT", "fd00:9::1 dev eth0 lladdr 02:42:0a:09:00:01 PERMANENT"} {
		if got := w.Run("ip", "neigh"); !strings.Contains(got, line) {
			t.Errorf("neighbours are\n%swithout %q", got, line)
		}
	}
	for name, want := range map[string]string{
		"net/ipv6/conf/eth0/accept_ra":        "0",
		"net/ipv6/conf/eth0/accept_redirects": "0",
		"net/ipv6/conf/eth0/disable_ipv6":     "0",
		"net/ipv4/conf/eth0/accept_redirects": "0",
		"net/ipv4/conf/eth0/log_martians":     "1",
		"net/ipv6/conf/eth0/hop_limit":        "33",
	} {
		if got := w.MustCall("sysctl", name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if lo := viewLink(t, w, "lo"); !slices.Contains(lo.Flags, "UP") {
		t.Errorf("lo has flags %q, want UP", lo.Flags)
	}
	if !d.Created || len(d.Queues()) != 2 || d.Name != "eth0" {
		t.Errorf("created %v, %d queues, name %q", d.Created, len(d.Queues()), d.Name)
	}
	f := d.Features
	if !f.VirtioHeader || !f.Checksum || !f.TSO || f.USO != kernelAtLeast(t, 6, 2) {
		t.Errorf("features %+v; USO is in Linux 6.2", f)
	}
}

func TestAttachWorksForAnOrdinaryUIDOfTheNamespace(t *testing.T) {
	w, ns := newWorld(t, 1000)
	mustAttach(t, ns, testLink())
	if got := viewLink(t, w, "eth0").addresses(); len(got) != 2 {
		t.Errorf("addresses %q", got)
	}
}

func TestAttachByNsenter(t *testing.T) {
	w, ns := newWorld(t, 0)
	o, err := testLink().complete()
	if err != nil {
		t.Fatal(err)
	}
	d, err := attach(testContext(t), ns, o, []nsexec.Method{nsexec.Nsenter})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Method != "nsenter" || len(viewLink(t, w, "eth0").addresses()) != 2 {
		t.Errorf("method %s, interface %+v", d.Method, viewLink(t, w, "eth0"))
	}
}

// A question for a neighbour that is lost is repeated at once, not after a second.
func TestNeighboursAreAskedForAgainSoon(t *testing.T) {
	w, ns := newWorld(t, 0)
	mustAttach(t, ns, testLink())
	for _, table := range []string{"arp_cache", "ndisc_cache"} {
		out := w.Run("ip", "ntable", "show", "dev", "eth0", "name", table)
		m := regexp.MustCompile(`retrans (\d+) `).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("%s: %q", table, out)
		}
		// The kernel counts in jiffies.
		if ms, err := strconv.Atoi(m[1]); err != nil || ms < askAgain || ms > askAgain+10 {
			t.Errorf("%s: repeated after %s ms", table, m[1])
		}
		if !strings.Contains(out, fmt.Sprintf("ucast_probes %d mcast_probes %d", confirms, asks)) {
			t.Errorf("%s: %q", table, out)
		}
	}
}

// What a container has made of its interface stays when its daemon comes back.
func TestAnInterfaceIsKept(t *testing.T) {
	w, ns := newWorld(t, 0)
	mustAttach(t, ns, testLink()).Close()
	w.Run("ip", "addr", "add", "10.9.0.250/24", "dev", "eth0")
	w.Run("ip", "addr", "add", "fd00:9::99/64", "dev", "eth0", "nodad")
	w.Run("ip", "link", "set", "eth0", "mtu", "1450")
	w.Run("ip", "link", "add", "br0", "type", "bridge")
	w.Run("ip", "link", "set", "br0", "up")
	w.Run("ip", "route", "replace", "default", "dev", "br0")
	// Without the link-local address, which the kernel gives and still looks for
	// others that have it.
	state := func() string {
		return w.Run("ip", "-o", "addr", "show", "dev", "eth0", "scope", "global") + w.Run("ip", "route") + w.Run("ip", "-6", "route", "show", "default")
	}
	before := state()
	o := testLink()
	o.Existing = Keep
	mustAttach(t, ns, o).Close()
	if after := state(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	o.Existing = Reroute
	mustAttach(t, ns, o)
	if v := viewLink(t, w, "eth0"); v.MTU != 1450 || !slices.Contains(v.addresses(), "10.9.0.250/24") {
		t.Errorf("rerouted: %+v", v)
	}
	if routes := w.Run("ip", "route"); !strings.Contains(routes, "default via 10.9.0.1 dev eth0") {
		t.Errorf("rerouted: %s", routes)
	}
	// One that is not there is made whole.
	w.Run("ip", "link", "del", "eth0")
	o.Existing = Keep
	mustAttach(t, ns, o)
	if v := viewLink(t, w, "eth0"); v.MTU != 1500 || len(v.addresses()) != 2 {
		t.Errorf("made anew: %+v", v)
	}
}

func TestNoIPv6WhereItIsDisabled(t *testing.T) {
	w, ns := newWorld(t, 0)
	o := LinkOptions{Name: "eth0", Addresses: prefixes("10.9.0.2/24"), Gateway4: gateway4, DisableIPv6: true}
	d := mustAttach(t, ns, o)
	if got := w.MustCall("sysctl", "net/ipv6/conf/eth0/disable_ipv6"); got != "1" {
		t.Errorf("disable_ipv6 = %s, want 1", got)
	}
	if v := viewLink(t, w, "eth0"); v.hasLinkLocal() || !slices.Equal(v.addresses(), []string{"10.9.0.2/24"}) {
		t.Errorf("addresses %+v, want 10.9.0.2/24 alone", v.AddrInfo)
	}
	d.Close()

	// The other way round, on the same device, and back.
	d = mustAttach(t, ns, testLink())
	if got := viewLink(t, w, "eth0").addresses(); !slices.Equal(got, []string{"10.9.0.2/24", "fd00:9::2/64"}) {
		t.Errorf("addresses %q after IPv6 was allowed", got)
	}
	d.Close()
	mustAttach(t, ns, o)
	if v := viewLink(t, w, "eth0"); v.hasLinkLocal() || len(v.AddrInfo) != 1 {
		t.Errorf("addresses %+v after IPv6 was disabled again", v.AddrInfo)
	}
}

func TestADeviceOutlivesItsHolder(t *testing.T) {
	w, ns := newWorld(t, 0)
	d := mustAttach(t, ns, testLink())
	index := d.Index
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	v := viewLink(t, w, "eth0")
	if !slices.Equal(v.addresses(), []string{"10.9.0.2/24", "fd00:9::2/64"}) || slices.Contains(v.Flags, "LOWER_UP") {
		t.Errorf("after Close: addresses %q, flags %q; want the same addresses, no carrier", v.addresses(), v.Flags)
	}

	d = mustAttach(t, ns, testLink())
	if d.Created || d.Index != index {
		t.Errorf("created %v, index %d; want the device with index %d again", d.Created, d.Index, index)
	}
	v = viewLink(t, w, "eth0")
	if !slices.Contains(v.Flags, "LOWER_UP") || len(v.addresses()) != 2 {
		t.Errorf("attached again: %+v", v)
	}
	if got := defaultRoutes(t, w, "-6"); len(got) != 1 {
		t.Errorf("IPv6 default routes %q", got)
	}
}

func TestAttachAgainMakesWhatIsAskedThen(t *testing.T) {
	w, ns := newWorld(t, 0)
	first := testLink()
	first.Queues = 2
	mustAttach(t, ns, first).Close()
	w.Run("ip", "addr", "add", "10.9.0.77/24", "dev", "eth0") // a secondary address of the subnet

	o := LinkOptions{
		Name: "eth0", MAC: gatewayMAC, MTU: 9000, Queues: 3,
		Addresses: prefixes("10.9.0.77/24", "10.8.0.3/16", "fd00:8::3/64"),
		Gateway4:  netip.MustParseAddr("10.8.0.1"),
	}
	mustAttach(t, ns, o)
	v := viewLink(t, w, "eth0")
	if v.MTU != 9000 || v.Address != "02:42:0a:09:00:01" {
		t.Errorf("MTU %d, MAC %s", v.MTU, v.Address)
	}
	if got, want := v.addresses(), []string{"10.8.0.3/16", "10.9.0.77/24", "fd00:8::3/64"}; !slices.Equal(got, want) {
		t.Errorf("addresses %q, want %q", got, want)
	}
	if got := defaultRoutes(t, w, "-4"); !slices.Equal(got, []string{"10.8.0.1 dev eth0"}) {
		t.Errorf("default routes %q", got)
	}
	if got := defaultRoutes(t, w, "-6"); len(got) != 0 {
		t.Errorf("IPv6 default routes %q, want none", got)
	}
}

// A device for several queues has 256 in the kernel.
func TestADeviceForOneQueueHasOne(t *testing.T) {
	w, ns := newWorld(t, 0)
	d := mustAttach(t, ns, testLink())
	if v := w.Run("ip", "-d", "link", "show", "dev", "eth0"); !strings.Contains(v, " numtxqueues 1 ") {
		t.Errorf("it is %s", v)
	}
	if _, err := Attach(t.Context(), ns, testLink()); !errors.Is(err, ErrBusy) {
		t.Errorf("a second holder: %v, want %v", err, ErrBusy)
	}
	d.Close()
	more := testLink()
	more.Queues = 2
	if _, err := Attach(t.Context(), ns, more); !errors.Is(err, ErrOptions) {
		t.Errorf("a second queue: %v, want %v", err, ErrOptions)
	}
	more.Name = "eth1"
	more.MAC[5]++
	if mustAttach(t, ns, more); !strings.Contains(w.Run("ip", "-d", "link", "show", "dev", "eth1"), " numtxqueues 256 ") {
		t.Error("one for two queues has no room for them")
	}
}

func TestAnInterfaceThatWasTakenDownComesUp(t *testing.T) {
	w, ns := newWorld(t, 0)
	mustAttach(t, ns, testLink()).Close()
	w.Run("ip", "link", "set", "eth0", "down")
	mustAttach(t, ns, testLink())
	if v := viewLink(t, w, "eth0"); v.State != "UP" || len(v.addresses()) != 2 {
		t.Errorf("state %s, addresses %q", v.State, v.addresses())
	}
	if got := defaultRoutes(t, w, "-4"); len(got) != 1 {
		t.Errorf("default routes %q", got)
	}
}

func TestAttachRefusesADeviceThatIsHeld(t *testing.T) {
	_, ns := newWorld(t, 0)
	d := mustAttach(t, ns, testLink())
	if _, err := Attach(testContext(t), ns, testLink()); !errors.Is(err, ErrBusy) {
		t.Errorf("Attach while it is held: %v, want ErrBusy", err)
	}
	d.Close()
	mustAttach(t, ns, testLink())
}

func TestAttachRefusesAnotherKindOfDevice(t *testing.T) {
	for _, make := range [][]string{
		{"ip", "link", "add", "eth0", "type", "bridge"},
		{"ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other"},
		{"ip", "tuntap", "add", "eth0", "mode", "tun"},
	} {
		w, ns := newWorld(t, 0)
		w.Run(make...)
		if _, err := Attach(testContext(t), ns, testLink()); !errors.Is(err, ErrNameTaken) {
			t.Errorf("Attach after %q: %v, want ErrNameTaken", make, err)
		}
		if v := viewLink(t, w, "eth0"); len(v.AddrInfo) != 0 {
			t.Errorf("%q: the device was changed: %+v", make, v)
		}
		w.End()
	}
}

// Whoever may open a device can take its marks off, as a helper that is killed may not have set them.
func TestADeviceThatAnotherHasOpenedIsTakenAgain(t *testing.T) {
	for _, kind := range [][]string{nil, {"multi_queue"}} {
		w, ns := newWorld(t, 0)
		w.Run(append([]string{"ip", "tuntap", "add", "eth0", "mode", "tap"}, kind...)...) // without a header
		d := mustAttach(t, ns, testLink())
		if v := viewLink(t, w, "eth0"); d.Created || len(v.AddrInfo) == 0 {
			t.Errorf("%v: made: %v, %+v", kind, d.Created, v)
		}
		w.End()
	}
}

func TestAFailedAttachLeavesNothing(t *testing.T) {
	w, ns := newWorld(t, 0)
	o := testLink()
	o.Sysctls = map[string]string{"net.ipv4.conf.eth0.no_such_thing": "1"}
	before := openFDs(t)
	_, err := Attach(testContext(t), ns, o)
	if !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "no_such_thing") {
		t.Errorf("Attach: %v, want ENOENT that names the sysctl", err)
	}
	if out := w.Run("ip", "-o", "link"); strings.Contains(out, "eth0") {
		t.Errorf("the device is still there: %s", out)
	}
	if after := openFDs(t); after > before {
		t.Errorf("%d descriptors more than before", after-before)
	}
	// An older device stays.
	mustAttach(t, ns, testLink()).Close()
	if _, err := Attach(testContext(t), ns, o); err == nil {
		t.Error("Attach with an impossible sysctl worked")
	}
	viewLink(t, w, "eth0")
}

func TestDetach(t *testing.T) {
	w, ns := newWorld(t, 0)
	ctx := testContext(t)
	if err := Detach(ctx, ns, "eth0"); err != nil {
		t.Errorf("Detach of nothing: %v", err)
	}
	d := mustAttach(t, ns, testLink())
	if err := Detach(ctx, ns, "eth0"); err != nil {
		t.Error(err)
	}
	if out := w.Run("ip", "-o", "link"); strings.Contains(out, "eth0") {
		t.Errorf("the device is still there: %s", out)
	}
	var hdr [HeaderSize]byte
	if _, err := readUntil(d.Queues()[0], &hdr, nil); !errors.Is(err, ErrGone) {
		t.Errorf("ReadFrame after Detach: %v, want ErrGone", err)
	}
	if err := d.Queues()[0].WriteFrame([][]byte{hdr[:], make([]byte, 60)}); !errors.Is(err, ErrGone) {
		t.Errorf("WriteFrame after Detach: %v, want ErrGone", err)
	}
	w.Run("ip", "link", "add", "eth0", "type", "bridge")
	if err := Detach(ctx, ns, "eth0"); !errors.Is(err, ErrNameTaken) {
		t.Errorf("Detach of a bridge: %v, want ErrNameTaken", err)
	}
}

func TestLoopback(t *testing.T) {
	w, ns := newWorld(t, 0)
	for range 2 {
		if err := Loopback(testContext(t), ns); err != nil {
			t.Fatal(err)
		}
		if v := viewLink(t, w, "lo"); !slices.Contains(v.Flags, "UP") {
			t.Errorf("lo has flags %q, want UP", v.Flags)
		}
	}
}

func TestAttachEndsWithItsContext(t *testing.T) {
	_, ns := newWorld(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Attach(ctx, ns, testLink()); !errors.Is(err, context.Canceled) {
		t.Errorf("Attach: %v, want context.Canceled", err)
	}
}

// TestAHelperThatCannotEnterSaysWhy: nsenter finds out after the start.
func TestAHelperThatCannotEnterSaysWhy(t *testing.T) {
	_, ns := newWorld(t, 0)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	before := openFDs(t)
	for _, test := range []struct {
		method nsexec.Method
		is     error
		text   string
	}{
		{nsexec.Native, unix.EINVAL, "setns(net)"},
		{nsexec.Nsenter, ErrReply, "nsenter: "},
	} {
		o, _ := testLink().complete()
		_, err := attach(testContext(t), Namespaces{User: ns.User, Net: null}, o, []nsexec.Method{test.method})
		if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v, want %v with %q", test.method, err, test.is, test.text)
		}
	}
	if after := openFDs(t); after > before {
		t.Errorf("%d descriptors more than before", after-before)
	}
	if _, err := Attach(testContext(t), Namespaces{}, testLink()); err == nil {
		t.Error("Attach without namespaces worked")
	}
}

func TestProbe(t *testing.T) {
	before := openFDs(t)
	r := Probe(testContext(t))
	if r.Tun != nil || r.Namespaces != nil || !r.Kernel.VirtioHeader {
		t.Errorf("Probe: %+v", r)
	}
	if len(r.Methods) != 2 || r.Methods[0].Name != "native" || r.Methods[1].Name != "nsenter" {
		t.Fatalf("Probe tried %+v", r.Methods)
	}
	for _, m := range r.Methods {
		if m.Err != nil || !m.Features.TSO || m.Features.USO != kernelAtLeast(t, 6, 2) {
			t.Errorf("%s: %+v", m.Name, m)
		}
	}
	if f, ok := r.OK(); !ok || !f.TSO {
		t.Errorf("OK: %+v, %v", f, ok)
	}
	if after := openFDs(t); after > before {
		t.Errorf("%d descriptors more than before", after-before)
	}
}

// BenchmarkAttach measures Attach where the device is new, and where it is there.
func BenchmarkAttach(b *testing.B) {
	_, ns := newWorld(b, 0)
	b.Run("new", func(b *testing.B) {
		for range b.N {
			d, err := Attach(b.Context(), ns, testLink())
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			d.Close()
			if err := Detach(b.Context(), ns, "eth0"); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("again", func(b *testing.B) {
		for range b.N {
			d, err := Attach(b.Context(), ns, testLink())
			if err != nil {
				b.Fatal(err)
			}
			d.Close()
		}
	})
}

// readUntil reads frames until want is content or an error comes.
func readUntil(q *Queue, hdr *[HeaderSize]byte, want func(frame []byte) bool) ([]byte, error) {
	b := make([]byte, MaxFrame+1)
	timer := time.AfterFunc(20*time.Second, func() { q.close() }) // the test fails with os.ErrClosed
	defer timer.Stop()
	for {
		n, err := q.ReadFrame(hdr, b)
		if err != nil {
			return nil, err
		}
		if want != nil && want(b[:n]) {
			return b[:n], nil
		}
	}
}
