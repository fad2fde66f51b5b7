package slirp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/footbridge-net/footbridge/internal/packet"
)

// base is what a command line without options means.
func base() Options {
	return Options{Kind: ByPID, PID: 42, FD: -1, TAP: "tap0", MTU: 1500, CIDR: netip.MustParsePrefix("10.0.2.0/24"), ReadyFD: -1, ExitFD: -1}
}

func TestCommandLinesThatAreUnderstood(t *testing.T) {
	for _, c := range []struct {
		args string
		want func(*Options)
	}{
		{"42 tap0", func(*Options) {}},
		{"-c 42 tap0", func(o *Options) { o.Configure = true }},
		{"42 -c tap0 --mtu 9000", func(o *Options) { o.Configure, o.MTU = true, 9000 }},
		{"-m9000 42 tap0", func(o *Options) { o.MTU = 9000 }},
		{"-c6m 65521 42 tap0", func(o *Options) { o.Configure, o.IPv6, o.MTU = true, true, 65521 }},
		{"--conf --exit=4 --ready 3 42 tap0", func(o *Options) { o.Configure, o.ExitFD, o.ReadyFD = true, 4, 3 }},
		{"-e 4 -r3 42 tap0", func(o *Options) { o.ExitFD, o.ReadyFD = 4, 3 }},
		{"--exit-fd= 42 tap0", func(o *Options) { o.ExitFD = 0 }},
		{"--cidr=10.0.0.0/8 42 tap0", func(o *Options) { o.CIDR = netip.MustParsePrefix("10.0.0.0/8") }},
		{"--cidr 192.168.7.128/25 42 tap0", func(o *Options) { o.CIDR = netip.MustParsePrefix("192.168.7.128/25") }},
		{"--disable-host-loopback --disable-dns 42 tap0", func(o *Options) { o.NoHost, o.NoDNS = true, true }},
		{"--no-host-loopback --create-sandbox 42 tap0", func(o *Options) { o.NoHost = true }},
		{"--enable-sandbox --enable-seccomp 42 tap0", func(*Options) {}},
		{"-a /run/s --api-socket=/run/t 42 tap0", func(o *Options) { o.APISocket = "/run/t" }},
		{"--outbound-addr=192.0.2.1 --outbound-addr6=eth0 42 tap0", func(o *Options) { o.Outbound4, o.Outbound6 = "192.0.2.1", "eth0" }},
		{"-c --macaddress=02:11:22:33:44:55 42 tap0", func(o *Options) { o.Configure, o.MAC = true, packet.MAC{2, 0x11, 0x22, 0x33, 0x44, 0x55} }},
		{"--netns-type=pid --target-type=netns 42 tap0", func(*Options) {}},
		{"--netns-type=path --userns-path=/proc/1/ns/user /run/netns/x tap0", func(o *Options) {
			o.Kind, o.PID, o.Path, o.UserPath = ByPath, 0, "/run/netns/x", "/proc/1/ns/user"
		}},
		{"--netns-type=whatever /run/netns/x tap0", func(o *Options) { o.Kind, o.PID, o.Path = ByPath, 0, "/run/netns/x" }},
		{"--netns-type=tapfd 7", func(o *Options) { o.Kind, o.PID, o.FD, o.TAP = ByFD, 0, 7, "" }},
		{"--target-type=bess /run/b", func(o *Options) { o.Kind, o.PID, o.Path, o.TAP = BESS, 0, "/run/b", "" }},
		{"-- 42 --help", func(o *Options) { o.TAP = "--help" }},
		{"42 -", func(o *Options) { o.TAP = "-" }},
		{"42 tap0 more", func(*Options) {}},
		// As podman, buildah and RootlessKit have it.
		{"--disable-host-loopback --mtu=65520 --enable-sandbox --enable-seccomp --enable-ipv6 -c -e 3 -r 4 --api-socket /run/x.net --netns-type=path /run/netns/y tap0", func(o *Options) {
			o.NoHost, o.MTU, o.IPv6, o.Configure, o.ExitFD, o.ReadyFD, o.APISocket = true, 65520, true, true, 3, 4, "/run/x.net"
			o.Kind, o.PID, o.Path = ByPath, 0, "/run/netns/y"
		}},
		{"--mtu 65520 -r 3 -c 42 tap0", func(o *Options) { o.MTU, o.ReadyFD, o.Configure = 65520, 3, true }},
		{"--mtu 65520 -r 3 --disable-host-loopback --cidr 10.0.2.0/24 --api-socket /s/.s4nn.sock --userns-path=/proc/42/ns/user --netns-type=path /s/netns tap0", func(o *Options) {
			o.MTU, o.ReadyFD, o.NoHost, o.APISocket, o.UserPath = 65520, 3, true, "/s/.s4nn.sock", "/proc/42/ns/user"
			o.Kind, o.PID, o.Path = ByPath, 0, "/s/netns"
		}},
	} {
		want := base()
		c.want(&want)
		got, err := Parse("slirp4netns", strings.Fields(c.args))
		if err != nil || got.Show != "" || got.Options != want {
			t.Errorf("%s:\n%+v, %v, want\n%+v", c.args, got, err, want)
		}
	}
}

func TestCommandLinesThatAreRefused(t *testing.T) {
	const mac = "macaddress has to be a valid MAC address (hex string, 6 bytes, each byte separated by a ':')."
	for _, c := range []struct {
		args, want string
		noUsage    bool
	}{
		{args: ""}, {args: "42"}, {args: "--target-type=bess"}, {args: "--netns-type=tapfd"},
		{args: "-z", want: "slirp4netns: invalid option -- 'z'"},
		{args: "-cz 42 tap0", want: "slirp4netns: invalid option -- 'z'"},
		{args: "--foo", want: "slirp4netns: unrecognized option '--foo'"},
		{args: "--en 42 tap0", want: "slirp4netns: option '--en' is ambiguous; possibilities: '--enable-ipv6' '--enable-sandbox' '--enable-seccomp'"},
		{args: "--configure=1", want: "slirp4netns: option '--configure' doesn't allow an argument"},
		{args: "--exit", want: "slirp4netns: option '--exit-fd' requires an argument"},
		{args: "-m", want: "slirp4netns: option requires an argument -- 'm'"},
		{args: "--mtu=0 42 tap0", want: "MTU must be a positive integer (< 65522)"},
		{args: "--mtu 65522 42 tap0", want: "MTU must be a positive integer (< 65522)"},
		{args: "--mtu=1500x 42 tap0", want: "MTU must be a positive integer (< 65522)"},
		{args: "-e -1 42 tap0", want: "exit-fd must be a non-negative integer"},
		{args: "-r x 42 tap0", want: "ready-fd must be a non-negative integer"},
		{args: "0 tap0", want: "PID must be a positive integer"},
		{args: "abc tap0", want: "PID must be a positive integer"},
		{args: "99999999999 tap0", want: "PID must be a positive integer"},
		{args: "--netns-type=tapfd -- -1", want: "tapfd must be a non-negative integer"},
		{args: "-c --target-type=bess /x", want: "--configure conflicts with --target-type=bess"},
		{args: "--target-type=bess --netns-type=pid /x", want: "--netns-type conflicts with --target-type=bess"},
		{args: "--target-type=bess --userns-path=/ /x", want: "--userns-path conflicts with --target-type=bess"},
		{args: "--target-type=foo x", want: `--target-type must be either "netns" or "bess"`},
		{args: "--macaddress=02:11:22:33:44:55 42 tap0", want: "--macaddr cannot be specified when --configure or -c is not specified"},
		{args: "-c --macaddress=zz 42 tap0", want: "\"zz\" is an invalid MAC address.\n" + mac, noUsage: true},
		{args: "-c --macaddress=03:11:22:33:44:55 42 tap0", want: "\"03:11:22:33:44:55\" is an invalid MAC address.\n" + mac, noUsage: true},
		{args: "-c --macaddress=02:11:22:33:44:55:66 42 tap0", want: "\"02:11:22:33:44:55:66\" is an invalid MAC address.  Is it too long?\n" + mac, noUsage: true},
		{args: "--cidr=foo 42 tap0", want: "invalid CIDR: foo", noUsage: true},
		{args: "--cidr=10.0.2.0 42 tap0", want: "invalid CIDR: 10.0.2.0", noUsage: true},
		{args: "--cidr=10.0.2/24 42 tap0", want: "invalid CIDR: 10.0.2/24", noUsage: true},
		{args: "--cidr=10.0.2.0/24x 42 tap0", want: "invalid CIDR: 10.0.2.0/24x", noUsage: true},
		{args: "--cidr=fd00::/64 42 tap0", want: "invalid CIDR: fd00::/64", noUsage: true},
		{args: "--cidr=300.0.2.0/24 42 tap0", want: "invalid network address: 300.0.2.0", noUsage: true},
		{args: "--cidr=10.0.2.0/0 42 tap0", want: "prefix length needs to be 1-25", noUsage: true},
		{args: "--cidr=10.0.2.0/26 42 tap0", want: "prefix length needs to be 1-25", noUsage: true},
		{args: "--cidr=10.0.2.100/24 42 tap0", want: "CIDR needs to be a network address like 10.0.2.0/24, not like 10.0.2.100/24", noUsage: true},
	} {
		got, err := Parse("slirp4netns", strings.Fields(c.args))
		u, ok := err.(*usageError)
		if !ok || u.text != c.want || u.usage == c.noUsage {
			t.Errorf("%q: %+v, %v", c.args, got, err)
		}
	}
}

func TestWhatIsSaidFirst(t *testing.T) {
	for _, c := range []struct {
		args string
		want []string
		show string
	}{
		{"-6 42 tap0", []string{"WARNING: Support for IPv6 is experimental"}, ""},
		{"--enable-seccomp 42 tap0 more", []string{"WARNING: Support for seccomp is experimental", "WARNING: too many arguments"}, ""},
		{"--netns-type=tapfd 7 tap0", []string{"WARNING: too many arguments"}, ""},
		{"--target-type=bess /x", []string{"WARNING: BESS mode is experimental"}, ""},
		{"--no-host-loopback -h --mtu=0", []string{"WARNING: --no-host-loopback is deprecated and will be removed in future releases, please use --disable-host-loopback instead."}, "help"},
		{"-6v", []string{"WARNING: Support for IPv6 is experimental"}, "version"},
		{"-hv", nil, "help"},
	} {
		got, err := Parse("slirp4netns", strings.Fields(c.args))
		if err != nil || !slices.Equal(got.Said, c.want) || got.Show != c.show {
			t.Errorf("%s: %q, %q, %v", c.args, got.Said, got.Show, err)
		}
	}
}

// Callers look for the options that they want to give, as words of the help.
func TestHelpNamesEveryOption(t *testing.T) {
	words := strings.FieldsFunc(usage("slirp4netns"), func(r rune) bool { return strings.ContainsRune(" ,=\n", r) })
	for _, o := range options {
		if o.long == "no-host-loopback" || o.long == "create-sandbox" {
			continue // deprecated
		}
		if !slices.Contains(words, "--"+o.long) || o.short != 0 && !slices.Contains(words, "-"+string(o.short)) {
			t.Errorf("--%s is not in the help", o.long)
		}
	}
}

func TestWhereEverybodyIs(t *testing.T) {
	p := NewPlan(netip.MustParsePrefix("10.0.2.0/24"))
	for _, c := range []struct {
		got  netip.Addr
		want string
	}{{p.Gateway, "10.0.2.2"}, {p.DNS, "10.0.2.3"}, {p.DHCPFirst, "10.0.2.15"}, {p.DHCPLast, "10.0.2.30"}, {p.Guest, "10.0.2.100"}} {
		if c.got.String() != c.want {
			t.Errorf("%s, not %s", c.got, c.want)
		}
	}
	if p := NewPlan(netip.MustParsePrefix("192.168.255.128/25")); p.Guest.String() != "192.168.255.228" || !p.Network.Contains(p.Guest) {
		t.Errorf("%+v", p)
	}
	o := base()
	o.APISocket, o.Outbound4 = "/run/s", "lan"
	const want = `Starting slirp
* MTU:             1500
* Network:         10.0.2.0
* Netmask:         255.255.255.0
* Gateway:         10.0.2.2
* DNS:             10.0.2.3
* DHCP begin:      10.0.2.15
* DHCP end:        10.0.2.30
* Recommended IP:  10.0.2.100
* API Socket:      /run/s
* Outbound IPv4:   lan
WARNING: 127.0.0.1:* on the host is accessible as 10.0.2.2 (set --disable-host-loopback to prohibit connecting to 127.0.0.1:*)
`
	if got := p.banner(&o); got != want {
		t.Errorf("%s", got)
	}
}
