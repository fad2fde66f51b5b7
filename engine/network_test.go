package engine

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/api"
)

func TestFreshInstall(t *testing.T) {
	e := newWorld(t).engine()
	list, err := e.NetworkList(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range list {
		got = append(got, n.Name+" "+n.Driver+" "+n.Scope)
	}
	if want := []string{"bridge bridge local", "host host local", "none null local"}; !slices.Equal(got, want) {
		t.Errorf("networks %v, want %v", got, want)
	}
	in, err := e.NetworkInspect(context.Background(), "bridge", api.NetworkInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := network.IPAMConfig{Subnet: netip.MustParsePrefix("172.17.0.0/16"), Gateway: netip.MustParseAddr("172.17.0.1")}
	if c := in.IPAM.Config; len(c) != 1 || c[0].Subnet != want.Subnet || c[0].Gateway != want.Gateway || len(in.Containers) != 0 {
		t.Errorf("bridge: %+v, containers %v", c, in.Containers)
	}
}

func TestSubnetsInSequence(t *testing.T) {
	w := newWorld(t)
	w.routes = []HostRoute{{netip.MustParsePrefix("172.19.3.0/24"), "wg0"}, {netip.MustParsePrefix("172.17.0.5/32"), "docker0"}}
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "a"})
	e.testNetwork(t, network.CreateRequest{Name: "b"})
	var got []string
	for _, name := range []string{"bridge", "a", "b"} {
		in, err := e.NetworkInspect(context.Background(), name, api.NetworkInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, in.IPAM.Config[0].Subnet.String())
	}
	if want := []string{"172.18.0.0/16", "172.20.0.0/16", "172.21.0.0/16"}; !slices.Equal(got, want) {
		t.Errorf("subnets %v, want %v", got, want)
	}
}

func TestNetworkWithIPv6(t *testing.T) {
	e := newWorld(t).engine()
	e.testNetwork(t, network.CreateRequest{Name: "dual", EnableIPv6: ptr(true)})
	e.testNetwork(t, network.CreateRequest{Name: "six", EnableIPv4: ptr(false), IPAM: subnet("fd00:9::/64")})
	in, err := e.NetworkInspect(context.Background(), "dual", api.NetworkInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := in.IPAM.Config
	if len(c) != 2 || !in.EnableIPv6 || !netip.MustParsePrefix("fd00::/8").Contains(c[1].Subnet.Addr()) || c[1].Subnet.Bits() != 64 ||
		c[1].Gateway != c[1].Subnet.Addr().Next() {
		t.Errorf("dual: %+v", c)
	}
	id := e.testRun(t, spec{name: "c", mode: "six"})
	s := e.testInspect(t, id).NetworkSettings.Networks["six"]
	if s.GlobalIPv6Address != netip.MustParseAddr("fd00:9::2") || s.IPv6Gateway != netip.MustParseAddr("fd00:9::1") || s.IPAddress.IsValid() {
		t.Errorf("six: %+v", s)
	}
}

func TestNetworkCreateRefuses(t *testing.T) {
	w := newWorld(t)
	w.routes = []HostRoute{{netip.MustParsePrefix("10.8.0.0/16"), "tun0"}}
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "taken", IPAM: subnet("10.1.0.0/16")})
	gateway := func(s, g string) *network.IPAM {
		c := network.IPAMConfig{Gateway: netip.MustParseAddr(g)}
		if s != "" {
			c.Subnet = netip.MustParsePrefix(s)
		}
		return &network.IPAM{Config: []network.IPAMConfig{c}}
	}
	mtu := func(v string) map[string]string { return map[string]string{optMTU: v} }
	option := func(k, v string) network.CreateRequest {
		return network.CreateRequest{Name: "x", Options: map[string]string{k: v}}
	}
	tests := []struct {
		name string
		req  network.CreateRequest
		is   func(error) bool
		text string
	}{
		{"same name", network.CreateRequest{Name: "taken"}, errdefs.IsConflict, "network with name taken already exists"},
		{"predefined", network.CreateRequest{Name: "host"}, errdefs.IsPermissionDenied, "operation is not permitted on predefined host network"},
		{"no name", network.CreateRequest{Name: " "}, errdefs.IsInvalidArgument, "name is empty"},
		{"mode as name", network.CreateRequest{Name: "container:x"}, errdefs.IsPermissionDenied, "is reserved and cannot be created"},
		{"bad name", network.CreateRequest{Name: "a\x1b[31m"}, errdefs.IsInvalidArgument, "invalid network name"},
		{"driver", network.CreateRequest{Name: "x", Driver: "weave"}, errdefs.IsNotFound, `plugin "weave" not found: footbridge has the driver bridge`},
		{"driver of root's", network.CreateRequest{Name: "x", Driver: "macvlan"}, errdefs.IsNotFound, `plugin "macvlan" not found: containers on an interface of the host's (macvlan) need root`},
		{"driver of a cluster's", network.CreateRequest{Name: "x", Driver: "overlay"}, errdefs.IsNotFound, `plugin "overlay" not found: networks over several hosts (overlay) need root and a cluster`},
		{"second host network", network.CreateRequest{Name: "x", Driver: "host"}, errdefs.IsPermissionDenied, "only one instance"},
		{"scope", network.CreateRequest{Name: "x", Scope: "swarm"}, errdefs.IsInvalidArgument, "local to this host"},
		{"overlap with a network", network.CreateRequest{Name: "x", IPAM: subnet("10.1.128.0/24")}, errdefs.IsPermissionDenied, "Pool overlaps with other one on this address space: 10.1.128.0/24 overlaps 10.1.0.0/16 of network taken"},
		{"overlap with a route", network.CreateRequest{Name: "x", IPAM: subnet("10.0.0.0/8")}, errdefs.IsPermissionDenied, "Pool overlaps"},
		{"route is named", network.CreateRequest{Name: "x", IPAM: subnet("10.8.3.0/24")}, errdefs.IsPermissionDenied, "a route of this host (device tun0)"},
		{"host bits", network.CreateRequest{Name: "x", IPAM: subnet("10.2.0.1/16")}, errdefs.IsInvalidArgument, "it should be 10.2.0.0/16"},
		{"gateway outside", network.CreateRequest{Name: "x", IPAM: gateway("10.2.0.0/16", "10.3.0.1")}, errdefs.IsInvalidArgument, "invalid network config: invalid gateway 10.3.0.1: parent subnet 10.2.0.0/16 doesn't contain this address"},
		{"gateway without subnet", network.CreateRequest{Name: "x", IPAM: gateway("", "10.3.0.1")}, errdefs.IsInvalidArgument, "no matching subnet for gateway 10.3.0.1"},
		{"gateway is broadcast", network.CreateRequest{Name: "x", IPAM: gateway("10.2.0.0/16", "10.2.255.255")}, errdefs.IsInvalidArgument, "invalid gateway address"},
		{"two subnets", network.CreateRequest{Name: "x", IPAM: &network.IPAM{Config: append(subnet("10.2.0.0/16").Config, subnet("10.3.0.0/16").Config...)}}, errdefs.IsPermissionDenied, "bridge driver doesn't support multiple subnets"},
		{"v6 subnet, no v6", network.CreateRequest{Name: "x", EnableIPv6: ptr(false), IPAM: subnet("fd00:1::/64")}, errdefs.IsInvalidArgument, "without IPv6"},
		{"no family", network.CreateRequest{Name: "x", EnableIPv4: ptr(false)}, errdefs.IsInvalidArgument, "IPv4 or IPv6 must be enabled: leave out --ipv4=false, or give --ipv6"},
		{"MTU too small", network.CreateRequest{Name: "x", Options: mtu("67")}, errdefs.IsInvalidArgument, "at least 68 bytes"},
		{"MTU too small for v6", network.CreateRequest{Name: "x", EnableIPv6: ptr(true), Options: mtu("1279")}, errdefs.IsInvalidArgument, "at least 1280 bytes"},
		{"MTU too large", network.CreateRequest{Name: "x", Options: mtu("65522")}, errdefs.IsInvalidArgument, "at most 65521 bytes"},
		{"MTU nonsense", network.CreateRequest{Name: "x", Options: mtu("big")}, errdefs.IsInvalidArgument, "invalid MTU"},
		{"option", network.CreateRequest{Name: "x", Options: map[string]string{"parent": "eth0"}}, errdefs.IsInvalidArgument, `unknown network option "parent"`},
		{"icc", option(optICC, "maybe"), errdefs.IsInvalidArgument, "it is true or false"},
		{"no masquerading", option(optMasquerade, "false"), errdefs.IsInvalidArgument, "without root"},
		{"routed", option(optGatewayMode4, "routed"), errdefs.IsInvalidArgument, "which takes root"},
		{"mode nonsense", option(optGatewayMode6, "bridge"), errdefs.IsInvalidArgument, "nat, nat-unprotected or isolated"},
		{"isolated, not internal", option(optGatewayMode4, "isolated"), errdefs.IsInvalidArgument, "'isolated' can only be used for an internal network"},
		{"ipam driver", network.CreateRequest{Name: "x", IPAM: &network.IPAM{Driver: "dhcp"}}, errdefs.IsNotFound, "IPAM plugin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := e.NetworkCreate(context.Background(), tt.req)
			if err == nil || !tt.is(err) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v (status %d), want %q", err, api.StatusCode(err), tt.text)
			}
		})
	}
	if list, err := e.NetworkList(context.Background(), nil); err != nil || len(list) != 4 {
		t.Errorf("%d networks after nothing but errors, %v", len(list), err)
	}
}

func TestMTULimitsAreAccepted(t *testing.T) {
	e := newWorld(t).engine()
	for name, v := range map[string]string{"a": "68", "b": "65521", "c": "0", "d": "9000"} {
		e.testNetwork(t, network.CreateRequest{Name: name, Options: map[string]string{optMTU: v}})
	}
	if got := e.networkByName("c").def.MTU; got != defaultMTU {
		t.Errorf("MTU 0 became %d", got)
	}
}

func TestNetworkRemove(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	id := e.testNetwork(t, network.CreateRequest{Name: "net"})
	e.testRun(t, spec{name: "c", mode: "net"})
	err := e.NetworkRemove(ctx, "net")
	if !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), `network net has active endpoints (name:"c" id:"`) {
		t.Errorf("in use: %v", err)
	}
	e.testStop(t, "c")
	if err := e.NetworkRemove(ctx, id[:8]); err != nil {
		t.Errorf("by the beginning of its id: %v", err)
	}
	if err := e.NetworkRemove(ctx, "net"); !errdefs.IsNotFound(err) || err.Error() != "network net not found" {
		t.Errorf("removed twice: %v", err)
	}
	if err := e.NetworkRemove(ctx, "bridge"); !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "bridge is a pre-defined network and cannot be removed") {
		t.Errorf("predefined: %v", err)
	}
	// The container keeps its definition, and says what is wrong when started.
	if err := e.ContainerStart(ctx, "c"); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "was removed") {
		t.Errorf("start without the network: %v", err)
	}
	w.checkClean(e)
}

func TestNetworkNameBeforeID(t *testing.T) {
	e := newWorld(t).engine()
	id := e.testNetwork(t, network.CreateRequest{Name: "x"})
	// A network named like the beginning of another's id is found by its name.
	other := e.testNetwork(t, network.CreateRequest{Name: id[:12]})
	in, err := e.NetworkInspect(context.Background(), id[:12], api.NetworkInspectOptions{})
	if err != nil || in.ID != other {
		t.Errorf("found %s, %v, want the one of that name", in.ID, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.findNetwork(""); !errdefs.IsNotFound(err) {
		t.Errorf("empty term: %v", err)
	}
	twin := &netw{def: NetworkDef{ID: id[:20] + strings.Repeat("0", 44), Name: "twin"}}
	e.networks[twin.def.ID] = twin
	if _, err := e.findNetwork(id[:14]); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "ambiguous (2 matches found based on ID prefix)") {
		t.Errorf("ambiguous: %v", err)
	}
	delete(e.networks, twin.def.ID)
}

func TestNetworkListFilters(t *testing.T) {
	e := newWorld(t).engine()
	e.testNetwork(t, network.CreateRequest{Name: "web", Labels: map[string]string{"tier": "front"}})
	e.testNetwork(t, network.CreateRequest{Name: "db"})
	e.testRun(t, spec{name: "c", mode: "db"})
	tests := []struct {
		term, value string
		want        []string
	}{
		{"name", "we", []string{"web"}},
		{"driver", "null", []string{"none"}},
		{"label", "tier=front", []string{"web"}},
		{"label", "tier=back", nil},
		{"type", "custom", []string{"db", "web"}},
		{"type", "builtin", []string{"bridge", "host", "none"}},
		{"dangling", "true", []string{"web"}},
		{"scope", "swarm", nil},
	}
	for _, tt := range tests {
		list, err := e.NetworkList(context.Background(), api.Filters{}.Add(tt.term, tt.value))
		var got []string
		for _, n := range list {
			got = append(got, n.Name)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s=%s: %v, %v, want %v", tt.term, tt.value, got, err, tt.want)
		}
	}
	for _, bad := range []string{"nonsense", "type", "dangling"} {
		if _, err := e.NetworkList(context.Background(), api.Filters{}.Add(bad, "x")); !errdefs.IsInvalidArgument(err) {
			t.Errorf("filter %s=x: %v", bad, err)
		}
	}
}

func TestPrune(t *testing.T) {
	e := newWorld(t).engine()
	e.testNetwork(t, network.CreateRequest{Name: "used"})
	e.testNetwork(t, network.CreateRequest{Name: "free"})
	e.testNetwork(t, network.CreateRequest{Name: "kept", Labels: map[string]string{"keep": ""}})
	e.testRun(t, spec{name: "c", mode: "used"})
	r, err := e.NetworksPrune(context.Background(), api.Filters{}.Add("until", "1h"))
	if err != nil || len(r.NetworksDeleted) != 0 {
		t.Errorf("young networks pruned: %v, %v", r, err)
	}
	r, err = e.NetworksPrune(context.Background(), api.Filters{}.Add("label!", "keep"))
	if err != nil || !slices.Equal(r.NetworksDeleted, []string{"free"}) {
		t.Errorf("pruned %v, %v", r, err)
	}
}

func TestParseUntil(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for v, want := range map[string]time.Time{
		"10m": now.Add(-10 * time.Minute), "2026-01-01T00:00:00Z": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		"1700000000": time.Unix(1700000000, 0), "1700000000.5": time.Unix(1700000000, 5e8),
	} {
		if got, err := parseUntil(v, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", v, got, err, want)
		}
	}
	if _, err := parseUntil("yesterday", now); !errdefs.IsInvalidArgument(err) {
		t.Errorf("yesterday: %v", err)
	}
}
