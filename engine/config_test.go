package engine

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/ipam"
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func pool(base string, bits int) ipam.Base { return ipam.Base{Prefix: pfx(base), Bits: bits} }

// testConfig returns the addresses of a network.
func (e *Engine) testConfig(t *testing.T, name string) []network.IPAMConfig {
	t.Helper()
	in, err := e.NetworkInspect(context.Background(), name, api.NetworkInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return in.IPAM.Config
}

func (e *Engine) testSubnets(t *testing.T, name string) string {
	t.Helper()
	var out []string
	for _, c := range e.testConfig(t, name) {
		out = append(out, c.Subnet.String())
	}
	return strings.Join(out, " ")
}

func TestPoolsOfTheConfiguration(t *testing.T) {
	w := newWorld(t)
	w.routes = []HostRoute{{pfx("10.200.1.0/24"), "wg0"}, {pfx("fd00:200:0:1::/64"), "wg0"}}
	w.config.Pools = []ipam.Base{pool("10.200.0.0/22", 24), pool("fd00:200::/48", 64)}
	w.config.Default.IPv6 = true
	e := w.engine()
	for _, name := range []string{"a", "b"} {
		e.testNetwork(t, network.CreateRequest{Name: name, EnableIPv6: ptr(true)})
	}
	for name, want := range map[string]string{
		"bridge": "10.200.0.0/24 fd00:200::/64", "a": "10.200.2.0/24 fd00:200:0:2::/64", "b": "10.200.3.0/24 fd00:200:0:3::/64",
	} {
		if got := e.testSubnets(t, name); got != want {
			t.Errorf("%s has %s, want %s", name, got, want)
		}
	}
	_, err := e.NetworkCreate(context.Background(), network.CreateRequest{Name: "c"})
	if !errors.Is(err, ipam.ErrNoSubnet) || !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "all predefined address pools have been fully subnetted") {
		t.Errorf("pools used up: %v", err)
	}
	// By size: what is left of it, smaller than the pools' pieces or not.
	res, err := e.NetworkCreate(context.Background(), network.CreateRequest{Name: "d", EnableIPv4: ptr(false), IPAM: subnet("::/80")})
	if err != nil || e.testSubnets(t, res.ID) != "fd00:200:0:4::/80" {
		t.Errorf("a subnet of length 80: %v, %s", err, e.testSubnets(t, res.ID))
	}
	if _, err := e.NetworkCreate(context.Background(), network.CreateRequest{Name: "e", IPAM: subnet("0.0.0.0/20")}); !errors.Is(err, ipam.ErrNoSubnet) {
		t.Errorf("a subnet larger than the pool: %v", err)
	}
}

// A subnet's length alone asks for any of that length.
func TestSubnetsBySize(t *testing.T) {
	e := newWorld(t).engine()
	for _, size := range [][2]string{{"0.0.0.0/24", "172.18.0.0/24"}, {"0.0.0.0/17", "172.18.128.0/17"}} {
		id := e.testNetwork(t, network.CreateRequest{Name: "n" + size[0][len(size[0])-2:], IPAM: subnet(size[0])})
		if got := e.testSubnets(t, id); got != size[1] {
			t.Errorf("%s became %s, want %s", size[0], got, size[1])
		}
		// As with Docker: nobody chose it, so nobody can know an address in it.
		_, err := e.testCreate(spec{name: "c", mode: id, nets: map[string]*network.EndpointSettings{id: {
			IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("172.18.0.9")},
		}}})
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("--ip on %s: %v", size[0], err)
		}
	}
	with := subnet("0.0.0.0/8")
	with.Config[0].Gateway = netip.MustParseAddr("0.0.0.1")
	if _, err := e.NetworkCreate(context.Background(), network.CreateRequest{Name: "x", IPAM: with}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("with a gateway: %v", err)
	}
}

func TestDefaultNetworkOfTheConfiguration(t *testing.T) {
	w := newWorld(t)
	before := w.engine()
	id := before.networkByName("bridge").def.ID
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	w.config.Default = DefaultNetwork{
		Subnet4: pfx("10.9.0.254/24"), Range4: pfx("10.9.0.128/26"), Range6: pfx("fd00:9::/64"), IPv6: true, MTU: 1400, NoICC: true,
		Publish: netip.MustParseAddr("127.0.0.2"), Names: true,
	}
	e := w.engine()
	in, err := e.NetworkInspect(context.Background(), "bridge", api.NetworkInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := in.IPAM.Config
	if in.ID != id || len(c) != 2 || !in.EnableIPv6 ||
		c[0].Subnet != pfx("10.9.0.0/24") || c[0].Gateway != netip.MustParseAddr("10.9.0.254") || c[0].IPRange != pfx("10.9.0.128/26") ||
		c[1].Subnet != pfx("fd00:9::/64") || c[1].Gateway != netip.MustParseAddr("fd00:9::1") {
		t.Errorf("the default network: %+v", in)
	}
	want := map[string]string{
		optDefaultBridge: "true", optICC: "false", optMasquerade: "true", optHostBinding4: "127.0.0.2", optMTU: "1400", optDNS: "true",
	}
	if !maps.Equal(in.Options, want) {
		t.Errorf("options %v, want %v", in.Options, want)
	}
	e.testRun(t, spec{name: "c"})
	s := e.testInspect(t, "c").NetworkSettings.Networks["bridge"]
	if s.IPAddress != netip.MustParseAddr("10.9.0.128") || !slices.Contains(s.DNSNames, "c") {
		t.Errorf("a container on it: %+v", s)
	}
	plane := w.plane("bridge")
	if !plane.spec.Resolves || !plane.spec.Rules.NoICC || plane.spec.MTU != 1400 {
		t.Errorf("its data plane: %+v", plane.spec)
	}
	// A container lives on it: what has changed waits, and the user is told.
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	w.config.Default = DefaultNetwork{}
	e = w.engine()
	if notices := strings.Join(e.Notices(), "\n"); !strings.Contains(notices, "default network") || !strings.Contains(notices, "[c]") {
		t.Errorf("notices: %q", notices)
	}
	if s, err := e.Status(t.Context()); err != nil || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0].Text, "default network has changed and waits") {
		t.Errorf("status: %+v, %v", s.Warnings, err)
	}
	if got := e.testSubnets(t, "bridge"); got != "10.9.0.0/24 fd00:9::/64" {
		t.Errorf("under a living container it became %s", got)
	}
	e.testStop(t, "c")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = w.engine()
	if got := e.testSubnets(t, "bridge"); got != "172.17.0.0/16" || len(e.Notices()) > 0 {
		t.Errorf("without configuration it is %s, %q", got, e.Notices())
	}
}

// What has been chosen stays, whatever the host's routes are later; but not against the
// pools.
func TestDefaultNetworkStays(t *testing.T) {
	w := newWorld(t)
	if err := w.engine().Close(); err != nil {
		t.Fatal(err)
	}
	w.routes = []HostRoute{{pfx("172.17.0.0/16"), "docker0"}}
	e := w.engine()
	if got := e.testSubnets(t, "bridge"); got != "172.17.0.0/16" {
		t.Errorf("with a route over it: %s", got)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	w.config.Pools = []ipam.Base{pool("10.3.0.0/16", 20)}
	e = w.engine()
	if got := e.testSubnets(t, "bridge"); got != "10.3.0.0/20" {
		t.Errorf("with other pools: %s", got)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	// What it has itself is not in its way.
	w.config.Default.Subnet4 = pfx("10.3.0.1/16")
	if got := w.engine().testSubnets(t, "bridge"); got != "10.3.0.0/16" {
		t.Errorf("with a subnet around the one before: %s", got)
	}
}

func TestOptionsOfTheConfiguration(t *testing.T) {
	w := newWorld(t)
	w.config.NetworkOptions = map[string]map[string]string{"bridge": {optMTU: "1300", optEnable6: "true", optICC: "false"}}
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "a", Options: map[string]string{optICC: "true"}})
	e.testNetwork(t, network.CreateRequest{Name: "b", EnableIPv6: ptr(false)})
	a, b := e.networkByName("a").def, e.networkByName("b").def
	if !a.EnableIPv6 || a.MTU != 1300 || !maps.Equal(a.Options, map[string]string{optMTU: "1300", optEnable6: "true", optICC: "true"}) {
		t.Errorf("a: %+v", a)
	}
	if b.EnableIPv6 || b.MTU != 1300 || !maps.Equal(b.Options, map[string]string{optMTU: "1300", optICC: "false"}) {
		t.Errorf("b: %+v", b)
	}
	if d := e.networkByName("bridge").def; d.MTU != 1500 || d.EnableIPv6 {
		t.Errorf("the default network: %+v", d)
	}
	// What the user says counts in each spelling.
	for was, given := range map[string]string{optMTU: optMTUShort, optMTUShort: optMTU} {
		e.opts.Config.NetworkOptions = map[string]map[string]string{"bridge": {was: "1300"}}
		e.testNetwork(t, network.CreateRequest{Name: "by-" + given, Options: map[string]string{given: "1400"}})
		if d := e.networkByName("by-" + given).def; d.MTU != 1400 {
			t.Errorf("%s=1400 beside the configuration's %s=1300: %d", given, was, d.MTU)
		}
	}
}

func TestConfigurationRefuses(t *testing.T) {
	addr := netip.MustParseAddr
	for text, c := range map[string]Config{
		"default-address-pools: the base 10.0.0.1/8 should be 10.0.0.0/8": {Pools: []ipam.Base{pool("10.0.0.1/8", 24)}},
		"the base 10.0.0.0/8 has no size":                                 {Pools: []ipam.Base{pool("10.0.0.0/8", 0)}},
		"cannot be cut into pieces of size 7":                             {Pools: []ipam.Base{pool("10.0.0.0/8", 7)}},
		"cannot be cut into pieces of size 129":                           {Pools: []ipam.Base{pool("fd00::/64", 129)}},
		"10.0.0.0/8 and 10.1.0.0/16 overlap":                              {Pools: []ipam.Base{pool("10.0.0.0/8", 24), pool("10.1.0.0/16", 24)}},
		"the base 127.0.0.0/8 is not usable":                              {Pools: []ipam.Base{pool("127.0.0.0/8", 24)}},
		"bip: fd00::1/64 is not an IPv4 address":                          {Default: DefaultNetwork{Subnet4: pfx("fd00::1/64")}},
		"bip6: it needs ipv6 = true":                                      {Default: DefaultNetwork{Subnet6: pfx("fd00::1/64")}},
		"bip: 10.0.0.1/32 leaves no address":                              {Default: DefaultNetwork{Subnet4: pfx("10.0.0.1/32")}},
		"fixed-cidr: network bridge: invalid address range 10.1.0.0/24":   {Default: DefaultNetwork{Subnet4: pfx("10.0.0.1/24"), Range4: pfx("10.1.0.0/24")}},
		"fixed-cidr: 10.0.0.1/25 should be 10.0.0.0/25":                   {Default: DefaultNetwork{Range4: pfx("10.0.0.1/25")}},
		"bip: network bridge: invalid gateway address 10.0.0.255":         {Default: DefaultNetwork{Subnet4: pfx("10.0.0.255/24")}},
		"bip: invalid subnet 169.254.0.0/16: link-local":                  {Default: DefaultNetwork{Subnet4: pfx("169.254.0.1/16")}},
		"mtu: invalid MTU 12":                                             {Default: DefaultNetwork{MTU: 12}},
		"mtu: an IPv6 link carries at least 1280":                         {Default: DefaultNetwork{MTU: 1000, IPv6: true}},
		`default-network-opts: unknown driver "macvlan"`:                  {NetworkOptions: map[string]map[string]string{"macvlan": nil}},
		`default-network-opts: unknown network option "x"`:                {NetworkOptions: map[string]map[string]string{"bridge": {"x": "y"}}},
		"dns: 0.0.0.0 is not an address of a server":                      {Resolvers: Resolvers{Servers: []netip.Addr{addr("0.0.0.0")}}},
		`dns-search: invalid DNS search domain "a b"`:                     {Resolvers: Resolvers{Search: []string{"a b"}}},
		`dns-opts: invalid DNS option "ndots:1\nnameserver 1.2.3.4"`:      {Resolvers: Resolvers{Options: []string{"ndots:1\nnameserver 1.2.3.4"}}},
		"host-gateway-ips: 0.0.0.0 is not an address":                     {HostGateway: []netip.Addr{addr("0.0.0.0")}},
		"host-gateway-ips: fe80::1%eth0 is not an address":                {HostGateway: []netip.Addr{addr("fe80::1%eth0")}},
		"ip: 224.0.0.1 is not an address of a host":                       {Default: DefaultNetwork{Publish: addr("224.0.0.1")}},
		"bip6: ::ffff:10.0.0.1/120 is not an IPv6 address with a length":  {Default: DefaultNetwork{Subnet6: pfx("::ffff:10.0.0.1/120"), IPv6: true}},
	} {
		err := c.Check()
		if err == nil || !strings.HasPrefix(err.Error(), "invalid configuration: ") || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
		w := newWorld(t)
		if _, nerr := New(Options{RuntimeDir: filepath.Join(w.dir, "r"), StateDir: filepath.Join(w.dir, "s"), Config: c}); nerr == nil {
			t.Errorf("an engine with %q", text)
		}
	}
	// A subnet that is taken is told of at the start.
	w := newWorld(t)
	w.routes = []HostRoute{{pfx("10.0.0.0/16"), "eth0"}}
	w.engine() // makes the folders
	w.config.Default.Subnet4 = pfx("10.0.3.1/24")
	_, err := New(Options{
		RuntimeDir: filepath.Join(w.dir, "run2"), StateDir: filepath.Join(w.dir, "state2"), ResolvConf: w.resolv, Config: w.config,
		HostRoutes: func() ([]HostRoute, error) { return w.routes, nil }, Runtime: fakeRuntime{w}, DataPlane: fakeDataPlane{w},
	})
	if !errors.Is(err, ErrPoolOverlap) || !strings.Contains(err.Error(), "default network: ") {
		t.Errorf("bip over a route: %v", err)
	}
}

func TestResolversOfTheConfiguration(t *testing.T) {
	w := newWorld(t)
	w.config.Resolvers = Resolvers{Servers: []netip.Addr{netip.MustParseAddr("192.0.2.99")}, Search: []string{"."}, Options: []string{"timeout:1"}}
	e := w.engine()
	c := e.resolvers()
	if len(c.Servers) != 1 || c.Servers[0] != netip.MustParseAddrPort("192.0.2.99:53") || len(c.Search) != 0 || !slices.Equal(c.Options, []string{"timeout:1"}) {
		t.Errorf("resolvers: %+v", c)
	}
	e.opts.Config.Resolvers = Resolvers{}
	if c := e.resolvers(); c.Servers[0] != netip.MustParseAddrPort("192.0.2.53:53") || !slices.Equal(c.Search, []string{"corp.example"}) {
		t.Errorf("the host's: %+v", c)
	}
}

// What the configuration chose is mended in the configuration.
func TestADefaultNetworkThatOverlapsNamesItsKey(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net", IPAM: subnet("10.9.0.0/24")})
	e.testNetwork(t, network.CreateRequest{Name: "net6", IPAM: subnet("fd00:9::/64")})
	was := e.networkByName("bridge")
	e.netOp.Lock()
	defer e.netOp.Unlock()
	for want, config := range map[string]DefaultNetwork{
		"of network net; choose another bip in the configuration, or none":            {Subnet4: pfx("10.9.0.1/16")},
		"of network net; choose another fixed-cidr in the configuration, or none":     {Range4: pfx("10.9.0.0/25")},
		"of network net6; choose another bip6 in the configuration, or none":          {Subnet4: pfx("10.8.0.1/16"), Subnet6: pfx("fd00:9::1/48"), IPv6: true},
		"of network net6; choose another fixed-cidr-v6 in the configuration, or none": {Subnet4: pfx("10.8.0.1/16"), Range6: pfx("fd00:9::/80"), IPv6: true},
	} {
		def := was.def
		def.Subnets = nil
		e.opts.Config.Default = config
		if err := e.settleDefault(&def, was); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %q", err, want)
		}
	}
}
