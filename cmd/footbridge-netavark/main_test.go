package main

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"

	"github.com/footbridge-net/footbridge/internal/netavark"
)

func (f *fake) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := strings.Join(f.calls, ", "); got != strings.Join(want, ", ") {
		t.Errorf("the daemon was asked: %s\nwant: %s", got, strings.Join(want, ", "))
	}
	f.calls = nil
}

func TestInfo(t *testing.T) {
	c := &call{t: t}
	var info netavark.Info
	c.ok(&info, "", "info")
	if info.APIVersion != "1.0.0" || info.Version == "" {
		t.Errorf("%+v", info)
	}
}

func TestWhatIsNoCallOfTheAPI(t *testing.T) {
	c := &call{t: t, d: newFake()}
	for _, args := range [][]string{nil, {"help"}, {"setup"}, {"teardown"}, {"setup", "a", "b"}, {"create", "x"}, {"info", "x"}} {
		c.fails("started by podman", "{}", args...)
	}
	for _, args := range [][]string{{"create"}, {"setup", ownNetNS}, {"teardown", ownNetNS}} {
		c.fails("invalid JSON", "{", args...)
	}
	c.fails("no network namespace", on("n", 1, "a"), "setup", "/nowhere")
	c.fails("no network namespace", on("n", 1, "a"), "setup", "/dev/null")
	c.d.expect(t)
}

// A network is made to see whether it can be, and goes again.
func TestANetworkIsMadeByPodman(t *testing.T) {
	c := &call{t: t, d: newFake()}
	var n netavark.Network
	c.ok(&n, `{"name":"n","id":"1","driver":"footbridge","dns_enabled":true,"created":"x"}`, "create")
	if len(n.Subnets) != 1 || n.Subnets[0].Gateway != n.Subnets[0].Subnet.Addr().Next() {
		t.Errorf("%+v", n)
	}
	c.d.expect(t, "create n", "remove n")

	// The host leads to that one now; another is chosen.
	c.d.overlaps = []netip.Prefix{n.Subnets[0].Subnet}
	var other netavark.Network
	c.ok(&other, `{"name":"n","id":"1","driver":"footbridge"}`, "create")
	if other.Subnets[0].Subnet.Overlaps(n.Subnets[0].Subnet) {
		t.Errorf("%v again", other.Subnets)
	}
	c.d.expect(t, "create n", "remove n")
	c.d.overlaps = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	c.fails("Pool overlaps", `{"name":"n","id":"1"}`, "create")

	// One that was asked for is that or an error.
	c.d.overlaps = []netip.Prefix{netip.MustParsePrefix("10.7.0.0/16")}
	c.fails("Pool overlaps", `{"name":"n","id":"1","subnets":[{"subnet":"10.7.7.0/24"}]}`, "create")
	c.d.networks["n"] = &network.CreateRequest{IPAM: &network.IPAM{}}
	c.fails("footbridge network rm n", `{"name":"n","id":"1"}`, "create")
	c.fails("not available", `{"name":"m","id":"1","network_interface":"br0"}`, "create")
	c.d.expect(t)
	(&call{t: t}).fails("no daemon", `{"name":"n","id":"1"}`, "create")
}

// The first container of a network makes it, the last one removes it.
func TestANetworkIsThereWhileItIsUsed(t *testing.T) {
	c := &call{t: t, d: newFake()}
	a, b := on("n", 1, "a"), on("n", 1, "b")
	b.Options.StaticIPs = []netip.Addr{netip.MustParseAddr("10.200.1.3")}
	var got netavark.StatusBlock
	c.ok(&got, a, "setup", ownNetNS)
	c.d.expect(t, "create n", "attach c-a")
	if i := got.Interfaces["eth0"]; len(i.Subnets) != 1 || i.Subnets[0].IPNet.String() != "10.200.1.2/24" || i.Subnets[0].Gateway.String() != "10.200.1.1" {
		t.Errorf("%+v", got)
	}
	if len(got.DNSServers) != 1 || got.DNSServers[0].String() != "10.200.1.1" {
		t.Errorf("%+v", got)
	}
	if len(c.d.containers["c-a"].ports) != 1 {
		t.Error("its port was not published")
	}
	c.ok(&got, b, "setup", ownNetNS)
	c.d.expect(t, "attach c-b")
	c.ok(nil, a, "teardown", ownNetNS)
	c.d.expect(t, "detach c-a")
	c.ok(nil, b, "teardown", "/gone")
	c.d.expect(t, "detach c-b", "remove n")
	c.ok(nil, b, "teardown", "/gone") // again
	c.d.expect(t)
	(&call{t: t}).ok(nil, b, "teardown", "/gone") // and without a daemon
}

func TestAContainerOnSeveralNetworks(t *testing.T) {
	c := &call{t: t, d: newFake()}
	n, m := on("n", 1, "a"), on("m", 2, "a")
	m.Options.Interface = "eth1"
	var got netavark.StatusBlock
	c.ok(&got, n, "setup", ownNetNS)
	c.ok(&got, m, "setup", ownNetNS)
	c.d.expect(t, "create n", "attach c-a", "create m", "connect m c-a")
	if _, ok := got.Interfaces["eth1"]; !ok || len(got.DNSServers) != 1 || got.DNSServers[0].String() != "10.200.2.1" {
		t.Errorf("%+v", got)
	}
	c.ok(nil, n, "teardown", ownNetNS)
	c.d.expect(t, "disconnect n c-a", "remove n")
	c.ok(nil, n, "teardown", ownNetNS)
	c.d.expect(t)
	c.ok(nil, m, "teardown", ownNetNS)
	c.d.expect(t, "detach c-a", "remove m")
}

// podman network reload sets up what is there; a namespace that podman has lost goes.
func TestSetupOfWhatIsThere(t *testing.T) {
	c := &call{t: t, d: newFake()}
	n, m := on("n", 1, "a"), on("m", 2, "a")
	var got netavark.StatusBlock
	c.ok(&got, n, "setup", ownNetNS)
	c.d.calls = nil
	c.ok(&got, n, "setup", ownNetNS)
	c.d.expect(t, "detach c-a", "attach c-a")
	c.ok(&got, m, "setup", ownNetNS)
	c.d.calls = nil
	c.ok(&got, m, "setup", ownNetNS)
	c.d.expect(t, "disconnect m c-a", "connect m c-a")
	c.d.containers["c-a"].inode++
	c.ok(&got, n, "setup", ownNetNS)
	c.d.expect(t, "detach c-a", "attach c-a")
}

// What fails leaves nothing.
func TestSetupThatFails(t *testing.T) {
	refusal := errors.New("no")
	for method, want := range map[string][]string{
		"attach":  {"create n", "attach c-a", "remove n"},
		"inspect": {"create n", "attach c-a", "detach c-a", "remove n"},
		"create":  {"create n", "create n"},
	} {
		c := &call{t: t, d: newFake()}
		c.d.fails[method] = refusal
		c.fails("", on("n", 1, "a"), "setup", ownNetNS)
		c.d.expect(t, want...)
		if len(c.d.networks)+len(c.d.containers) > 0 {
			t.Errorf("%s: left: %v, %v", method, c.d.networks, c.d.containers)
		}
	}
	c := &call{t: t, d: newFake()}
	c.d.networks["n"] = &network.CreateRequest{IPAM: &network.IPAM{}}
	c.fails("made with another name", on("n", 1, "a"), "setup", ownNetNS)
	c.d.expect(t)
	(&call{t: t}).fails("no daemon", on("n", 1, "a"), "setup", ownNetNS)
}

// Between being made and being used a network may be removed by another podman's teardown.
func TestANetworkThatGoesIsMadeAgain(t *testing.T) {
	c := &call{t: t, d: newFake()}
	c.d.stolen = 2
	var got netavark.StatusBlock
	c.ok(&got, on("n", 1, "a"), "setup", ownNetNS)
	c.d.expect(t, "create n", "attach c-a", "create n", "attach c-a", "create n", "attach c-a")
	c = &call{t: t, d: newFake()}
	c.d.stolen = 100
	c.fails("no network n", on("n", 1, "a"), "setup", ownNetNS)
}

// A network that nobody uses any more does not stand in the way of the next of its name.
func TestWhatWasLeftIsNotInTheWay(t *testing.T) {
	c := &call{t: t, d: newFake()}
	old, next := on("n", 1, "a"), on("n", 1, "b")
	next.Network.ID = "another"
	var got netavark.StatusBlock
	c.ok(&got, old, "setup", ownNetNS)
	delete(c.d.containers, "c-a") // without a teardown
	c.d.calls = nil
	c.ok(&got, next, "setup", ownNetNS)
	c.d.expect(t, "remove n", "create n", "attach c-b")
}

// Where podman's port forwarder comes after setup, ports are its business.
func TestPortsAreLeftToTheForwarder(t *testing.T) {
	c := &call{t: t, d: newFake(), env: map[string]string{"_CONTAINERS_USERNS_CONFIGURED": "done"}}
	var got netavark.StatusBlock
	c.ok(&got, on("n", 1, "a"), "setup", ownNetNS)
	if len(c.d.containers["c-a"].ports) != 0 {
		t.Error("setup published a port that the forwarder is about to take")
	}
	bad := on("n", 1, "a")
	bad.Ports[0].Protocol = "x"
	c.fails("protocol", bad, "setup", ownNetNS)
}
