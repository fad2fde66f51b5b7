package engine

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// The test process starts itself in a network namespace of its own, gives that
// routes, and reads them back.
func TestHostRoutes(t *testing.T) {
	const variable = "FOOTBRIDGE_TEST_ROUTES"
	if os.Getenv(variable) != "" {
		printRoutes(t)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestHostRoutes$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if r, ok := strings.CutPrefix(strings.TrimSpace(line), "route "); ok && !slices.Contains(got, r) {
			got = append(got, r)
		}
	}
	slices.Sort(got)
	// Neither the default route, nor half of the internet, nor loopback and
	// link-local addresses count.
	want := []string{"10.9.8.0/24 tap0", "10.9.8.1/32 tap0", "172.20.0.0/14 tap0", "fd09::/64 tap0", "fd09::1/128 tap0"}
	if !slices.Equal(got, want) {
		t.Errorf("routes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func printRoutes(t *testing.T) {
	tap := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tap0"}, Mode: netlink.TUNTAP_MODE_TAP}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{netlink.LinkSetUp(lo), netlink.LinkAdd(tap), netlink.LinkSetUp(tap)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range []string{"10.9.8.1/24", "fd09::1/64", "169.254.3.4/16"} {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.AddrAdd(tap, addr); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
	}
	for _, r := range []string{"172.20.0.0/14", "0.0.0.0/1", "0.0.0.0/0"} {
		dst, err := netlink.ParseIPNet(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: tap.Attrs().Index, Dst: dst}); err != nil {
			t.Fatalf("%s: %v", r, err)
		}
	}
	routes, err := hostRoutes()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		fmt.Println("route", r.Prefix, r.Device)
	}
}

func TestCountsAsTaken(t *testing.T) {
	for p, want := range map[string]bool{
		"10.0.0.0/8": true, "0.0.0.0/0": false, "128.0.0.0/1": false, "172.17.0.1/32": true, "127.0.0.0/8": false,
		"169.254.0.0/16": false, "::/0": false, "2000::/3": false, "fd00::/16": true, "fe80::/64": false,
	} {
		if got := countsAsTaken(netip.MustParsePrefix(p)); got != want {
			t.Errorf("%s: %v, want %v", p, got, want)
		}
	}
}
