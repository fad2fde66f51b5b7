package tap

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestLinkOptionsDefaults(t *testing.T) {
	o, err := LinkOptions{Name: "eth0"}.complete()
	if err != nil || o.MTU != 1500 || o.Queues != 1 {
		t.Errorf("MTU %d, %d queues (%v); want 1500, 1", o.MTU, o.Queues, err)
	}
}

func TestLinkOptionsThatCannotBe(t *testing.T) {
	addr := netip.MustParseAddr
	for _, test := range []struct {
		what   string
		change func(*LinkOptions)
	}{
		{"no name", func(o *LinkOptions) { o.Name = "" }},
		{"a name of 16 bytes", func(o *LinkOptions) { o.Name = "sixteen-letters-" }},
		{"a slash", func(o *LinkOptions) { o.Name = "a/b" }},
		{"a pattern", func(o *LinkOptions) { o.Name = "eth%d" }},
		{"a blank", func(o *LinkOptions) { o.Name = "a b" }},
		{"an escape", func(o *LinkOptions) { o.Name = "a\x1b" }},
		{"lo", func(o *LinkOptions) { o.Name = "lo" }},
		{"all, which is a directory of sysctls", func(o *LinkOptions) { o.Name = "all" }},
		{"..", func(o *LinkOptions) { o.Name = ".." }},
		{"a multicast MAC", func(o *LinkOptions) { o.MAC = [6]byte{1, 0, 0x5e, 0, 0, 1} }},
		{"MTU 67", func(o *LinkOptions) { o.MTU, o.DisableIPv6 = 67, true }},
		{"MTU 1279 with IPv6", func(o *LinkOptions) { o.MTU = 1279 }},
		{"MTU 65522", func(o *LinkOptions) { o.MTU = 65522 }},
		{"65 queues", func(o *LinkOptions) { o.Queues = 65 }},
		{"-1 queues", func(o *LinkOptions) { o.Queues = -1 }},
		{"queue length -1", func(o *LinkOptions) { o.TxQueueLen = -1 }},
		{"a zero prefix", func(o *LinkOptions) { o.Addresses = make([]netip.Prefix, 1) }},
		{"a multicast address", func(o *LinkOptions) { o.Addresses = prefixes("224.0.0.1/24") }},
		{"the loopback", func(o *LinkOptions) { o.Addresses = prefixes("127.0.0.1/8") }},
		{"an IPv4 address in IPv6", func(o *LinkOptions) { o.Addresses = prefixes("::ffff:10.0.0.1/120") }},
		{"an IPv6 address where IPv6 is disabled", func(o *LinkOptions) { o.DisableIPv6, o.Addresses = true, prefixes("fd00::1/64") }},
		{"an IPv6 gateway for IPv4", func(o *LinkOptions) { o.Gateway4 = addr("fd00::1") }},
		{"an IPv4 gateway for IPv6", func(o *LinkOptions) { o.Gateway6 = addr("10.0.0.1") }},
		{"a gateway with a zone", func(o *LinkOptions) { o.Gateway6 = addr("fe80::1%eth0") }},
		{"an IPv6 gateway where IPv6 is disabled", func(o *LinkOptions) { o.DisableIPv6, o.Gateway6 = true, addr("fd00::1") }},
		{"the unspecified gateway", func(o *LinkOptions) { o.Gateway4 = addr("0.0.0.0") }},
		{"a route to a group", func(o *LinkOptions) { o.OnLink = []netip.Addr{addr("224.0.0.1")} }},
		{"an IPv6 route where IPv6 is disabled", func(o *LinkOptions) { o.DisableIPv6, o.OnLink = true, []netip.Addr{addr("fd00::53")} }},
		{"many routes", func(o *LinkOptions) { o.OnLink = slices.Repeat([]netip.Addr{addr("10.0.0.1")}, maxOnLink+1) }},
		{"a neighbour without MAC", func(o *LinkOptions) { o.Neighbors = []Neighbor{{Addr: addr("10.0.0.1")}} }},
		{"a sysctl of the host", func(o *LinkOptions) { o.Sysctls = map[string]string{"kernel.hostname": "x"} }},
		{"a sysctl with ..", func(o *LinkOptions) { o.Sysctls = map[string]string{"net/../kernel/hostname": "x"} }},
		{"many addresses", func(o *LinkOptions) {
			for range maxList + 1 {
				o.Addresses = append(o.Addresses, netip.MustParsePrefix("10.0.0.1/8"))
			}
		}},
	} {
		o := LinkOptions{Name: "eth0"}
		test.change(&o)
		if _, err := o.complete(); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v, want ErrOptions", test.what, err)
		}
	}
}

func TestSysctlPath(t *testing.T) {
	for _, test := range []struct{ key, path string }{
		{"net.ipv4.ip_forward", "net/ipv4/ip_forward"},
		{"net/ipv4/ip_forward", "net/ipv4/ip_forward"},
		{"net.ipv4.conf.IFNAME.forwarding", "net/ipv4/conf/eth0.5/forwarding"},
		{"net/ipv4/conf/IFNAME/forwarding", "net/ipv4/conf/eth0.5/forwarding"},
		{"net/ipv4/conf/eth0.5/forwarding", "net/ipv4/conf/eth0.5/forwarding"},
		{"net.ipv4.conf.eth0/5.forwarding", "net/ipv4/conf/eth0.5/forwarding"},
		{"kernel.hostname", ""},
		{"net", ""},
		{"net.ipv4", ""},
		{"net..ipv4.x", ""},
		{"net.ipv4.//.//.//.kernel.hostname", ""},
		{"net/ipv4/../../kernel/hostname", ""},
		{"/net/ipv4/ip_forward", ""},
		{"net.ipv4.a\x00b", ""},
		{"", ""},
	} {
		got, err := sysctlPath(test.key, "eth0.5")
		if test.path == "" {
			if err == nil {
				t.Errorf("%q is %s, want an error", test.key, got)
			}
		} else if err != nil || got != test.path {
			t.Errorf("%q is %s (%v), want %s", test.key, got, err, test.path)
		}
	}
}

func FuzzSysctlPath(f *testing.F) {
	f.Add("net.ipv4.conf.IFNAME.forwarding")
	f.Add("net/../x/y")
	f.Fuzz(func(t *testing.T, key string) {
		path, err := sysctlPath(key, "eth0")
		if err != nil {
			return
		}
		if !strings.HasPrefix(path, "net/") || strings.Contains(path+"/", "/../") || strings.Contains(path, "//") || strings.Contains(path+"/", "/./") {
			t.Errorf("%q leads to %q", key, path)
		}
	})
}
