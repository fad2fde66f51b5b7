package engine

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

func connectTo(e *Engine, net, name string, s *network.EndpointSettings) error {
	return e.NetworkConnect(context.Background(), net, network.ConnectRequest{Container: name, EndpointConfig: s})
}

func TestLiveConnectAndDisconnect(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testNetwork(t, network.CreateRequest{Name: "alpha"})
	e.testNetwork(t, network.CreateRequest{Name: "zeta"})
	e.testRun(t, spec{name: "c", mode: "zeta", ports: map[string]string{"80/tcp": ""}})
	port := network.MustParsePort("80/tcp")
	bound := e.testInspect(t, "c").NetworkSettings.Ports[port][0]

	// The network whose name comes first takes over the default route, and
	// the published port with it.
	if err := connectTo(e, "alpha", "c", &network.EndpointSettings{Aliases: []string{"db"}}); err != nil {
		t.Fatal(err)
	}
	links := w.links()
	if l := links["alpha: c eth1"]; !l.Default4 {
		t.Errorf("links %v", links)
	}
	if l := links["zeta: c eth0"]; l.Default4 || l.Container == "" {
		t.Errorf("links %v", links)
	}
	in := e.testInspect(t, "c")
	if s := in.NetworkSettings.Networks["alpha"]; s == nil || !slices.Contains(s.DNSNames, "db") || s.DNSNames[0] != "c" || !s.IPAddress.IsValid() {
		t.Errorf("alpha: %+v", s)
	}
	if got := in.NetworkSettings.Ports[port]; len(got) == 0 || got[0] != bound {
		t.Errorf("published at %v, was %v", got, bound)
	}
	alpha := w.plane("alpha")
	if addrs, ok := alpha.names.Lookup("db"); !ok || len(addrs) != 1 {
		t.Errorf("db is %v", addrs)
	}
	// A priority wins over a name.
	e.testNetwork(t, network.CreateRequest{Name: "omega"})
	if err := connectTo(e, "omega", "c", &network.EndpointSettings{GwPriority: 5}); err != nil {
		t.Fatal(err)
	}
	if links := w.links(); !links["omega: c eth2"].Default4 || links["alpha: c eth1"].Default4 {
		t.Errorf("links %v", links)
	}
	if err := connectTo(e, "omega", "c", nil); !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "endpoint with name c already exists in network omega") {
		t.Errorf("twice: %v", err)
	}
	for _, n := range []string{"omega", "alpha"} {
		if err := e.NetworkDisconnect(ctx, n, network.DisconnectRequest{Container: "c"}); err != nil {
			t.Fatal(err)
		}
	}
	if links := w.links(); len(links) != 1 || !links["zeta: c eth0"].Default4 {
		t.Errorf("links %v", links)
	}
	if _, ok := alpha.names.Lookup("db"); ok {
		t.Error("db is still known")
	}
	if err := e.NetworkDisconnect(ctx, "alpha", network.DisconnectRequest{Container: "c"}); err == nil || !strings.Contains(err.Error(), "container c is not connected to network alpha") {
		t.Errorf("twice: %v", err)
	}
	// Without any network nothing is published; with one it is again.
	if err := e.NetworkDisconnect(ctx, "zeta", network.DisconnectRequest{Container: "c"}); err != nil {
		t.Fatal(err)
	}
	if got := e.testInspect(t, "c").NetworkSettings.Ports[port]; len(got) != 0 {
		t.Errorf("published without a network: %v", got)
	}
	if err := connectTo(e, "bridge", "c", nil); err != nil {
		t.Fatal(err)
	}
	if got := e.testInspect(t, "c").NetworkSettings.Ports[port]; len(got) == 0 {
		t.Errorf("published: %v", got)
	}
	e.testStop(t, "c")
	w.checkClean(e)
}

// While a network is taken away nobody asks its server any more: what the container asks
// meanwhile would wait for an answer that does not come.
func TestDisconnectTakesTheServerFirst(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "zeta", IPAM: subnet("10.7.0.0/24")})
	e.testNetwork(t, network.CreateRequest{Name: "alpha", IPAM: subnet("10.8.0.0/24")})
	e.testRun(t, spec{name: "c", mode: "zeta"})
	if err := connectTo(e, "alpha", "c", nil); err != nil {
		t.Fatal(err)
	}
	if got := w.file(e, "c", "resolv.conf"); !strings.Contains(got, "nameserver 10.8.0.1\n") {
		t.Fatalf("resolv.conf on both networks:\n%s", got)
	}
	var during string
	w.watch = func(step string) {
		if step == "unplug" {
			during = w.file(e, "c", "resolv.conf")
		}
	}
	if err := e.NetworkDisconnect(t.Context(), "alpha", network.DisconnectRequest{Container: "c"}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(during, "10.8.0.1") || !strings.Contains(during, "nameserver 10.7.0.1\n") {
		t.Errorf("resolv.conf when the interface goes:\n%s", during)
	}
}

func TestConnectAStoppedContainer(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net"})
	if _, err := e.testCreate(spec{name: "c"}); err != nil {
		t.Fatal(err)
	}
	if err := connectTo(e, "net", "c", nil); err != nil {
		t.Fatal(err)
	}
	if err := e.ContainerStart(context.Background(), "c"); err != nil {
		t.Fatal(err)
	}
	if links := w.links(); len(links) != 2 {
		t.Errorf("links %v", links)
	}
}

func TestFailedConnectLeavesTheContainerAsItWas(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "alpha"})
	e.testRun(t, spec{name: "c", ports: map[string]string{"80/tcp": "8000"}})
	for _, step := range []string{"attach eth1", "plane", "publish"} {
		w.failAt(step, errInjected)
		if err := connectTo(e, "alpha", "c", &network.EndpointSettings{GwPriority: 1}); err == nil {
			t.Errorf("%s: no error", step)
		}
		w.failAt(step, nil)
		if links := w.links(); len(links) != 1 || !links["bridge: c eth0"].Default4 {
			t.Errorf("%s: links %v", step, links)
		}
		w.checkConsistent(e, step)
	}
}

func TestConnectRefuses(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	e.testNetwork(t, network.CreateRequest{Name: "net", IPAM: subnet("10.5.0.0/24")})
	e.testRun(t, spec{name: "alone", mode: "none"})
	e.testRun(t, spec{name: "c"})
	e.testRun(t, spec{name: "other", mode: "net"})
	e.testRun(t, spec{name: "joined", mode: "container:c"})
	for what, tt := range map[string]struct {
		err  error
		text string
	}{
		"mode none":    {connectTo(e, "net", "alone", nil), "container cannot be connected to multiple networks with one of the networks in private (none) mode"},
		"none network": {connectTo(e, "none", "c", nil), "container cannot be connected to multiple networks with one of the networks in private (none) mode"},
		"shared":       {connectTo(e, "net", "joined", nil), "container sharing network namespace with another container or host cannot be connected to any other network"},
		"host network": {connectTo(e, "host", "c", nil), "cannot connect container to host network - container must be created in host network mode"},
		"taken address": {connectTo(e, "net", "c", &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("10.5.0.2")}}),
			`Address already in use: 10.5.0.2 on network net is container "other"'s`},
		"taken MAC": {connectTo(e, "net", "c", &network.EndpointSettings{MacAddress: network.HardwareAddr{2, 0x42, 10, 5, 0, 2}}),
			`MAC address 02:42:0a:05:00:02 is already in use on network net by container "other"`},
		"gateway's MAC": {connectTo(e, "net", "c", &network.EndpointSettings{MacAddress: network.HardwareAddr{2, 0x42, 10, 5, 0, 1}}), "by the gateway"},
	} {
		if !errdefs.IsPermissionDenied(tt.err) || !strings.Contains(tt.err.Error(), tt.text) {
			t.Errorf("%s: %v, want %q", what, tt.err, tt.text)
		}
	}
	w.checkConsistent(e, "after nothing but errors")
}

func TestModesWithoutEndpoint(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	ctx := context.Background()
	e.testRun(t, spec{name: "host", mode: "host"})
	e.testRun(t, spec{name: "none", mode: "none"})
	e.testRun(t, spec{name: "base", cfg: func(c *container.Config) { c.Hostname = "basehost" }})
	e.testRun(t, spec{name: "joined", mode: "container:base"})
	e.testRun(t, spec{name: "path", mode: "ns:/proc/self/ns/net"})
	base := w.process(e, "base").spec
	if s := w.process(e, "host").spec; !s.HostNetwork {
		t.Errorf("host: %+v", s)
	}
	if s := w.process(e, "joined").spec; s.JoinNetOf != base.Dir || s.Hosts != base.Hosts || s.ResolvConf != base.ResolvConf || s.Hostname != "basehost" {
		t.Errorf("joined: %+v", s)
	}
	if s := w.process(e, "path").spec; s.NetNSPath != "/proc/self/ns/net" {
		t.Errorf("path: %+v", s)
	}
	if links := w.links(); len(links) != 1 {
		t.Errorf("links %v", links)
	}
	if s := e.testInspect(t, "none").NetworkSettings.Networks["none"]; s == nil || s.NetworkID == "" || s.IPAddress.IsValid() {
		t.Errorf("none: %+v", s)
	}
	e.testStop(t, "joined")
	e.testStop(t, "base")
	if err := e.ContainerStart(ctx, "joined"); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "cannot join network namespace of a non running container: container base is ") {
		t.Errorf("join an ended one: %v", err)
	}
}

func TestChooseGateways(t *testing.T) {
	mk := func(name string, priority int, internal, v4, v6 bool) *link {
		l := &link{n: &netw{def: NetworkDef{Name: name, Internal: internal}}, want: Attachment{GwPriority: priority}, ep: &Endpoint{}}
		if v4 {
			l.ep.IPv4 = netip.MustParseAddr("10.0.0.2")
		}
		if v6 {
			l.ep.IPv6 = netip.MustParseAddr("fd00::2")
		}
		return l
	}
	z, a, six, in, hi := mk("z", 0, false, true, true), mk("a", 0, false, true, false), mk("c", 0, false, false, true), mk("0", 9, true, true, true), mk("y", 3, false, true, false)
	for _, tt := range []struct {
		links  []*link
		v4, v6 *link
	}{
		{nil, nil, nil},
		{[]*link{in}, nil, nil},
		{[]*link{z, a, six, in}, a, six},
		{[]*link{z, a, hi}, hi, z},
	} {
		if g := chooseGateways(tt.links); g.v4 != tt.v4 || g.v6 != tt.v6 {
			t.Errorf("%v: %+v", tt.links, g)
		}
	}
}
