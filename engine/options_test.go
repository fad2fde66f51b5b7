package engine

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
	"github.com/footbridge-net/footbridge/engine/plane"
)

// wish is a network to be made, by its parts as the command line has them.
type wish struct {
	subnets  string // with ' ' between them
	ranges   string
	gateways string
	aux      map[string]string
	internal bool
	ipv6     *bool
	options  string // key=value, with ' ' between them
}

func (w wish) request(name string) network.CreateRequest {
	req := network.CreateRequest{Name: name, Internal: w.internal, EnableIPv6: w.ipv6, IPAM: &network.IPAM{}, Options: map[string]string{}}
	for s := range strings.FieldsSeq(w.subnets) {
		req.IPAM.Config = append(req.IPAM.Config, network.IPAMConfig{Subnet: pfx(s)})
	}
	for s := range strings.FieldsSeq(w.ranges) {
		req.IPAM.Config = append(req.IPAM.Config, network.IPAMConfig{IPRange: pfx(s)})
	}
	for s := range strings.FieldsSeq(w.gateways) {
		req.IPAM.Config = append(req.IPAM.Config, network.IPAMConfig{Gateway: netip.MustParseAddr(s)})
	}
	for k, a := range w.aux {
		req.IPAM.Config = append(req.IPAM.Config, network.IPAMConfig{AuxAddress: map[string]netip.Addr{k: netip.MustParseAddr(a)}})
	}
	for s := range strings.FieldsSeq(w.options) {
		k, v, _ := strings.Cut(s, "=")
		req.Options[k] = v
	}
	return req
}

func TestOptionsRefuse(t *testing.T) {
	e := newWorld(t).engine()
	for _, tt := range []struct {
		wish
		text string
	}{
		{wish{options: optGatewayMode6 + "=isolated"}, "gateway mode 'isolated' can only be used for an internal network"},
		{wish{options: optGatewayMode4 + "="}, "nat, nat-unprotected or isolated"},
		{wish{options: optGatewayMode4 + "=bridge"}, "unknown gateway mode bridge"},
		{wish{options: optGatewayMode4 + "=routed"}, "takes root: choose nat or nat-unprotected"},
		{wish{options: optMasquerade + "=false"}, "without root reach the outside by addresses of the host only"},
		{wish{options: optICC + "=yes"}, "it is true or false"},
		{wish{options: optHostBinding4 + "=::1"}, "IPv4 address of this host"},
		{wish{options: optHostBinding6 + "=127.0.0.1"}, "IPv6 address of this host"},
		{wish{options: optHostBinding4 + "=224.0.0.1"}, "IPv4 address of this host"},
		{wish{options: optHostBinding4 + "=255.255.255.255"}, "IPv4 address of this host"},
		{wish{options: optHostBinding6 + "=ff02::1"}, "IPv6 address of this host"},
		{wish{options: optMTU + "=1400 " + optMTUShort + "=1300"}, "mean the same: give one of them"},
		{wish{options: optDHCP + "=true " + optDHCPRange + "="}, "a part of the subnet"},
		{wish{options: optIfacePrefix + "=fourteen_chars"}, "1 to 13 letters"},
		{wish{options: optIfacePrefix + "=a/b"}, "1 to 13 letters"},
		{wish{options: optIfacePrefix + "="}, "1 to 13 letters"},
		{wish{options: optDNSServers + "=1.1.1.1;2.2.2.2;3.3.3.3;4.4.4.4"}, "1 to 3 addresses"},
		{wish{options: optDNSServers + "=resolver"}, `"resolver" is not an address of a server`},
		{wish{options: optDNSServers + "=0.0.0.0"}, `not an address of a server`},
		{wish{options: optDNSServers + "=fe80::1%eth0"}, `not an address of a server`},
		{wish{options: optDNSAddresses + "=127.0.0.1"}, `"127.0.0.1" is not an address that a gateway can answer at`},
		{wish{options: optDNSAddresses + "="}, "1 to 3 addresses"},
		{wish{options: optDNSAddresses + "=fd00::53"}, "needs a gateway of that family"},
		{wish{internal: true, options: optDNSAddresses + "=10.0.2.3 " + optGatewayMode4 + "=isolated"}, "needs a gateway of that family"},
		{wish{subnets: "10.0.2.0/24", options: optDNSAddresses + "=10.0.2.3"}, "is in the network's own subnet"},
		{wish{options: optDNSServers + "=192.0.2.1", internal: true}, "an internal network asks nobody outside"},
		{wish{options: optOutbound4 + "=192.0.2.1", internal: true}, "an internal network asks nobody outside"},
		{wish{options: optDNS + "=off"}, "it is true or false"},
		{wish{options: optSplice + "=on demand"}, "it is true or false"},
		{wish{options: optDHCPRange + "=10.1.0.128/25"}, "has no effect without com.footbridge.dhcp=true"},
		{wish{options: optDHCP + "=true " + optDHCPRange + "=10.1.0.128/25"}, "no matching subnet for com.footbridge.dhcp.range=10.1.0.128/25"},
		{wish{subnets: "10.1.0.0/26", options: optDHCP + "=true " + optDHCPRange + "=10.1.0.128/25"}, "no matching subnet for com.footbridge.dhcp.range=10.1.0.128/25"},
		{wish{subnets: "10.1.0.0/24", options: optDHCP + "=true " + optDHCPRange + "=fd00::/120"}, "no matching subnet"},
		{wish{subnets: "10.1.0.0/24", gateways: "10.1.0.129", options: optDHCP + "=true " + optDHCPRange + "=10.1.0.128/25"}, "holds the gateway 10.1.0.129"},
		{wish{subnets: "10.1.0.0/24", options: optDHCP + "=true " + optDHCPRange + "=10.1.0.0/24"}, "no available addresses"},
		{wish{subnets: "10.1.0.0/24", options: optDHCP + "=true " + optDHCPRange + "=10.1.0.0/25;10.1.0.128/25"}, "at most one prefix a family"},
		{wish{internal: true, options: optDHCP + "=true " + optGatewayMode4 + "=isolated"}, "needs a gateway to ask"},
		{wish{internal: true, options: optHostPorts + "=80 " + optGatewayMode4 + "=isolated"}, "needs a gateway to reach them at"},
		{wish{options: optRA + "=true"}, "needs a network with IPv6"},
		{wish{options: optIPRange + "=10.1.0.3-10.1.0.9"}, "no matching subnet for range 10.1.0.3-10.1.0.9: give the subnet too"},
		{wish{subnets: "10.1.0.0/29", options: optIPRange + "=10.1.0.3-10.1.0.9"}, "invalid address range 10.1.0.3-10.1.0.9"},
		{wish{subnets: "10.1.0.0/24", options: optIPRange + "=10.1.0.9-10.1.0.3"}, "ends before it begins"},
		{wish{subnets: "10.1.0.0/24", options: optIPRange + "=10.1.0.9-fd00::1"}, "two addresses of one family"},
		{wish{subnets: "10.1.0.0/24", options: optIPRange + "=10.1.0.9"}, "is not FIRST-LAST"},
		{wish{subnets: "10.1.0.0/24", ranges: "10.1.0.0/25", options: optIPRange + "=10.1.0.3-10.1.0.9"}, "multiple ranges (10.1.0.0/25, 10.1.0.3-10.1.0.9)"},
		{wish{subnets: "10.1.0.0/24", ranges: "10.1.0.1/25"}, "invalid ip-range 10.1.0.1/25: it should be 10.1.0.0/25"},
		{wish{subnets: "10.1.0.0/24", ranges: "10.1.0.0/16"}, "CIDR block is bigger than its parent subnet 10.1.0.0/24"},
		{wish{subnets: "10.1.0.0/24", ranges: "10.1.0.0/25 10.1.0.128/25"}, "cannot configure multiple ranges"},
		{wish{subnets: "10.1.0.0/24", gateways: "10.1.0.1 10.1.0.2"}, "cannot configure multiple gateways"},
		{wish{subnets: "10.1.0.0/24", aux: map[string]string{"a": "10.2.0.1"}}, "no matching subnet for aux-address 10.2.0.1"},
		{wish{subnets: "10.1.0.0/24", gateways: "10.1.0.5", aux: map[string]string{"a": "10.1.0.5"}}, "invalid gateway address 10.1.0.5"},
		{wish{subnets: "10.1.0.0/24", aux: map[string]string{"a": "10.1.0.255"}}, "invalid auxiliary address a=10.1.0.255"},
		{wish{subnets: "10.1.0.0/24", aux: map[string]string{"DefaultGatewayIPv4": "10.1.0.5"}}, "by the network's own gateway"},
		{wish{subnets: "fd00:1::/64", ipv6: ptr(false)}, "without IPv6"},
		{wish{subnets: "fd00:1::/64 fd00:2::/64"}, "bridge driver doesn't support multiple subnets"},
		{wish{subnets: "0.0.0.0/0"}, "invalid subnet"},
	} {
		_, err := e.NetworkCreate(context.Background(), tt.request("n"))
		if err == nil || !strings.Contains(err.Error(), tt.text) || api.StatusCode(err) >= 500 {
			t.Errorf("%+v: %v, want %q", tt.wish, err, tt.text)
		}
	}
	if list, err := e.NetworkList(context.Background(), nil); err != nil || len(list) != 3 {
		t.Errorf("%d networks after nothing but errors, %v", len(list), err)
	}
}

// A network without a gateway: in no description, no route, and all addresses are for
// containers.
func TestIsolatedNetworkHasNoGateway(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	isolated := optGatewayMode4 + "=isolated " + optGatewayMode6 + "=isolated"
	e.testNetwork(t, wish{subnets: "10.1.0.0/31 fd00:1::/127", internal: true, options: isolated}.request("pair"))
	e.testNetwork(t, wish{subnets: "10.2.0.0/24", gateways: "10.2.0.1", internal: true, options: isolated}.request("router"))
	for _, c := range e.testConfig(t, "pair") {
		if c.Gateway.IsValid() {
			t.Errorf("gateway %v", c.Gateway)
		}
	}
	var got []string
	for _, name := range []string{"a", "b"} {
		e.testRun(t, spec{name: name, mode: "pair"})
		s := e.testInspect(t, name).NetworkSettings.Networks["pair"]
		if s.Gateway.IsValid() || s.IPv6Gateway.IsValid() || s.IPPrefixLen != 31 || s.GlobalIPv6PrefixLen != 127 {
			t.Errorf("%s: %+v", name, s)
		}
		got = append(got, s.IPAddress.String(), s.GlobalIPv6Address.String())
	}
	if want := []string{"10.1.0.0", "fd00:1::", "10.1.0.1", "fd00:1::1"}; !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
	p := w.plane("pair")
	if p.spec.Gateway4.IsValid() || p.spec.Gateway6.IsValid() || p.spec.Rules.Mode4 != plane.ModeIsolated || p.spec.Rules.Mode6 != plane.ModeIsolated {
		t.Errorf("data plane %+v", p.spec)
	}
	for key, l := range w.links() {
		if l.Default4 || l.Default6 {
			t.Errorf("%s has a default route", key)
		}
	}
	// A gateway that was asked for is some container's: it is given to nobody by itself.
	e.testRun(t, spec{name: "c", mode: "router"})
	if a := e.testInspect(t, "c").NetworkSettings.Networks["router"].IPAddress; a != netip.MustParseAddr("10.2.0.2") {
		t.Errorf("first address %v", a)
	}
}

func TestAddressesKeptForDHCP(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	id := e.testNetwork(t, wish{
		subnets: "10.1.0.0/28 fd00:1::/64", options: optDHCP + "=true " + optDHCPRange + "=10.1.0.0/29;fd00:1::/72",
	}.request("n"))
	c := e.testConfig(t, "n")
	if c[0].Gateway != netip.MustParseAddr("10.1.0.8") || c[1].Gateway != netip.MustParseAddr("fd00:1:0:0:100::") {
		t.Errorf("gateways %v and %v", c[0].Gateway, c[1].Gateway)
	}
	e.testRun(t, spec{name: "c", mode: "n"})
	if s := e.testInspect(t, "c").NetworkSettings.Networks["n"]; s.IPAddress != netip.MustParseAddr("10.1.0.9") || s.GlobalIPv6Address != netip.MustParseAddr("fd00:1:0:0:100::1") {
		t.Errorf("first addresses %v, %v", s.IPAddress, s.GlobalIPv6Address)
	}
	cid, err := e.testCreate(spec{name: "d", mode: "n", nets: map[string]*network.EndpointSettings{id: {
		IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("10.1.0.3")},
	}}})
	if err == nil {
		err = e.ContainerStart(context.Background(), cid)
	}
	if !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "Address already in use") || !strings.Contains(err.Error(), optDHCPRange) {
		t.Errorf("--ip out of the range: %v", err)
	}
	in, err := e.NetworkInspect(context.Background(), "n", api.NetworkInspectOptions{})
	if err != nil || in.Status.IPAM.Subnets[pfx("10.1.0.0/28")].DynamicIPsAvailable != 5 {
		t.Errorf("status %+v, %v", in.Status, err)
	}
}

func TestRangesOfANetwork(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, wish{subnets: "10.1.0.0/24 fd00:1::/64", gateways: "10.1.0.1 fd00:1::1", options: optIPRange + "=10.1.0.100-10.1.0.101;fd00:1::a0-fd00:1::ff"}.request("ends"))
	e.testNetwork(t, wish{subnets: "fc00::/8", ranges: "fc12:3456:789a:bcde::/64"}.request("64bit"))
	e.testNetwork(t, wish{subnets: "10.3.0.7/32 fd03::7/128", internal: true, options: optGatewayMode4 + "=isolated " + optGatewayMode6 + "=isolated"}.request("one"))
	e.testNetwork(t, wish{subnets: "10.4.0.0/29", aux: map[string]string{"a": "10.4.0.1", "b": "10.4.0.2", "c": "10.4.0.4"}}.request("aux"))
	for _, tt := range []struct{ network, name, v4, v6 string }{
		{"ends", "a", "10.1.0.100", "fd00:1::a0"}, {"ends", "b", "10.1.0.101", "fd00:1::a1"},
		{"64bit", "c", "", "fc12:3456:789a:bcde::1"}, {"one", "d", "10.3.0.7", "fd03::7"}, {"aux", "f", "10.4.0.5", ""},
	} {
		e.testRun(t, spec{name: tt.name, mode: tt.network})
		s := e.testInspect(t, tt.name).NetworkSettings.Networks[tt.network]
		if tt.v4 != "" && s.IPAddress != netip.MustParseAddr(tt.v4) || tt.v6 != "" && s.GlobalIPv6Address != netip.MustParseAddr(tt.v6) {
			t.Errorf("%s: %v %v, want %s %s", tt.name, s.IPAddress, s.GlobalIPv6Address, tt.v4, tt.v6)
		}
	}
	for _, mode := range []string{"ends", "one"} {
		id, err := e.testCreate(spec{name: "full-" + mode, mode: mode})
		if err == nil {
			err = e.ContainerStart(context.Background(), id)
		}
		if !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "no available IPv4 addresses on this network's address pools: "+mode) {
			t.Errorf("one more on %s: %v", mode, err)
		}
	}
}

func TestInterfacePrefix(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, wish{options: optIfacePrefix + "=web"}.request("a"))
	e.testNetwork(t, wish{options: optIfacePrefix + "=web"}.request("b"))
	e.testRun(t, spec{name: "c", mode: "a"})
	for _, name := range []string{"b", "bridge"} {
		if err := e.NetworkConnect(context.Background(), name, network.ConnectRequest{Container: "c"}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := slices.Sorted(maps.Keys(w.links())), []string{"a: c web0", "b: c web1", "bridge: c eth0"}; !slices.Equal(got, want) {
		t.Errorf("interfaces %v, want %v", got, want)
	}
}

func TestDefaultPublishAddresses(t *testing.T) {
	both := []string{"0.0.0.0"}
	if hostHasIPv6() {
		both = append(both, "::")
	}
	for options, want := range map[string][]string{
		"":                             both,
		optHostBinding4 + "=0.0.0.0":   both,
		optHostBinding6 + "=::":        both,
		optHostBinding4 + "=127.0.0.1": {"127.0.0.1"},
		optHostBinding6 + "=::1":       {"::1"},
		optHostBinding4 + "=127.0.0.1 " + optHostBinding6 + "=::1": {"127.0.0.1", "::1"},
		optHostBinding4 + "=0.0.0.0 " + optHostBinding6 + "=::1":   {"0.0.0.0", "::1"},
	} {
		var got []string
		for _, a := range defaultHosts(&NetworkDef{Options: wish{options: options}.request("n").Options}) {
			got = append(got, a.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", options, got, want)
		}
	}
}

func TestNamesAndServersOfANetwork(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, wish{options: optDNS + "=false"}.request("nameless"))
	e.testNetwork(t, wish{options: optDNSServers + "=192.0.2.1;2001:db8::1"}.request("own"))
	e.testNetwork(t, wish{options: optDNSAddresses + "=10.0.2.3;10.0.2.3;192.0.2.53"}.request("elsewhere"))
	e.testRun(t, spec{name: "a", mode: "nameless"})
	e.testRun(t, spec{name: "b", mode: "own"})
	e.testRun(t, spec{name: "e", mode: "elsewhere"})
	if got := w.plane("elsewhere").spec.Rules.DNS.More; !slices.Equal(got, []netip.Addr{netip.MustParseAddr("10.0.2.3"), netip.MustParseAddr("192.0.2.53")}) {
		t.Errorf("names are asked for at %v as well", got)
	}
	if p := w.plane("nameless"); p.spec.Resolves || len(e.testInspect(t, "a").NetworkSettings.Networks["nameless"].DNSNames) > 0 {
		t.Errorf("names: %+v", p.spec)
	}
	want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[2001:db8::1]:53")}
	if p := w.plane("own"); !p.spec.Resolves || !slices.Equal(p.spec.Servers, want) {
		t.Errorf("servers: %+v", p.spec)
	}
	_, err := e.testCreate(spec{name: "c", mode: "nameless", nets: map[string]*network.EndpointSettings{"nameless": {Aliases: []string{"x"}}}})
	if err == nil {
		t.Error("an alias on a network without names")
	}
}

// Everything about a network comes back with the next daemon.
func TestNetworkOptionsSurvive(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, wish{
		subnets: "10.1.0.0/24 fd00:1::/64", aux: map[string]string{"a": "10.1.0.9"}, internal: true,
		options: optIPRange + "=10.1.0.3-10.1.0.5 " + optGatewayMode4 + "=isolated " + optIfacePrefix + "=x",
	}.request("n"))
	e.testRun(t, spec{name: "c", mode: "n"})
	before, links := e.testConfig(t, "n"), w.links()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = w.engine()
	after := e.testConfig(t, "n")
	if len(after) != 2 || after[0].Gateway.IsValid() || after[0].AuxAddress["a"] != before[0].AuxAddress["a"] || after[1].Gateway != before[1].Gateway {
		t.Errorf("was %+v, is %+v", before, after)
	}
	if got := slices.Sorted(maps.Keys(w.links())); !slices.Equal(got, slices.Sorted(maps.Keys(links))) {
		t.Errorf("endpoints %v", got)
	}
	e.testRun(t, spec{name: "d", mode: "n"})
	if a := e.testInspect(t, "d").NetworkSettings.Networks["n"].IPAddress; a != netip.MustParseAddr("10.1.0.4") {
		t.Errorf("the next address is %v", a)
	}
}

// The documentation names every option, with an example.
func TestOptionsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/networks.md")
	if err != nil {
		t.Fatal(err)
	}
	hidden := []string{optDefaultBridge, optBridgeName, optIPRange} // of our own networks, without effect, and a flag's
	for key := range knownOptions {
		short := key[strings.LastIndexByte(key, '_')+1:]
		if !slices.Contains(hidden, key) && !strings.Contains(string(text), "`"+key+"`") && !strings.Contains(string(text), "`..._"+short+"`") {
			t.Errorf("%s is not documented", key)
		}
	}
}

func TestSpliceOption(t *testing.T) {
	for value, off := range map[string]bool{"true": false, "false": true} {
		o, err := parseOptions(map[string]string{optSplice: value})
		if err != nil || o.rules.NoSplice != off {
			t.Errorf("%s: NoSplice is %v, %v", value, o.rules.NoSplice, err)
		}
	}
}
